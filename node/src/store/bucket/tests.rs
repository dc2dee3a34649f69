use super::*;

fn settings(variables: &[(&str, &str)]) -> Settings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Settings::new(variables.iter().map(owned))
}

fn location(url: &str) -> Location {
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
fn a_source_has_its_own_credentials_or_the_stores_and_never_a_mix() {
    let store = [
        ("AWS_ACCESS_KEY_ID", "store"),
        ("AWS_SECRET_ACCESS_KEY", "s1"),
        ("AWS_SESSION_TOKEN", "t1"),
        ("AWS_ENDPOINT_URL", "http://minio:9000"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "here"),
        ("PATH", "/bin"),
    ];
    let names = |settings: &Settings| {
        let all = settings.0.iter();
        all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let s3 = location("s3://b/c");
    assert_eq!(
        names(&settings(&store).of_source(&s3)),
        "AWS_ACCESS_KEY_ID=store AWS_ALLOW_HTTP=true AWS_ENDPOINT_URL=http://minio:9000 AWS_REGION=here \
         AWS_SECRET_ACCESS_KEY=s1 AWS_SESSION_TOKEN=t1"
    );
    let own = [("SOURCE_AWS_ACCESS_KEY_ID", "other\n"), ("SOURCE_AWS_SECRET_ACCESS_KEY", "s2")];
    assert_eq!(
        names(&settings(&[&store[..], &own[..]].concat()).of_source(&s3)),
        "AWS_ACCESS_KEY_ID=other AWS_ALLOW_HTTP=true AWS_ENDPOINT_URL=http://minio:9000 AWS_REGION=here \
         AWS_SECRET_ACCESS_KEY=s2"
    );
    // Credentials for another server are not sent in the clear because the store's are.
    let elsewhere = [&own[..], &[("SOURCE_AWS_ENDPOINT_URL", "https://other")]].concat();
    assert_eq!(
        names(&settings(&[&store[..], &elsewhere[..]].concat()).of_source(&s3)),
        "AWS_ACCESS_KEY_ID=other AWS_ENDPOINT_URL=https://other AWS_REGION=here \
         AWS_SECRET_ACCESS_KEY=s2"
    );
    // A bucket of another kind takes nothing of S3's.
    assert_eq!(names(&settings(&store).of_source(&location("gs://b/c"))), "");
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
