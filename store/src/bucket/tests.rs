use super::*;

pub(super) fn settings(variables: &[(&str, &str)]) -> Settings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Settings::new(variables.iter().map(owned))
}

pub(super) fn location(url: &str) -> Location {
    Location::parse(url).unwrap().unwrap()
}

#[test]
fn a_url_is_a_bucket_and_a_path() {
    for (url, path) in [
        ("s3://bucket", ""),
        ("s3://bucket/", ""),
        ("gs://my.bucket/a", "a"),
        ("az://container/a/b c.csv", "a/b c.csv"),
    ] {
        assert_eq!(location(url).path().as_ref(), path, "{url}");
    }
    assert_eq!(Location::parse("https://host/a"), None);
    assert_eq!(Location::parse("/a"), None);
    for (url, reason) in [
        ("s3://", "write scheme://bucket/path"),
        ("s3://a b/c", "write scheme://bucket/path"),
        ("s3://key:hunter2@bucket/c", "credentials belong in the environment"),
        ("s3://bucket/a//b", "empty"),
    ] {
        let error = Location::parse(url).unwrap().unwrap_err();
        assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn an_endpoint_without_tls_must_be_allowed() {
    let variables = [
        ("AWS_ENDPOINT_URL", "http://minio:9000"),
        ("AWS_ACCESS_KEY_ID", "key-id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let error = location("s3://b").open(&settings(&variables)).unwrap_err();
    assert_eq!(
        error,
        "AWS_ENDPOINT_URL is http://minio:9000, which is not encrypted: use https, or set AWS_ALLOW_HTTP=true"
    );
    let allowed = [&variables[..], &[("AWS_ALLOW_HTTP", "true")]].concat();
    location("s3://b").open(&settings(&allowed)).unwrap();
}

#[test]
fn settings_show_no_value() {
    let settings = settings(&[("AWS_SECRET_ACCESS_KEY", "hunter2")]);
    assert_eq!(format!("{settings:?}"), "[\"AWS_SECRET_ACCESS_KEY\"]");
    assert_eq!(settings.redacted("bad hunter2"), "bad <AWS_SECRET_ACCESS_KEY>");
}
