//! The common parts of the pods of nodes and of prepare Jobs.
//!
//! Every pod meets the level *restricted* of Kubernetes' pod security standards: no root user, no
//! capabilities, no privilege escalation, and the default seccomp filter. In addition, only `/tmp`
//! is writable, and an API token is mounted only if the program needs one.

mod overlay;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile,
    EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath, ObjectFieldSelector, PodSecurityContext,
    ProjectedVolumeSource, SeccompProfile, SecretProjection, SecurityContext,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use opaque_crds::cluster::{ImagePullPolicy, OpaqueClusterSpec, Storage};

pub(crate) use overlay::merge_pod;

/// User and group ID of every program in Opaque's images.
const USER: i64 = 65532;
/// Volume of the store's credentials.
const STORE: &str = "store-credentials";
/// Mount path of the store's credentials.
pub(crate) const STORE_DIR: &str = "/etc/opaque/store";
/// Path at which the kubelet puts the token of a ServiceAccount.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Lifetime of a token; the kubelet renews it long before its end.
const TOKEN_SECONDS: i64 = 3607;

/// Security context of a pod.
pub(crate) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        // Users' volumes may be large, so a volume with the right owner is not changed.
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// Security context of a container.
pub(crate) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..SecurityContext::default()
    }
}

/// The image of a cluster's pods, both nodes and prepare Jobs: the spec's image, or the
/// installation's default.
pub(crate) fn image(spec: &OpaqueClusterSpec, installed: &str) -> String {
    spec.image.clone().unwrap_or_else(|| installed.to_owned())
}

/// `imagePullPolicy` in Kubernetes' format; `None` leaves the choice to Kubernetes.
pub(crate) fn pull_policy(spec: &OpaqueClusterSpec) -> Option<String> {
    spec.image_pull_policy.map(|policy| {
        match policy {
            ImagePullPolicy::Always => "Always",
            ImagePullPolicy::IfNotPresent => "IfNotPresent",
            ImagePullPolicy::Never => "Never",
        }
        .to_owned()
    })
}

/// Environment variables that configure the store for `object_store`. The credentials are in
/// [`store_credentials`].
pub(crate) fn store_environment(storage: &Storage) -> Vec<EnvVar> {
    let mut environment = Vec::new();
    if let Some(endpoint) = &storage.endpoint {
        environment.push(variable("AWS_ENDPOINT_URL", endpoint));
        if endpoint.starts_with("http://") {
            environment.push(variable("AWS_ALLOW_HTTP", "true"));
        }
    }
    if let Some(region) = &storage.region {
        environment.push(variable("AWS_REGION", region));
    }
    environment
}

/// Volume and mount of the store's credentials and of its server's authorities. Each key of the
/// Secret is a file, which programs read again when the Secret changes. Variables would keep the
/// values from the pod's start.
pub(crate) fn store_credentials(storage: &Storage) -> Option<(Volume, VolumeMount)> {
    let source = |name: &str, items| VolumeProjection {
        secret: Some(SecretProjection { name: name.to_owned(), items, optional: None }),
        ..VolumeProjection::default()
    };
    let credentials = storage.secret_ref.iter().map(|secret| source(&secret.name, None));
    let authorities = storage.ca_secret_ref.iter();
    let authorities =
        authorities.map(|secret| source(&secret.name, Some(vec![file("ca.crt", "ca.crt")])));
    let sources: Vec<_> = credentials.chain(authorities).collect();
    let volume = || (projected(STORE, sources.clone()), mount(STORE, STORE_DIR));
    (!sources.is_empty()).then(volume)
}

/// A variable with a value.
pub(crate) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

/// A variable with the value of a field of the pod.
pub(crate) fn variable_of_pod(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: path.into(), ..ObjectFieldSelector::default() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

/// Volume and mount of the token with which a program uses the API. It is projected explicitly,
/// because `automountServiceAccountToken` would give it to every container of the pod.
pub(crate) fn api_token() -> (Volume, VolumeMount) {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".into(),
            ..ServiceAccountTokenProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let authority = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: "kube-root-ca.crt".into(),
            items: Some(vec![file("ca.crt", "ca.crt")]),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let field = ObjectFieldSelector {
        api_version: Some("v1".into()),
        field_path: "metadata.namespace".into(),
    };
    let namespace = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "namespace".into(),
                field_ref: Some(field),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    let volume = projected("api-token", vec![token, authority, namespace]);
    (volume, mount("api-token", TOKEN_PATH))
}

/// Volume and mount of the only writable folder.
pub(crate) fn scratch() -> (Volume, VolumeMount) {
    let volume = Volume {
        name: "tmp".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("1Gi".into())),
            medium: None,
        }),
        ..Volume::default()
    };
    let mount = VolumeMount { read_only: None, ..mount("tmp", "/tmp") };
    (volume, mount)
}

/// A volume with several sources, readable by the programs' group.
pub(crate) fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

/// A read-only mount.
pub(crate) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// One key of a Secret or ConfigMap as a file.
pub(crate) fn file(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.into(), path: path.into(), mode: None }
}

/// A container with the common security context.
pub(crate) fn container(name: &str, image: String, pull_policy: Option<String>) -> Container {
    Container {
        name: name.into(),
        image: Some(image),
        image_pull_policy: pull_policy,
        security_context: Some(container_security()),
        // `kubectl describe` shows it even after the log is gone.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}
