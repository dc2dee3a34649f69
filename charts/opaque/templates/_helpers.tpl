{{/* Name of the Deployment, and prefix of all names. */}}
{{- define "opaque.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- printf "%s-operator" ($full | trunc 31 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "opaque.serviceAccount" -}}
{{- default (ternary (include "opaque.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* Selector of the operator's pods. `app.kubernetes.io/name: opaque` selects pods of clusters. */}}
{{- define "opaque.selector" -}}
app.kubernetes.io/name: opaque-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "opaque.labels" -}}
{{ include "opaque.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: opaque
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{/* Image reference registry/repository:tag or @digest. Argument: list ROOT IMAGE. */}}
{{- define "opaque.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := list $root.Values.images.registry $image.repository | compact | join "/" -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The watched namespaces as JSON {"namespaces": [...]}. With watch.all, the list is [""]. */}}
{{- define "opaque.watched" -}}
{{- if .Values.watch.all -}}
{{- dict "namespaces" (list "") | toJson -}}
{{- else -}}
{{- dict "namespaces" (default (list .Release.Namespace) .Values.watch.namespaces | uniq | sortAlpha) | toJson -}}
{{- end -}}
{{- end -}}

{{/* Name of the Deployment for a namespace; a long name is cut and ends in a digest.
     Argument: list ROOT NAMESPACE. */}}
{{- define "opaque.deployment" -}}
{{- $root := index . 0 -}}
{{- $namespace := index . 1 -}}
{{- $base := include "opaque.fullname" $root -}}
{{- if or (not $namespace) (eq $namespace $root.Release.Namespace) -}}
{{- $base -}}
{{- else -}}
{{- $full := printf "%s-%s" $base $namespace -}}
{{- if gt (len $full) 52 -}}
{{- $full = printf "%s-%s" ($full | trunc 43 | trimSuffix "-") (sha256sum $namespace | trunc 8) -}}
{{- end -}}
{{- $full -}}
{{- end -}}
{{- end -}}

{{/* Restricted pod security, for a pod. */}}
{{- define "opaque.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Restricted pod security, for a container. */}}
{{- define "opaque.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/*
Matches accounts of nodes: an account named `<cluster>-node` that may update the shard map `<cluster>`.
The permission distinguishes it from accounts of other products with similar names.
*/}}
{{- define "opaque.nodeCondition" -}}
- name: is-a-node
  expression: >-
    request.userInfo.username.matches('^system:serviceaccount:[^:]+:[^:]+-node$')
    && authorizer.group('opaque.dev').resource('opaqueshardmaps')
      .namespace(request.userInfo.username.split(':')[2])
      .name(request.userInfo.username.split(':')[3].substring(0, request.userInfo.username.split(':')[3].size() - 5))
      .check('update').allowed()
{{- end -}}

{{- define "opaque.nodeVariables" -}}
- name: account
  expression: "request.userInfo.username.split(':')[3]"
- name: cluster
  expression: variables.account.substring(0, variables.account.size() - 5)
- name: own
  expression: "request.namespace == request.userInfo.username.split(':')[2]"
{{- end -}}

{{/* The rules for nodes apply in the watched namespaces. */}}
{{- define "opaque.nodeBinding" -}}
validationActions: [Deny]
{{- if not .Values.watch.all }}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values:
          {{- toYaml (include "opaque.watched" . | fromJson).namespaces | nindent 10 }}
{{- end }}
{{- end -}}
