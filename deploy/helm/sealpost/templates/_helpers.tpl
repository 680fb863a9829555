{{- define "sealpost.labels" -}}
{{ include "sealpost.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "sealpost.selector" -}}
app.kubernetes.io/name: sealpost
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sealpost.secretName" -}}
{{ .Values.secretName | default (printf "%s-secrets" .Release.Name) }}
{{- end }}

{{- define "sealpost.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
