//! The StatefulSet of one shard.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SecretProjection, SecretVolumeSource, TopologySpreadConstraint, Volume,
    VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use opaque_crds::cluster::ClientAuthMode;
use opaque_crds::names;
use opaque_ops::drain;
use serde_json::Value;

use super::network::select_shard;
use super::{ADMIN_PORT, Blueprint, CLIENT_PORT, PEER_PORT};
use crate::error::Error;
use crate::labels;
use crate::pod::{self, file, merge_pod, mount, projected, variable_of_pod};

/// How long a new pod must stay ready before the next one is replaced. The kubelet may report a pod
/// that has just started as ready, revoke that a moment later, and report it ready again at the
/// next probe.
const MIN_READY_SECONDS: i32 = 3;
/// How long a terminating pod still accepts connections, so that every proxy learns of its end.
const DRAIN_DELAY_SECONDS: u64 = 5;
/// Field of a pod's template with its grace period.
const GRACE_PERIOD: &str = "terminationGracePeriodSeconds";
/// Value of `--revocation` that requires lists.
const REVOCATION_REQUIRED: &str = "required";
/// Mount path of [`tls_volume`].
const TLS_DIR: &str = "/etc/opaque/tls";
/// Mount path of clients' tokens.
const TOKENS_DIR: &str = "/etc/opaque/tokens";

/// Builds the set as JSON, because `podTemplate` may contain fields that this operator does not
/// know.
///
/// # Errors
/// `podTemplate` cannot be merged into the pods.
pub(in crate::cluster) fn set(blueprint: &Blueprint<'_>, shard: i32) -> Result<Value, Error> {
    let cluster = blueprint.name();
    let template = template(blueprint, shard)?;
    let set = StatefulSet {
        metadata: labels::owned(
            blueprint.cluster,
            names::shard(&cluster, shard),
            labels::of_shard(&cluster, shard),
        ),
        spec: Some(StatefulSetSpec {
            replicas: Some(blueprint.size.replicas),
            service_name: Some(names::peer_service(&cluster)),
            // Pods are interchangeable and keep no state, so none has to wait for another to start.
            pod_management_policy: Some("Parallel".into()),
            min_ready_seconds: Some(MIN_READY_SECONDS),
            // The operator replaces pods itself: see `rollout`.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            revision_history_limit: Some(3),
            selector: LabelSelector {
                match_labels: Some(select_shard(&cluster, shard)),
                ..LabelSelector::default()
            },
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    let mut set = serde_json::to_value(set).map_err(internal)?;
    if let Some(Value::Object(spec)) = set.get_mut("spec") {
        spec.insert("template".into(), template);
    }
    Ok(set)
}

/// Whether the nodes of an existing set require revocation lists.
pub(in crate::cluster) fn demands_revocation(set: &StatefulSet) -> Option<bool> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let node = pod.containers.iter().find(|container| container.name == "node")?;
    let arguments = node.args.as_ref()?;
    let flag = arguments.iter().position(|argument| argument == "--revocation")?;
    arguments.get(flag + 1).map(|value| value == REVOCATION_REQUIRED)
}

/// The pods' template, with the overlay merged in.
fn template(blueprint: &Blueprint<'_>, shard: i32) -> Result<Value, Error> {
    let cluster = blueprint.name();
    let overlay = blueprint.cluster.spec.pod_template.as_ref();
    let mut metadata = ObjectMeta::default();
    let mut all = overlay.and_then(|o| o.metadata.as_ref()).map(|m| m.labels.clone());
    let labels = all.get_or_insert_default();
    // These labels are added last, so that they take precedence: pods are selected by them.
    labels.extend(labels::of_shard(&cluster, shard));
    labels.extend(select_shard(&cluster, shard));
    metadata.labels = all;
    let annotations = overlay.and_then(|o| o.metadata.as_ref()).map(|m| m.annotations.clone());
    metadata.annotations = annotations.filter(|annotations| !annotations.is_empty());
    let spec = pod_spec(blueprint, shard);
    let template = PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) };
    let mut template = serde_json::to_value(template).map_err(internal)?;
    if let (Some(overlay), Some(spec)) =
        (overlay.and_then(|overlay| overlay.spec.as_ref()), template.get_mut("spec"))
    {
        let overlay = serde_json::to_value(overlay).map_err(internal)?;
        merge_pod(spec, &overlay).map_err(|error| Error::Invalid(error.to_string()))?;
        if let (None, Some(seconds)) = (overlay.get(GRACE_PERIOD), query_deadline(spec)) {
            spec[GRACE_PERIOD] = grace_seconds(seconds).into();
        }
    }
    Ok(template)
}

/// The grace period of a pod whose queries may take this many seconds.
fn grace_seconds(query_deadline: u64) -> i64 {
    let delay = Duration::from_secs(DRAIN_DELAY_SECONDS);
    let grace = drain::grace(delay, Duration::from_secs(query_deadline));
    i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)
}

/// The query deadline in seconds, if an overlay sets it in a pod's environment.
fn query_deadline(pod: &Value) -> Option<u64> {
    let containers = pod.get("containers")?.as_array()?;
    let node = containers.iter().find(|container| container["name"] == "node")?;
    let mut variables = node.get("env")?.as_array()?.iter();
    let set = variables.find(|variable| variable["name"] == drain::QUERY_DEADLINE_VARIABLE)?;
    set.get("value")?.as_str()?.parse().ok()
}

fn pod_spec(blueprint: &Blueprint<'_>, shard: i32) -> PodSpec {
    let cluster = blueprint.name();
    let (token, token_mount) = pod::api_token();
    let (scratch, scratch_mount) = pod::scratch();
    let mut volumes = vec![tls_volume(blueprint, shard), token, scratch];
    let mut mounts = vec![mount("tls", TLS_DIR), token_mount, scratch_mount];
    let credentials = pod::store_credentials(&blueprint.cluster.spec.storage);
    for (volume, mount) in credentials.into_iter().chain(tokens(blueprint)) {
        volumes.push(volume);
        mounts.push(mount);
    }
    PodSpec {
        service_account_name: Some(names::node_account(&cluster)),
        automount_service_account_token: Some(false),
        // Service links would add dozens of variables that no program reads.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_seconds(drain::QUERY_DEADLINE_SECONDS)),
        security_context: Some(pod::pod_security()),
        topology_spread_constraints: Some(vec![
            spread(&cluster, shard, "topology.kubernetes.io/zone"),
            spread(&cluster, shard, "kubernetes.io/hostname"),
        ]),
        containers: vec![container(blueprint, shard, mounts)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(blueprint: &Blueprint<'_>, shard: i32, mounts: Vec<VolumeMount>) -> Container {
    let spec = &blueprint.cluster.spec;
    let mut environment = vec![
        variable_of_pod("POD_NAME", "metadata.name"),
        variable_of_pod("POD_IP", "status.podIP"),
        variable_of_pod("POD_UID", "metadata.uid"),
    ];
    environment.extend(pod::store_environment(&spec.storage));
    Container {
        args: Some(arguments(blueprint, shard)),
        env: Some(environment),
        ports: Some(vec![
            named_port("query", CLIENT_PORT),
            named_port("peer", PEER_PORT),
            named_port("admin", ADMIN_PORT),
        ]),
        // Startup may take long on a busy machine. After startup, a node that hangs soon gets no
        // more queries, but it is restarted late, because a restart means that it loads its
        // partitions again.
        startup_probe: Some(probe("/livez", 1, 120)),
        readiness_probe: Some(probe("/readyz", 1, 2)),
        liveness_probe: Some(probe("/livez", 20, 6)),
        resources: Some(ResourceRequirements {
            requests: Some(
                [("cpu", "250m"), ("memory", "512Mi")]
                    .map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())))
                    .into_iter()
                    .collect(),
            ),
            ..ResourceRequirements::default()
        }),
        volume_mounts: Some(mounts),
        ..pod::container(
            "node",
            pod::image(spec, blueprint.installed_image),
            pod::pull_policy(spec),
        )
    }
}

fn arguments(blueprint: &Blueprint<'_>, shard: i32) -> Vec<String> {
    let spec = &blueprint.cluster.spec;
    let (cluster, namespace) = (blueprint.name(), blueprint.namespace());
    // An issuer of cert-manager publishes its own revocations, if any.
    let revocation = if blueprint.revocation { REVOCATION_REQUIRED } else { "none" };
    let mode = match spec.client_auth.mode {
        ClientAuthMode::Mtls => "mtls",
        ClientAuthMode::Token => "token",
        ClientAuthMode::None => "none",
    };
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |flag: &str, value: String| arguments.extend([format!("--{flag}"), value]);
    add("name", "$(POD_NAME)".into());
    add("shard", shard.to_string());
    add("shards", blueprint.size.shards.to_string());
    add("client-listen", format!("[::]:{CLIENT_PORT}"));
    add("peer-listen", format!("[::]:{PEER_PORT}"));
    add("admin-listen", format!("[::]:{ADMIN_PORT}"));
    add("pod-ip", "$(POD_IP)".into());
    add("store", spec.storage.url.clone());
    if pod::store_credentials(&spec.storage).is_some() {
        add("store-credentials", pod::STORE_DIR.into());
    }
    add("coordination", format!("kubernetes://{namespace}/{cluster}"));
    add("tls-dir", TLS_DIR.into());
    add("revocation", revocation.into());
    add("client-auth", mode.into());
    if spec.client_auth.mode == ClientAuthMode::Token {
        add("tokens-dir", TOKENS_DIR.into());
    }
    for name in &spec.client_auth.loaders {
        // Kubernetes expands `$(NAME)` in arguments.
        add("loader", name.replace('$', "$$"));
    }
    add("drain-delay-s", DRAIN_DELAY_SECONDS.to_string());
    arguments
}

/// See decision 009, "Files of a pod". There is one volume, so that all files of a change appear at
/// the same time.
fn tls_volume(blueprint: &Blueprint<'_>, shard: i32) -> Volume {
    let cluster = blueprint.name();
    let spec = &blueprint.cluster.spec;
    let mut trust = vec![file("peer-ca.crt", "peer-ca.crt")];
    if blueprint.revocation {
        trust.push(file("peer-ca.crl", "peer-ca.crl"));
    }
    if spec.client_auth.mode == ClientAuthMode::Mtls {
        trust.push(file("clients-ca.revoked", "clients-ca.revoked"));
    }
    let mut sources = vec![
        secret(
            names::shard_certificate(&cluster, shard),
            vec![file("tls.crt", "peer.crt"), file("tls.key", "peer.key")],
        ),
        secret(
            names::server_certificate(&cluster),
            vec![file("tls.crt", "client.crt"), file("tls.key", "client.key")],
        ),
        VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: names::trust(&cluster),
                items: Some(trust),
                optional: None,
            }),
            ..VolumeProjection::default()
        },
    ];
    if let (ClientAuthMode::Mtls, Some(reference)) =
        (spec.client_auth.mode, &spec.client_auth.ca_secret_ref)
    {
        let name = &reference.name;
        sources.push(secret(name.clone(), vec![file("ca.crt", "clients-ca.crt")]));
        // The Secret may contain revocation lists now or later.
        let mut lists = secret(name.clone(), vec![file("ca.crl", "clients-ca.crl")]);
        lists.secret = lists.secret.map(|lists| SecretProjection { optional: Some(true), ..lists });
        sources.push(lists);
    }
    projected("tls", sources)
}

fn tokens(blueprint: &Blueprint<'_>) -> Option<(Volume, VolumeMount)> {
    let auth = &blueprint.cluster.spec.client_auth;
    let reference = auth.token_secret_ref.as_ref()?;
    if auth.mode != ClientAuthMode::Token {
        return None;
    }
    let volume = Volume {
        name: "tokens".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(reference.name.clone()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    Some((volume, mount("tokens", TOKENS_DIR)))
}

fn secret(name: String, items: Vec<k8s_openapi::api::core::v1::KeyToPath>) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection { name, items: Some(items), optional: None }),
        ..VolumeProjection::default()
    }
}

/// Spreads the replicas of a shard over the available nodes, separately for each revision.
fn spread(cluster: &str, shard: i32, key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(select_shard(cluster, shard)),
            ..LabelSelector::default()
        }),
        match_label_keys: Some(vec!["controller-revision-hash".into()]),
        ..TopologySpreadConstraint::default()
    }
}

fn named_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("admin".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn internal(error: serde_json::Error) -> Error {
    Error::Internal(format!("a pod could not be written as JSON: {error}"))
}
