{{/* What the templates share. Each takes {"root": $, "name": service, "service": its values}. */}}

{{- define "caravan.fullname" -}}
{{ printf "%s-%s" .root.Release.Name .name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "caravan.selector" -}}
app.kubernetes.io/name: caravan
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "caravan.labels" -}}
{{ include "caravan.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "caravan.image" -}}
{{ with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}caravan-{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* A pod's own part: who it runs as, and where it may. */}}
{{- define "caravan.pod" -}}
automountServiceAccountToken: false
# Kubernetes' own variables for Services would be taken for settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: state
    emptyDir: {}
  - name: tmp
    emptyDir: {}
  # A bootstrapper's runs keep their files here, secrets among them: memory, never a disk.
  - name: shm
    emptyDir: {medium: Memory, sizeLimit: 256Mi}
  - name: key-ring
    secret: {secretName: {{ required "keyRing.secret is needed" .root.Values.keyRing.secret }}, defaultMode: 0440}
  {{- include "caravan.files" . | nindent 2 }}
{{- end }}

{{/* The volumes of a service's own files. */}}
{{- define "caravan.files" -}}
{{- $service := .name }}
{{- range $name, $secret := .service.files }}
- name: {{ $service }}-{{ $name }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* What no container of ours may do. */}}
{{- define "caravan.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A container's own part. With "backup" in what it takes, the volume for backups is there, and its job's name. */}}
{{- define "caravan.container" -}}
image: {{ include "caravan.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- include "caravan.confined" .root | nindent 2 }}
env:
  - name: CARAVAN_INSTANCE
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: CARAVAN_KEY_RING
    value: /etc/caravan/key-ring/keys.json
  - name: CARAVAN_NATS_URL
    valueFrom: {secretKeyRef: {name: {{ required "nats.secret is needed" .root.Values.nats.secret }}, key: url}}
  - name: CARAVAN_NATS_REPLICAS
    value: {{ .root.Values.nats.replicas | quote }}
  - name: CARAVAN_DATABASE_URL
    valueFrom: {secretKeyRef: {name: {{ required (printf "services.%s.database.secret is needed" .name) .service.database.secret }}, key: {{ .service.database.key }}}}
{{- if eq .name "dns" }}
  - name: CARAVAN_DNS_EMBEDDED_HOST
    value: 0.0.0.0
{{- end }}
{{- $service := .name }}
{{- range $name, $value := .service.settings }}
  - name: CARAVAN_{{ upper $service }}_{{ upper $name }}
    value: {{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ toJson $value | quote }}{{ end }}
{{- end }}
{{- range $name, $from := .service.secretEnv }}
  - name: {{ $name }}
    valueFrom: {secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}}
{{- end }}
{{- if .backup }}
  - name: BACKUP
    valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}
{{- end }}
volumeMounts:
  - {name: state, mountPath: /var/lib/caravan}
  - {name: tmp, mountPath: /tmp}
  - {name: shm, mountPath: /dev/shm}
  - {name: key-ring, mountPath: /etc/caravan/key-ring, readOnly: true}
{{- range $name, $secret := .service.files }}
  - {name: {{ $service }}-{{ $name }}, mountPath: /etc/caravan/{{ $name }}, readOnly: true}
{{- end }}
{{- if .backup }}
  - {name: backup, mountPath: /backup}
{{- end }}
resources: {{- toYaml .service.resources | nindent 2 }}
{{- end }}

{{/* Whether dns serves its zone itself: "yes" or nothing. */}}
{{- define "caravan.embeddedZone" -}}
{{- if eq (.Values.services.dns.settings.zone | default "embedded") "embedded" }}yes{{ end }}
{{- end }}
