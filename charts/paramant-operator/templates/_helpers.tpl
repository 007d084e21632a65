{{- /* Labels of everything the chart makes. */ -}}
{{- define "paramant-operator.labels" -}}
app.kubernetes.io/name: paramant-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* What selectors select by: never changes in a release's life. */ -}}
{{- define "paramant-operator.selector" -}}
app.kubernetes.io/name: paramant-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "paramant-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default "paramant-operator" -}}
{{- end }}

{{- define "paramant-operator.image" -}}
{{- $place := printf "%s/%s" .Values.image.registry .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $place .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $place (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- /* The ServiceAccount as the subject of a binding. */ -}}
{{- define "paramant-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "paramant-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* The trusted keys in one file, each under its name. */ -}}
{{- define "paramant-operator.releaseKeys" -}}
{{- range .Values.verification.keys }}
# {{ .name }}
{{ .pem | trim }}
{{ end }}
{{- end }}

{{- /* Something, if the pod mounts anything. */ -}}
{{- define "paramant-operator.mounts" -}}
{{- if or .Values.registry.existingSecret .Values.registry.caConfigMap .Values.verification.keys -}}
true
{{- end -}}
{{- end }}
