{{/* What all objects of a release begin with. */}}
{{- define "iotcast.name" -}}
{{ contains .Chart.Name .Release.Name | ternary .Release.Name (print .Release.Name "-" .Chart.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels by which pods are found: dict "root" $ "component" "gateway". */}}
{{- define "iotcast.selector" -}}
app.kubernetes.io/name: {{ eq .component "nats" | ternary "nats" "iotcast" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of pods, which an update of the chart alone does not change. */}}
{{- define "iotcast.podLabels" -}}
{{ include "iotcast.selector" . }}
app.kubernetes.io/part-of: iotcast
{{- end }}

{{/* Labels of everything else. */}}
{{- define "iotcast.labels" -}}
{{ include "iotcast.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Metadata of an object: dict "root" $ "component" "gateway" "name" "-gateways". */}}
{{- define "iotcast.metadata" -}}
metadata:
  name: {{ include "iotcast.name" .root }}{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "iotcast.labels" . | nindent 4 }}
{{- end }}

{{/* The Secret of a login: dict "root" $ "login" .Values.mqtt "name" "-mqtt". */}}
{{- define "iotcast.secret" -}}
{{ .login.existingSecret | default (print (include "iotcast.name" .root) .name) }}
{{- end }}

{{/* Whether the pod has a broker and devices of its own, since there are no others. */}}
{{- define "iotcast.demo" -}}
{{ if not .Values.mqtt.urls }}true{{ end }}
{{- end }}

{{/* Where NATS is. */}}
{{- define "iotcast.natsURLs" -}}
{{- if .Values.nats.enabled }}
{{- $name := print (include "iotcast.name" .) "-nats" }}
{{- $urls := list }}
{{- range until (int .Values.nats.replicas) }}{{ $urls = append $urls (printf "nats://%s-%d.%s:4222" $name . $name) }}{{ end }}
{{- join "," $urls }}
{{- else }}
{{- join "," .Values.nats.urls }}
{{- end }}
{{- end }}
