{{/*
Configs are made as values, so that those of values.yaml are merged into them, and written as JSON, which is YAML that keeps every text
as it is. What is a variable and nothing else is put into single quotes, in which Benthos takes any password: see docs/variables.md.
*/}}
{{- define "iotcast.write" -}}
{{ regexReplaceAll `"(\$\{[A-Z0-9_]+(:[^"{}\\]*)?\})"` (toPrettyJson .) "'${1}'" }}
{{- end }}

{{/* Each file of the gateways: {name: config}. */}}
{{- define "iotcast.gatewayFiles" -}}
{{- $files := dict "root.yaml" (mergeOverwrite (include "iotcast.gatewayRoot" . | fromYaml) (deepCopy .Values.config)) }}
{{- if .Values.cluster.enabled }}
{{- $files = set $files "connections.yaml" (include "iotcast.connections" . | fromYaml) }}
{{- range .Values.routes }}
{{- $route := dict "root" $ "path" .path }}
{{- $files = set $files (printf "envelopes.%s.yaml" (include "iotcast.subject" .path)) (include "iotcast.follow" $route | fromYaml) }}
{{- end }}
{{- else }}
{{- range .Values.streams }}
{{- $output := dict "websocket_broadcast" (dict "gateway" "main" "path" .path) }}
{{- $files = set $files (print .name ".yaml") (include "iotcast.stream" (dict "root" $ "stream" . "output" $output) | fromYaml) }}
{{- end }}
{{- end }}
{{- toYaml $files }}
{{- end }}

{{/* Each file of the triggers. */}}
{{- define "iotcast.triggerFiles" -}}
{{- $files := dict "root.yaml" (mergeOverwrite (include "iotcast.processRoot" . | fromYaml) (deepCopy .Values.config)) }}
{{- range .Values.streams }}
{{- $output := include "iotcast.store" (dict "root" $ "path" .path) | fromYaml }}
{{- $files = set $files (print .name ".yaml") (include "iotcast.stream" (dict "root" $ "stream" . "output" $output) | fromYaml) }}
{{- end }}
{{- toYaml $files }}
{{- end }}

{{/* The data of a ConfigMap with such files. */}}
{{- define "iotcast.data" -}}
data:
  {{- range $name, $config := fromYaml . }}
  {{ $name }}: |
    {{- include "iotcast.write" $config | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Arguments that run such files, but for those of the streams that the image has. */}}
{{- define "iotcast.args" -}}
- streams
- -o
- /etc/iotcast/root.yaml
- -r
- /resources/*.yaml
{{- range $name, $_ := omit (fromYaml .) "root.yaml" }}
- /etc/iotcast/{{ $name }}
{{- end }}
{{- end }}

{{- define "iotcast.processRoot" -}}
http:
  address: ${HTTP_ADDRESS:127.0.0.1:4195}
http_guard:
  username: ${IOTCAST_API_USER:}
  password: ${IOTCAST_API_PASSWORD:}
{{- end }}

{{- define "iotcast.gatewayRoot" -}}
{{ include "iotcast.processRoot" . }}
websocket_gateways:
  - {{ mergeOverwrite (include "iotcast.gateway" . | fromYaml) (deepCopy .Values.gateway) | toYaml | indent 4 | trim }}
{{- if .Values.cluster.enabled }}
{{- $nodes := list }}
{{- $most := .Values.gateways.autoscaling.enabled | ternary .Values.gateways.autoscaling.maxReplicas .Values.gateways.replicas }}
{{- range until (int $most) }}{{ $nodes = append $nodes (print $.Values.gateways.nodePrefix .) }}{{ end }}
connection_api: # every node answers for the connections of all
  address: ${API_ADDRESS:127.0.0.1:8081}
  nodes: {{ toJson $nodes }} # all that there may be: those that are not running are told as unreachable
  forward:
    - nats_request_reply:
        {{- include "iotcast.nats" (dict "root" . "user" "gateway") | nindent 8 }}
        max_reconnects: -1
        subject: iotcast.connections.${! metadata("node") }
        inbox_prefix: iotcast.answers
        timeout: 900ms
shutdown_timeout: 5s
{{- else if include "iotcast.demo" . }}
mqtt_broker:
  address: ${MQTT_ADDRESS:127.0.0.1:11883}
{{- end }}
{{- end }}

{{- define "iotcast.gateway" -}}
label: main
address: ${GATEWAY_ADDRESS:127.0.0.1:8080}
shutdown_code: 1012 # clients come back at once
{{- if .Values.cluster.enabled }}
node_id: ${NODE_ID}
drain_period: {{ .Values.gateways.drainSeconds }}s
{{- end }}
routes:
  {{- range .Values.routes }}
  {{- $route := deepCopy . }}
  {{- if and $.Values.cluster.enabled .history }}
  {{- /* What clients of other nodes resume from, which may have been ahead. A node that starts fills it from the stream. */}}
  {{- $_ := set $route "history" (merge $route.history (dict "warm_up" "30s" "resume_wait" "5s")) }}
  {{- end }}
  - {{ toYaml $route | indent 4 | trim }}
  {{- end }}
{{- end }}

{{/* One of streams, to an output: dict "root" $ "stream" … "output" …. */}}
{{- define "iotcast.stream" -}}
{{- $input := include "iotcast.input" . | fromYaml }}
input:
  iot_mqtt: {{- mergeOverwrite $input (deepCopy .stream.iot_mqtt) | toYaml | nindent 4 }}
pipeline:
  processors:
    {{- with .stream.processors }}{{ toYaml . | nindent 4 }}{{ end }}
    - resource: to_envelope
    - resource: note_failures
output: {{- toYaml .output | nindent 2 }}
{{- end }}

{{- define "iotcast.input" -}}
{{- if include "iotcast.demo" .root -}}
urls: [ "tcp://${MQTT_ADDRESS:127.0.0.1:11883}" ]
{{- else -}}
urls: [ "${MQTT_URL:tcp://localhost:1883}" ]
user: ${MQTT_USER:}
password: ${MQTT_PASSWORD:}
{{- end }}
client_id: {{ include "iotcast.name" .root }}-{{ .stream.name }}
clean_session: false # the broker keeps what comes while a pod is replaced
{{- if .root.Values.cluster.enabled }}
leases:
  parts: {{ .root.Values.triggers.parts }}
  duration: {{ .root.Values.triggers.lease }}
  replicas: {{ .root.Values.nats.replicas }}
  inbox_prefix: _INBOX_trigger
  {{- include "iotcast.nats" (dict "root" .root "user" "trigger") | nindent 2 }}
{{- end }}
{{- end }}

{{/* From a trigger into the log, on the subject of a path: dict "root" $ "path" "/telemetry". */}}
{{- define "iotcast.store" -}}
envelope_log:
  {{- include "iotcast.nats" (dict "root" .root "user" "trigger") | nindent 2 }}
  inbox_prefix: _INBOX_trigger
  stream: iotcast
  subject: iotcast.envelopes.{{ include "iotcast.subject" .path }} # gateways read those of their routes
  stream_settings: # the first trigger makes it
    subjects: [ iotcast.envelopes.> ]
    replicas: {{ .root.Values.nats.replicas }}
    max_age: {{ .root.Values.nats.maxAge }}
{{- end }}

{{/* From the log to every connection of a gateway: as above. */}}
{{- define "iotcast.follow" -}}
input:
  envelope_log:
    {{- include "iotcast.nats" (dict "root" .root "user" "gateway") | nindent 4 }}
    inbox_prefix: _INBOX_gateway
    stream: iotcast
    subjects: [ iotcast.envelopes.{{ include "iotcast.subject" .path }} ]
output:
  websocket_broadcast:
    gateway: main
    path: {{ .path }}
{{- end }}

{{/* What the connection API of another gateway forwards, since the connection is ours. */}}
{{- define "iotcast.connections" -}}
{{- $nats := include "iotcast.nats" (dict "root" . "user" "gateway") -}}
input:
  nats:
    {{- nindent 4 $nats }}
    max_reconnects: -1
    subject: iotcast.connections.${NODE_ID}
    send_ack: false # the answer is the reply
    auto_replay_nacks: false # who asked does not wait so long
pipeline:
  processors:
    - websocket_connection: {}
output:
  nats:
    {{- nindent 4 $nats }}
    max_reconnects: -1
    subject: ${! metadata("nats_reply_subject") }
{{- end }}

{{- define "iotcast.subject" -}}
{{ . | trimPrefix "/" | replace "/" "." }}
{{- end }}

{{/* How to log in to NATS: dict "root" $ "user" "gateway". */}}
{{- define "iotcast.nats" -}}
urls: [ "${NATS_URL:nats://localhost:4222}" ]
{{- if .root.Values.nats.caSecret }}
tls:
  enabled: true
  root_cas_file: ${NATS_CA:/etc/nats/ca.crt}
{{- end }}
{{- if .root.Values.nats.existingSecret }}
auth:
  user: {{ .user }}
  password: ${NATS_PASSWORD:}
{{- end }}
{{- end }}
