//! What is committed for Kubernetes is what this crate says.

#[path = "../examples/crdgen/render.rs"]
mod render;

use std::fs;
use std::path::Path;

use serde_json::Value;

#[test]
fn the_committed_definitions_are_generated_from_this_crate() {
    let manifests = render::manifests().unwrap();
    for (file, text) in &manifests {
        let committed = fs::read_to_string(render::folder().join(file)).unwrap_or_default();
        assert!(&committed == text, "{file} differs from the types: run `make crds`");
    }
    let files = fs::read_dir(render::folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let definitions = names.filter(|name| name.ends_with(".opaque.dev.yaml")).count();
    assert_eq!(definitions, manifests.len(), "a definition that no type stands for");
}

#[test]
fn the_yaml_says_what_the_types_say() {
    for ((file, text), definition) in
        render::manifests().unwrap().iter().zip(opaque_crds::definitions())
    {
        let mut read: Value = serde_saphyr::from_str(text).unwrap();
        read["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(read, serde_json::to_value(definition).unwrap(), "{file}");
        assert!(!text.contains("{{"), "{file}: Helm would take this for a template");
    }
}

/// Helm upgrades the chart only if its version grows with the types.
#[test]
fn the_chart_has_the_version_of_this_crate() {
    let chart = fs::read_to_string(render::folder().join("../Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&chart).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_example_table_holds_the_example_data() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let text = fs::read_to_string(root.join("kubernetes/weather.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let data = fs::read_to_string(root.join("weather/weather.csv")).unwrap();
    let held = objects.iter().find_map(|object| object["data"]["weather.csv"].as_str());
    assert_eq!(held, Some(data.as_str()));
}

/// API conventions: no floats, no unsigned integers, and a description for `kubectl explain`.
#[test]
fn fields_follow_the_api_conventions() {
    for definition in opaque_crds::definitions() {
        let schema = &serde_json::to_value(&definition).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        check_fields(&definition.spec.names.kind, schema);
    }
}

fn check_fields(path: &str, schema: &Value) {
    assert_ne!(schema["type"], "number", "{path} is a float");
    let format = schema["format"].as_str().unwrap_or_default();
    assert!(!format.starts_with("uint"), "{path} is unsigned");
    if let Some(fields) = schema["properties"].as_object() {
        for (name, field) in fields {
            let path = format!("{path}.{name}");
            assert!(field["description"].is_string(), "{path} has no description");
            check_fields(&path, field);
        }
    }
    if schema["items"].is_object() {
        check_fields(&format!("{path}[]"), &schema["items"]);
    }
}
