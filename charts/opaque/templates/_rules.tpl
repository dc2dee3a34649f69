{{/*
Permissions of the operator in a namespace that it watches.

The operator creates Roles for nodes and prepare Jobs. Kubernetes allows an account to grant only permissions
that it has. The operator therefore has the permissions of nodes on Leases and shard maps, in addition to
those that it uses itself.
*/}}
{{- define "opaque.rules" -}}
# Users write clusters and tables. The operator reads them and writes their status.
- apiGroups: [opaque.dev]
  resources: [opaqueclusters, opaquetables]
  verbs: [get, list, watch]
- apiGroups: [opaque.dev]
  resources: [opaqueclusters/status, opaquetables/status]
  verbs: [get, update, patch]
# For owner references with blockOwnerDeletion, if OwnerReferencesPermissionEnforcement is enabled.
- apiGroups: [opaque.dev]
  resources: [opaqueclusters/finalizers, opaquetables/finalizers]
  verbs: [update]
# The operator manages shard maps. Nodes write the status, and the operator grants them this
# permission.
- apiGroups: [opaque.dev]
  resources: [opaqueshardmaps]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [opaque.dev]
  resources: [opaqueshardmaps/status]
  verbs: [get, update, patch]
# The operator reads why a pod is not ready, and evicts pods as far as their PodDisruptionBudget
# allows.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Only events show why a pod of a StatefulSet or Job was refused.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
# Certificates are stored in Secrets. The operator lists and watches only Secrets with its label,
# and reads others only by the names in specs. RBAC cannot express this restriction.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, update, patch, delete]
# Leases of the operator's election, of its claim on the namespace, of node members and leaders, and
# of the reports of prepare Jobs.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.rbac.certManager }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, watch, create, update, patch, delete]
{{- end }}
{{- if .Values.rbac.monitoring }}
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: [get, list, watch, create, update, patch, delete]
{{- end }}
{{- end -}}
