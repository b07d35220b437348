{{/* What pods of iotcast and of NATS have alike: dict "root" $ "component" "gateway" "pod" .Values.gateways.pod "user" 65532. */}}
{{- define "iotcast.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  seccompProfile: { type: RuntimeDefault }
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "iotcast.selector" . | nindent 8 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What a container may: nothing. */}}
{{- define "iotcast.confined" -}}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ ALL ] }
{{- end }}

{{/* Labels and annotations of a pod of iotcast: dict "root" $ "component" "gateway" "config" "the text of its config". */}}
{{- define "iotcast.podMetadata" -}}
metadata:
  labels: {{- include "iotcast.podLabels" . | nindent 4 }}
  annotations:
    checksum/config: {{ sha256sum .config }} # a changed config is in force when the pods are replaced
    {{- if not .root.Values.monitoring.serviceMonitor.enabled }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "4195"
    prometheus.io/path: /metrics
    {{- end }}
{{- end }}

{{/* A container of iotcast, but for its arguments, ports and variables of its own: dict "root" $ "tier" .Values.gateways. */}}
{{- define "iotcast.container" -}}
{{- $image := .root.Values.image -}}
name: iotcast
image: {{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end }}
imagePullPolicy: {{ $image.pullPolicy }}
livenessProbe: # not /ready: what it holds must not be lost because the broker, or NATS, is away
  httpGet: { path: /ping, port: http }
  periodSeconds: 10
readinessProbe:
  httpGet: { path: /ready, port: http }
  periodSeconds: 2
resources: {{- toYaml .tier.resources | nindent 2 }}
{{ include "iotcast.confined" . }}
volumeMounts:
  - { name: config, mountPath: /etc/iotcast, readOnly: true }
  {{- if .root.Values.nats.caSecret }}
  - { name: nats-ca, mountPath: /etc/nats, readOnly: true }
  {{- end }}
  {{- with .tier.volumeMounts }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{/* Its variables: as above, with "nats" "gateway", the key of its password, and "mqtt" where it reads MQTT. */}}
{{- define "iotcast.env" -}}
{{- $api := include "iotcast.secret" (dict "root" .root "login" .root.Values.api "name" "-api") -}}
- { name: HTTP_ADDRESS, value: "0.0.0.0:4195" } # probes and metrics are open; the rest needs the password
- name: IOTCAST_API_USER
  valueFrom: { secretKeyRef: { name: {{ $api }}, key: user } }
- name: IOTCAST_API_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ $api }}, key: password } }
{{- if .root.Values.cluster.enabled }}
- { name: NATS_URL, value: {{ include "iotcast.natsURLs" .root | quote }} }
{{- with .root.Values.nats.existingSecret }}
- name: NATS_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ . }}, key: {{ $.nats }} } }
{{- end }}
{{- end }}
{{- with .root.Values.mqtt }}
{{- if and $.mqtt .urls }}
- { name: MQTT_URL, value: {{ join "," .urls | quote }} }
{{- if or .existingSecret .user }}
{{- $login := include "iotcast.secret" (dict "root" $.root "login" . "name" "-mqtt") }}
- name: MQTT_USER
  valueFrom: { secretKeyRef: { name: {{ $login }}, key: user } }
- name: MQTT_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ $login }}, key: password } }
{{- end }}
{{- end }}
{{- end }}
{{- with .tier.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Its volumes: as above, with "config", the name of its ConfigMap. */}}
{{- define "iotcast.volumes" -}}
volumes:
  - { name: config, configMap: { name: {{ .config }} } }
  {{- with .root.Values.nats.caSecret }}
  - { name: nats-ca, secret: { secretName: {{ . }} } }
  {{- end }}
  {{- with .tier.volumes }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
