{{- /* What every object of this release is called: the release's name. */ -}}
{{- define "mgrd.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "mgrd.selector" -}}
app.kubernetes.io/name: mgr
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mgrd.labels" -}}
{{ include "mgrd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mgrd.tlsSecret" -}}
{{- .Values.tlsSecret | default (printf "%s-tls" (include "mgrd.name" .)) -}}
{{- end -}}

{{- define "mgrd.peers" -}}
{{- printf "%s-peers" (include "mgrd.name" .) -}}
{{- end -}}

{{- /* The name of manager N in the DNS: (list . N) */ -}}
{{- define "mgrd.host" -}}
{{- $ := index . 0 -}}
{{- $name := include "mgrd.name" $ -}}
{{- printf "%s-%d.%s.%s.svc.%s" $name (int (index . 1)) (include "mgrd.peers" $) $.Release.Namespace $.Values.clusterDomain -}}
{{- end -}}
