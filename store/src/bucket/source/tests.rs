use super::super::tests::{location, settings};
use super::*;

const STORE: [(&str, &str); 7] = [
    ("AWS_ACCESS_KEY_ID", "store"),
    ("AWS_SECRET_ACCESS_KEY", "s1"),
    ("AWS_SESSION_TOKEN", "t1"),
    ("AWS_ENDPOINT_URL", "http://minio:9000"),
    ("AWS_ALLOW_HTTP", "true"),
    ("AWS_REGION", "here"),
    ("PATH", "/bin"),
];
const OWN: [(&str, &str); 2] =
    [("SOURCE_AWS_ACCESS_KEY_ID", "other\n"), ("SOURCE_AWS_SECRET_ACCESS_KEY", "s2")];

/// The source's variables in order.
fn variables(source: &SourceSettings) -> String {
    let all = source.settings.0.iter();
    all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// The settings of a source in S3, in addition to those of [`STORE`].
fn source(own: &[(&str, &str)], shared: bool) -> SourceSettings {
    settings(&[&STORE[..], own].concat()).of_source(&location("s3://b/c"), shared)
}

#[test]
fn a_source_without_credentials_is_read_unsigned_where_the_store_is() {
    let found = source(&[], false);
    assert_eq!(
        variables(&found),
        "AWS_ALLOW_HTTP=true AWS_ENDPOINT_URL=http://minio:9000 AWS_REGION=here \
         AWS_SKIP_SIGNATURE=true"
    );
    assert_eq!(found.signed_by, SignedBy::Nobody);
    assert_eq!(found.trusted, ["http://minio:9000"]);
    // A server's location is not a credential.
    let found = source(&[("SOURCE_AWS_ENDPOINT_URL", "https://other")], true);
    assert_eq!(
        variables(&found),
        "AWS_ENDPOINT_URL=https://other AWS_REGION=here AWS_SKIP_SIGNATURE=true"
    );
    assert!(found.trusted.is_empty(), "{:?}", found.trusted);
}

#[test]
fn the_store_shares_its_credentials_where_its_owner_says_so() {
    let found = source(&[], true);
    assert_eq!(
        variables(&found),
        "AWS_ACCESS_KEY_ID=store AWS_ALLOW_HTTP=true AWS_ENDPOINT_URL=http://minio:9000 AWS_REGION=here \
         AWS_SECRET_ACCESS_KEY=s1 AWS_SESSION_TOKEN=t1"
    );
    assert_eq!(found.signed_by, SignedBy::Store);
}

#[test]
fn a_source_has_its_own_credentials_or_the_stores_and_never_a_mix() {
    for shared in [false, true] {
        let found = source(&OWN, shared);
        assert_eq!(
            variables(&found),
            "AWS_ACCESS_KEY_ID=other AWS_ALLOW_HTTP=true AWS_ENDPOINT_URL=http://minio:9000 AWS_REGION=here \
             AWS_SECRET_ACCESS_KEY=s2"
        );
        assert_eq!(found.signed_by, SignedBy::Source);
        // Credentials for another server are not sent without TLS merely because the store's are.
        let elsewhere = [&OWN[..], &[("SOURCE_AWS_ENDPOINT_URL", "https://other")]].concat();
        let found = source(&elsewhere, shared);
        assert_eq!(
            variables(&found),
            "AWS_ACCESS_KEY_ID=other AWS_ENDPOINT_URL=https://other AWS_REGION=here \
             AWS_SECRET_ACCESS_KEY=s2"
        );
        assert!(found.trusted.is_empty(), "{:?}", found.trusted);
    }
}

#[test]
fn a_bucket_of_another_kind_takes_nothing_of_s3() {
    let found = settings(&STORE).of_source(&location("gs://b/c"), true);
    assert_eq!((variables(&found).as_str(), found.signed_by), ("", SignedBy::Store));
    let found = settings(&STORE).of_source(&location("gs://b/c"), false);
    assert_eq!(variables(&found), "GOOGLE_SKIP_SIGNATURE=true");
}

#[test]
fn a_source_in_azure_is_in_the_stores_account_or_its_own() {
    let store = [("AZURE_STORAGE_ACCOUNT_NAME", "ours"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")];
    let azure = location("az://c/d");
    let found = settings(&store).of_source(&azure, false);
    assert_eq!(variables(&found), "AZURE_SKIP_SIGNATURE=true AZURE_STORAGE_ACCOUNT_NAME=ours");
    let own =
        [("SOURCE_AZURE_STORAGE_ACCOUNT_NAME", "theirs"), ("SOURCE_AZURE_STORAGE_SAS_TOKEN", "t")];
    let found = settings(&[&store[..], &own[..]].concat()).of_source(&azure, false);
    assert_eq!(variables(&found), "AZURE_STORAGE_ACCOUNT_NAME=theirs AZURE_STORAGE_SAS_TOKEN=t");
}

#[test]
fn a_source_names_no_file_of_the_pod_no_server_of_credentials_and_no_proxy() {
    for name in [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ENDPOINT_URL_STS",
        "AWS_METADATA_ENDPOINT",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_PROXY_URL",
        "AWS_NO_SUCH_VARIABLE",
    ] {
        let found = source(&[(&format!("SOURCE_{name}"), "x")], true);
        assert!(!variables(&found).contains(name), "{name}");
        assert_eq!(found.signed_by, SignedBy::Nobody, "{name}");
    }
    for (name, url) in [
        ("GOOGLE_APPLICATION_CREDENTIALS", "gs://b/c"),
        ("GOOGLE_SERVICE_ACCOUNT", "gs://b/c"),
        ("GOOGLE_SERVICE_ACCOUNT_PATH", "gs://b/c"),
        ("AZURE_FEDERATED_TOKEN_FILE", "az://b/c"),
        ("AZURE_MSI_ENDPOINT", "az://b/c"),
        ("AZURE_USE_AZURE_CLI", "az://b/c"),
        ("AZURE_USE_EMULATOR", "az://b/c"),
    ] {
        let own = settings(&[(&format!("SOURCE_{name}"), "x")]);
        let found = own.of_source(&location(url), true);
        assert!(variables(&found).ends_with("_SKIP_SIGNATURE=true"), "{name}");
        assert_eq!(found.settings.0.len(), 1, "{name}");
    }
}
