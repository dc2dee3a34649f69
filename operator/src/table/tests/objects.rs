//! Objects of a Job.

use opaque_crds::reference::LocalReference;
use opaque_crds::{OpaqueCluster, OpaqueTable};
use serde_json::{Value, json};

use crate::kube::Installed;
use crate::labels;
use crate::table::decide::Start;
use crate::table::fixtures::{cluster, table, table_from_url};
use crate::table::objects::{Objects, objects};

fn build(table: &OpaqueTable, cluster: &OpaqueCluster) -> Objects {
    build_with(table, cluster, false)
}

fn build_with(table: &OpaqueTable, cluster: &OpaqueCluster, allow_local_sources: bool) -> Objects {
    let start = Start { number: 7, run: "abc".into(), keep: [3, 4].into() };
    let installed = Installed {
        node_image: "registry.example/opaque-node:1".into(),
        cluster_domain: "cluster.local".into(),
        allow_local_sources,
    };
    objects(table, cluster, &start, &installed).unwrap()
}

fn pod(objects: &Objects) -> Value {
    serde_json::to_value(objects.job.spec.clone().unwrap().template).unwrap()
}

fn container(objects: &Objects) -> Value {
    pod(objects)["spec"]["containers"][0].clone()
}

#[test]
fn the_command_line_is_that_of_the_decision() {
    let objects = build(&table("weather"), &cluster());
    assert_eq!(objects.job.metadata.name.as_deref(), Some("weather-prepare-7"));
    let container = container(&objects);
    assert_eq!(container["image"], "registry.example/opaque-node:1");
    assert_eq!(container["command"], json!(["/usr/bin/opaque-prepare"]));
    let arguments = json!([
        "--store=s3://opaque/demo",
        "--table=weather",
        "--source=/etc/opaque/source/weather.csv",
        "--format=csv",
        "--compression=none",
        "--retain=3",
        "--max-source-mib=65536",
        "--report=kubernetes://ns/weather-prepare",
        "--run=abc",
        "--store-credentials=/etc/opaque/store",
        "--keep=3,4",
    ]);
    assert_eq!(container["args"], arguments);
}

#[test]
fn owner_and_operator_say_what_a_source_may_use_and_where_it_may_be() {
    let arguments = |cluster: &OpaqueCluster, local| {
        let args = container(&build_with(&table("weather"), cluster, local))["args"].clone();
        serde_json::from_value::<Vec<String>>(args).unwrap()
    };
    let usual = arguments(&cluster(), false);
    let of = |more: &str| [usual.clone(), vec![more.to_owned()]].concat();
    let mut sharing = cluster();
    sharing.spec.storage.share_with_sources = true;
    assert_eq!(arguments(&sharing, false), of("--share-store-credentials"));
    assert_eq!(arguments(&cluster(), true), of("--allow-local-sources"));
}

#[test]
fn a_table_says_how_its_source_is_written() {
    let mut odd = table("weather");
    odd.spec.source.ignore_extra = true;
    odd.spec.source.dialect = Some(
        serde_json::from_value(json!({"delimiter": "$", "skip": 2, "columns": ["a"]})).unwrap(),
    );
    let args = container(&build_with(&odd, &cluster(), false))["args"].clone();
    let args = serde_json::from_value::<Vec<String>>(args).unwrap();
    let dialect = r#"--dialect={"delimiter":"$$","columns":["a"],"skip":2}"#;
    for argument in [dialect, "--ignore-extra"] {
        assert!(args.iter().any(|other| other == argument), "{args:?}");
    }
}

#[test]
fn a_table_names_the_link_of_its_clients() {
    let mut slow = table("weather");
    slow.spec.link_mbits = Some(10);
    let args = container(&build_with(&slow, &cluster(), false))["args"].clone();
    let args = serde_json::from_value::<Vec<String>>(args).unwrap();
    assert!(args.contains(&"--link=10".to_owned()), "{args:?}");
}

#[test]
fn credentials_come_from_secrets_and_never_stand_in_the_job() {
    let mut table = table_from_url("weather");
    table.spec.source.secret_ref = Some(LocalReference::new("web"));
    let web = container(&build(&table, &cluster()));
    assert_eq!(web["envFrom"], json!([]));
    let pod = pod(&build(&table, &cluster()));
    let store = json!({
        "name": "prepare-store",
        "projected": {"defaultMode": 0o440, "sources": [{"secret": {"name": "demo-storage"}}]},
    });
    assert!(pod["spec"]["volumes"].as_array().unwrap().contains(&store), "{pod}");
    let mount =
        json!({"name": "prepare-store", "mountPath": "/etc/opaque/store", "readOnly": true});
    assert!(web["volumeMounts"].as_array().unwrap().contains(&mount), "{web}");
    let reference = json!({"name": "web", "key": "token", "optional": true});
    let token = json!({"name": "SOURCE_TOKEN", "valueFrom": {"secretKeyRef": reference}});
    assert!(web["env"].as_array().unwrap().contains(&token), "{}", web["env"]);

    table.spec.source.url = Some("s3://other/weather.csv".into());
    let bucket = container(&build(&table, &cluster()));
    let source = json!({"prefix": "SOURCE_", "secretRef": {"name": "web"}});
    assert_eq!(bucket["envFrom"], json!([source]));
    assert!(!bucket["env"].to_string().contains("SOURCE_"));
}

#[test]
fn the_account_may_touch_one_lease() {
    let objects = build(&table("weather"), &cluster());
    let rules = serde_json::to_value(objects.role.rules).unwrap();
    let only = json!({
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["weather-prepare"],
        "verbs": ["get", "patch"],
    });
    assert_eq!(rules, json!([only]));
}

#[test]
fn the_pod_is_restricted_and_not_taken_for_a_node() {
    let pod = pod(&build(&table("weather"), &cluster()));
    let spec = &pod["spec"];
    assert_eq!(spec["restartPolicy"], "Never");
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = &spec["containers"][0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    let found = pod["metadata"]["labels"].as_object().unwrap();
    let selected = |(key, value): (String, String)| found.get(&key) == Some(&value.into());
    assert!(!labels::select_nodes("demo").into_iter().all(selected));
    assert!(!found.contains_key(labels::CLUSTER));
}

#[test]
fn where_nodes_may_run_and_what_they_mount_holds_for_jobs() {
    let mut cluster = cluster();
    cluster.spec.storage = object!({"url": "file:///data"});
    let node = json!({
        "name": "node",
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "tls", "mountPath": "/more"},
        ],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}},
    });
    let template = json!({
        "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "terminationGracePeriodSeconds": 600,
            "volumes": [{"name": "data", "hostPath": {"path": "/data"}}],
            "containers": [node, {"name": "other", "image": "sidecar"}],
        },
    });
    cluster.spec.pod_template = serde_json::from_value(template).unwrap();
    let pod = pod(&build(&table("weather"), &cluster));
    let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
    assert_eq!(spec["nodeSelector"], json!({"disk": "fast"}));
    assert_eq!(spec["volumes"][0]["hostPath"]["path"], "/data");
    assert!(spec.get("terminationGracePeriodSeconds").is_none());
    assert_eq!(spec["containers"].as_array().unwrap().len(), 1);
    assert_eq!(pod["metadata"]["annotations"]["sidecar.istio.io/inject"], "false");
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let names: Vec<_> = mounts.map(|mount| mount["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data", "prepare-api", "prepare-tmp", "prepare-source"]);
    // A node's resources are for its share of all tables.
    assert_eq!(container["resources"]["requests"], json!({"cpu": "100m", "memory": "256Mi"}));
    assert!(container["env"].to_string().contains("HTTPS_PROXY"));
}

#[test]
fn a_job_takes_what_its_table_says() {
    let resources = |said: Value| {
        let mut table = table("weather");
        table.spec.prepare.resources = serde_json::from_value(said).unwrap();
        container(&build(&table, &cluster()))["resources"].clone()
    };
    // A namespace's quota for requests or limits rejects containers that lack one of them.
    let usual = json!({
        "requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "4", "memory": "8Gi"},
    });
    assert_eq!(resources(json!({})), usual);
    // A limit may be below the usual request, and a request above the usual limit.
    let small = resources(json!({"limits": {"memory": "128Mi"}}));
    assert_eq!(small["requests"], json!({"cpu": "100m"}));
    assert_eq!(small["limits"], json!({"cpu": "4", "memory": "128Mi"}));
    let large = resources(json!({"requests": {"memory": "16Gi", "example.com/gpu": "1"}}));
    assert_eq!(large["limits"], json!({"cpu": "4", "memory": "16Gi"}));
    assert_eq!(large["requests"]["example.com/gpu"], "1");
}

/// Only Parquet from the network is written to the disk before it is read.
#[test]
fn a_jobs_scratch_folder_is_as_large_as_what_it_may_write() {
    let scratch = |source: Value, size: &str| {
        let mut table = table("weather");
        table.spec.source = serde_json::from_value(source).unwrap();
        table.spec.prepare.max_source_size = size.into();
        let pod = pod(&build(&table, &cluster()));
        let volumes = pod["spec"]["volumes"].as_array().unwrap().clone();
        let scratch = volumes.into_iter().find(|volume| volume["name"] == "prepare-tmp").unwrap();
        scratch["emptyDir"]["sizeLimit"].clone()
    };
    let address = "https://host/a";
    let key = json!({"name": "files", "key": "a"});
    for (source, expected) in [
        (json!({"url": address, "format": "parquet"}), "2064Mi"),
        (json!({"url": address, "format": "csv"}), "16Mi"),
        (json!({"configMapRef": key, "format": "parquet"}), "16Mi"),
    ] {
        assert_eq!(scratch(source, "2Gi"), expected);
    }
}

#[test]
fn a_job_has_a_time_and_a_largest_source() {
    let mut table = table("weather");
    let deadline =
        |table: &OpaqueTable| build(table, &cluster()).job.spec.unwrap().active_deadline_seconds;
    assert_eq!(deadline(&table), Some(6 * 60 * 60));
    table.spec.prepare.timeout = "1h30m".into();
    table.spec.prepare.max_source_size = "2Ti".into();
    assert_eq!(deadline(&table), Some(5400));
    let arguments = container(&build(&table, &cluster()))["args"].to_string();
    assert!(arguments.contains("--max-source-mib=2097152"), "{arguments}");
}
