{{/*
What the operator may do in a namespace that it watches.

It makes Roles for nodes and for prepare Jobs, and Kubernetes lets nobody grant what he does not hold.
That is why it holds the rights on Leases and shard maps that nodes have, beyond what it uses itself.
*/}}
{{- define "opaque.rules" -}}
# Clusters and tables are people's: it reads them and writes their status.
- apiGroups: [opaque.dev]
  resources: [opaqueclusters, opaquetables]
  verbs: [get, list, watch]
- apiGroups: [opaque.dev]
  resources: [opaqueclusters/status, opaquetables/status]
  verbs: [get, update, patch]
# Owner references with blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [opaque.dev]
  resources: [opaqueclusters/finalizers, opaquetables/finalizers]
  verbs: [update]
# Shard maps are its own. The status is the nodes', to whom it grants these rights.
- apiGroups: [opaque.dev]
  resources: [opaqueshardmaps]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [opaque.dev]
  resources: [opaqueshardmaps/status]
  verbs: [get, update, patch]
# Why a pod is not ready, and that it is replaced, as far as its PodDisruptionBudget allows.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Why a pod was refused that a StatefulSet or Job wants: nothing else tells it.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
# Certificates are Secrets. It lists and watches those with its own label only, and reads by name those
# that a spec refers to; RBAC cannot tell a list by label from a list of all.
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
# Its own election, the claim on the namespace and that it waits for it, the nodes' members and leaders, reports of
# prepare Jobs.
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
