-- Runs argocd-health.lua over the situations of docs/operate.md and some that are none: lua5.1 argocd-health.test.lua SCRIPT
local file = assert(io.open(arg[1]))
local script = file:read("*a")
file:close()

-- What Argo CD gives a script, and no more than this one needs.
local function health(object)
  local chunk = assert(loadstring(script, "argocd-health.lua"))
  setfenv(chunk, { obj = object, ipairs = ipairs })
  return chunk()
end

local function condition(type, status, reason)
  return { type = type, status = status, reason = reason or "Because", message = type .. " is " .. status }
end

local function object(generation, observed, ...)
  return {
    metadata = { generation = generation },
    status = { observedGeneration = observed, message = "the sentence", conditions = { ... } },
  }
end

local ready, unready = condition("Ready", "True"), condition("Ready", "False")
local cases = {
  -- docs/operate.md, from top to bottom.
  { "running", "Healthy", object(1, 1, ready, condition("Reconciling", "False"), condition("Stalled", "False")) },
  { "first start", "Progressing", object(1, 1, unready, condition("Reconciling", "True")) },
  { "a roll, while the old pod serves", "Progressing", object(2, 2, ready, condition("Reconciling", "True")) },
  { "rolling back", "Progressing", object(2, 2, unready, condition("Reconciling", "True"), condition("Degraded", "True")) },
  { "drained by an admin", "Healthy", object(1, 1, ready, condition("Drained", "True")) },
  { "waits for a window", "Healthy", object(2, 2, ready, condition("UpdateBlocked", "True", "OutsideWindow")) },
  { "waits for approval", "Healthy", object(2, 2, ready, condition("UpdateBlocked", "True", "AwaitingApproval")) },
  { "paused", "Suspended", object(2, 2, condition("Ready", "Unknown", "Paused"), condition("Paused", "True")) },
  { "only a person can help", "Degraded", object(1, 1, unready, condition("Reconciling", "False"), condition("Stalled", "True")) },
  { "serves, and only a person can help", "Degraded", object(1, 1, ready, condition("Stalled", "True")) },
  { "not ready, and nothing more is said", "Progressing", object(1, 1, unready, condition("Stalled", "False")) },
  { "degraded, and serves", "Healthy", object(1, 1, ready, condition("Degraded", "True")) },
  -- Before the first pass, and in between.
  { "no status at all", "Progressing", { metadata = { generation = 1 } } },
  { "the status of a fresh object", "Progressing", { metadata = { generation = 1 }, status = { observedGeneration = -1 } } },
  { "a spec nobody looked at yet", "Progressing", object(3, 2, ready, condition("Stalled", "False")) },
  { "a status that was lost", "Progressing", { metadata = { generation = 1 }, status = {} } },
  -- Policies and licences have no Ready.
  { "a policy that is accepted", "Healthy", object(1, 1, condition("Accepted", "True"), condition("Stalled", "False")) },
  { "a policy with a contradiction", "Degraded", object(2, 2, condition("Accepted", "False"), condition("Stalled", "True")) },
  { "a licence that counts nowhere", "Healthy", object(1, 1, condition("Valid", "False"), condition("Stalled", "False")) },
}

local failed = 0
for _, case in ipairs(cases) do
  local name, wanted, given = case[1], case[2], case[3]
  local found = health(given)
  if found.status ~= wanted or type(found.message) ~= "string" then
    failed = failed + 1
    print(name .. ": expected " .. wanted .. ", found " .. tostring(found.status))
  end
end
if failed > 0 then
  os.exit(1)
end
print(#cases .. " situations")
