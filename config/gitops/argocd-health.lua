-- Health of ParamantRelay, ParamantPolicy and ParamantLicense for Argo CD, as kstatus judges them; a paused relay is shown as
-- suspended. `argocd-cm.yaml` beside this file carries it once for each kind. Argo CD runs Lua 5.1 with hardly any library.
local status = obj.status or {}
local message = status.message or ""
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the operator to look at this version of the spec" }
end

local ready = nil
local paused = false
local verdict = nil
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Paused" and condition.status == "True" then
    paused = true
  elseif condition.type == "Ready" then
    ready = condition
  elseif verdict == nil and condition.status == "True" then
    if condition.type == "Reconciling" then
      verdict = { status = "Progressing", message = condition.message or message }
    elseif condition.type == "Stalled" then
      verdict = { status = "Degraded", message = condition.message or message }
    end
  end
end

if paused then
  return { status = "Suspended", message = message }
end
if verdict ~= nil then
  return verdict
end
if ready ~= nil and ready.status ~= "True" then
  return { status = "Progressing", message = ready.message or message }
end
return { status = "Healthy", message = message }
