{{/* What the services are: where each listens, whom it calls, whether it has rows. Services, settings and network policies follow. */}}
{{- define "inkwright.facts" -}}
dataset: {port: 50051, calls: [], database: true}
labeling: {port: 50052, calls: [dataset, inference], database: true}
trainer: {port: 50053, calls: [dataset], database: true}
inference: {port: 50054, calls: [trainer], database: true}
gateway: {port: 8080, calls: [dataset, labeling, trainer, inference], database: true}
{{- end }}

{{- define "inkwright.fullname" -}}
{{- if contains "inkwright" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-inkwright" (.Release.Name | trunc 30 | trimSuffix "-") }}
{{- end -}}
{{- end }}

{{/* Labels that select the pods of a component: (list $ "dataset"). */}}
{{- define "inkwright.selector" -}}
app.kubernetes.io/name: inkwright
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "inkwright.labels" -}}
{{ include "inkwright.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{/* An image of ours: (list $ .image). */}}
{{- define "inkwright.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{ $root.Values.image.prefix }}{{ $image.repository }}:{{ $image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{/* Of a pod: no root, no API of the cluster. Call with the user, the group and further groups. */}}
{{- define "inkwright.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .id }}
  runAsGroup: {{ .group }}
  fsGroup: {{ .group }}
  # Walking through all images at each start would take hours.
  fsGroupChangePolicy: OnRootMismatch
  {{- with .supplementalGroups }}
  supplementalGroups: {{ toJson . }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "inkwright.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "inkwright.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where pods may go; call with a section of the values. */}}
{{- define "inkwright.placement" -}}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The installation's key, where every process looks for it. These two are the only places that know. */}}
{{- define "inkwright.keyMount" -}}
- name: installation-key
  mountPath: /var/lib/inkwright/secret.key
  subPath: secret.key
  readOnly: true
{{- end }}
{{- define "inkwright.keyVolume" -}}
- name: installation-key
  secret:
    secretName: {{ .Values.secretName }}
    defaultMode: 0440
    items: [{key: secret.key, path: secret.key}]
{{- end }}

{{/* A variable from the Secret: (list $ "PGPASSWORD" "dataset-password"). */}}
{{- define "inkwright.secretEnv" -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef: {name: {{ (index . 0).Values.secretName }}, key: {{ index . 2 }}}
{{- end }}

{{- define "inkwright.natsUrl" -}}
{{- $credentials := ternary "$(NATS_TOKEN)@" "" (or .Values.nats.enabled .Values.nats.external.token) -}}
{{- if .Values.nats.enabled -}}
nats://{{ $credentials }}{{ include "inkwright.fullname" . }}-nats:4222
{{- else -}}
{{ .Values.nats.external.scheme }}://{{ $credentials }}{{ required "nats.external.host is needed where nats.enabled is false" .Values.nats.external.host }}:{{ .Values.nats.external.port }}
{{- end -}}
{{- end }}

{{/* The database's URL for a service, without its password: (list $ "dataset"). */}}
{{- define "inkwright.databaseUrl" -}}
{{- $root := index . 0 }}{{ $postgresql := $root.Values.postgresql -}}
postgresql+psycopg://inkwright_{{ index . 1 }}@
{{- if $postgresql.enabled -}}
{{ include "inkwright.fullname" $root }}-postgresql:5432/{{ $postgresql.database }}
{{- else -}}
{{ required "postgresql.external.host is needed where postgresql.enabled is false" $postgresql.external.host }}:{{ $postgresql.external.port }}/{{ $postgresql.database }}
{{- with $postgresql.external.parameters }}?{{ . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Whether a service may have more than one pod: (list $ "dataset"); empty for no. */}}
{{/* Whether there is one pod at a time: (list $ "trainer"). Its volume is for one; replicas of the trainer share one folder of tasks and models. */}}
{{- define "inkwright.isAlone" -}}
{{- $persistence := (index (index . 0).Values.services (index . 1)).persistence | default dict -}}
{{- $alone := and $persistence.enabled (ne ($persistence.accessMode | default "ReadWriteOnce") "ReadWriteMany") -}}
{{- $several := include "inkwright.hasSeveral" . -}}
{{- if and $several (or $alone (and (eq (index . 1) "trainer") (not $persistence.enabled))) -}}
{{- fail (printf "services.%s: several replicas share one volume; set persistence.enabled and persistence.accessMode: ReadWriteMany" (index . 1)) -}}
{{- end -}}
{{- if $alone }}yes{{ end -}}
{{- end }}

{{- define "inkwright.hasSeveral" -}}
{{- $service := index (index . 0).Values.services (index . 1) -}}
{{- $autoscaling := $service.autoscaling | default dict -}}
{{- if $autoscaling.enabled }}{{ if gt (int $autoscaling.max) 1 }}yes{{ end }}{{ else if gt (int $service.replicas) 1 }}yes{{ end -}}
{{- end }}
