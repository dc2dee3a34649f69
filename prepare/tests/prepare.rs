//! The program of a prepare Job against a malicious server: the requests it sends, and the reports
//! it writes, which become the table's status. The texts are in `prepare.golden`.
//! `OPAQUE_UPDATE_GOLDEN=1 cargo test --test prepare` rewrites that file.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

/// Text that the server sends and that no report may contain.
const MARKER: &str = "q7Zx";
const SCHEMA: &str =
    r#"{"columns":[{"name":"city","type":"TEXT","role":"key"},{"name":"temp","type":"INT"}]}"#;
const ROLE: &str = r#"{"AccessKeyId":"role-key","SecretAccessKey":"secret","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;

/// A server, and the heads of the requests that it received.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let path = path.rsplit('/').next().unwrap_or_default().to_owned();
                told.lock().unwrap().push(head.join("\n"));
                stream.write_all(answer(&path, address).as_bytes()).unwrap();
            }
        });
        Self { address, heads }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}/{path}", self.address.port())
    }

    /// The requests since the last call.
    fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

fn answer(path: &str, address: SocketAddr) -> String {
    let port = address.port();
    let ok = |body: &str| ("200 OK", String::new(), body.to_owned());
    let to =
        |host: &str| ("302 Found", format!("Location: http://{host}/{MARKER}\r\n"), String::new());
    let denied = format!("<Error><Code>AccessDenied</Code><Message>{MARKER}</Message></Error>");
    let (status, header, body) = match path {
        "good.csv" => ok("city,temp\nOslo,3\n"),
        "long.csv" => {
            let rows: String = (0..20).map(|i| format!("city {i},{i}\n")).collect();
            ok(&format!("city,temp\n{rows}{},7\n", "x".repeat(30_000)))
        }
        "secret.csv" => ok(&format!("{MARKER}=1\n")),
        "quote.csv" => ok(&format!("city,temp\nOslo,3\n\"{MARKER},4\n")),
        "page" => ok(&format!("<!doctype html><p>{MARKER}</p>\n")),
        "semicolon.csv" => ok("temp;city;more\n3;Oslo;x\n"),
        "doubt.csv" => ok(&format!("city,temp\n'{MARKER}',3\n")),
        "value.csv" => ok(&format!("city,temp\nOslo,{MARKER}\n")),
        // The metadata server of a machine in AWS: a token, the machine's role, and the role's
        // credentials.
        "token" => ok("token"),
        "" => ok("role"),
        "role" => ok(ROLE),
        "to-address" => to(&format!("127.0.0.2:{port}")),
        "to-number" => to(&format!("0x7f.1:{port}")),
        "to-name" => to(&format!("localhost:{port}")),
        "to-cloud" => to("169.254.169.254"),
        _ => ("403 Forbidden", String::new(), denied),
    };
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n\
         ETag: \"{MARKER}\"\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Runs the program and returns its report.
fn report(source: &str, arguments: &[&str], variables: &[(&str, &str)]) -> serde_json::Value {
    report_of(SCHEMA, source, arguments, variables)
}

fn report_of(
    schema: &str,
    source: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> serde_json::Value {
    let store = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_opaque-prepare"))
        .env_clear()
        .envs(variables.iter().copied())
        .arg("--store")
        .arg(store.path())
        .args(["--table=weather", "--schema", schema, "--source", source])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    });
    let is_empty = std::fs::read_dir(store.path()).unwrap().next().is_none();
    assert_eq!(is_empty, report.get("epoch").is_none(), "what is refused leaves nothing: {report}");
    report
}

#[test]
fn a_column_may_have_another_name_in_the_source() {
    let server = Server::start();
    let source = server.url("127.0.0.1", "semicolon.csv");
    let schema = |first: &str, second: &str| {
        format!(
            r#"{{"columns":[{{"name":"place","from":"{first}","type":"TEXT","role":"key"}},
                {{"name":"celsius","from":"{second}","type":"INT"}}]}}"#
        )
    };
    let report = |schema: &str| report_of(schema, &source, &["--allow-local-sources"], &[]);
    let published = report(&schema("city", "temp"));
    assert_eq!(published["epochs"][0]["rows"], 1, "{published}");
    // Names in the source are compared with their case.
    let refused = report(&schema("City", "temp"));
    assert!(refused.to_string().contains("missing: City"), "{refused}");
    let refused = report(&schema("city", "city"));
    assert!(refused.to_string().contains("two columns have the same `from`"), "{refused}");
}

#[test]
fn reports_are_as_in_the_golden_file() {
    let server = Server::start();
    let proxy = server.url("127.0.0.1", "");
    // The proxy is the test server, which answers for any host. It is used although its address is
    // local.
    let proxied = [("http_proxy", proxy.as_str())];
    let store = server.url("127.0.0.1", "");
    let mut bucket = vec![("AWS_ENDPOINT_URL", store.as_str()), ("AWS_ALLOW_HTTP", "true")];
    bucket.extend([("AWS_ACCESS_KEY_ID", "store"), ("AWS_SECRET_ACCESS_KEY", "key")]);
    let own = [("SOURCE_AWS_ENDPOINT_URL", store.as_str()), ("SOURCE_AWS_ALLOW_HTTP", "true")];
    let named = server.url("localhost", "");
    let name = [("SOURCE_AWS_ENDPOINT_URL", named.as_str()), ("SOURCE_AWS_ALLOW_HTTP", "true")];
    let local = &["--allow-local-sources"][..];
    let mut text = String::new();
    for (what, source, arguments, variables) in [
        ("an address", server.url("127.0.0.1", "good.csv"), &[][..], &[][..]),
        ("another form of it", server.url("[::ffff:7f00:1]", "good.csv"), &[], &[]),
        ("a name", server.url("localhost", "good.csv"), &[], &[]),
        ("allowed", server.url("localhost", "good.csv"), local, &[]),
        ("no table", server.url("127.0.0.1", "secret.csv"), local, &[]),
        ("an open quote", server.url("127.0.0.1", "quote.csv"), local, &[]),
        ("a page", server.url("127.0.0.1", "page"), local, &[]),
        ("another dialect", server.url("127.0.0.1", "semicolon.csv"), local, &[]),
        (
            "another dialect",
            server.url("127.0.0.1", "semicolon.csv"),
            &["--allow-local-sources", "--ignore-extra", "--dialect={\"delimiter\":\";\"}"],
            &[],
        ),
        ("two dialects", server.url("127.0.0.1", "doubt.csv"), local, &[]),
        ("a wrong value", server.url("127.0.0.1", "value.csv"), local, &[]),
        ("refused", server.url("127.0.0.1", "refused"), local, &[]),
        ("redirected to an address", "http://files.test/to-address".into(), &[], &proxied),
        ("redirected to a number", "http://files.test/to-number".into(), &[], &proxied),
        ("redirected to a name", "http://files.test/to-name".into(), &[], &proxied),
        ("redirected to the cloud", "http://files.test/to-cloud".into(), local, &proxied),
        ("the store's bucket", "s3://b/refused".into(), &[], &bucket),
        ("a public object there", "s3://b/good.csv".into(), &[], &bucket),
        ("a bucket that redirects", "s3://b/to-address".into(), &[], &bucket),
        ("a bucket at an address", "s3://b/good.csv".into(), &[], &own),
        ("a bucket at a name", "s3://b/good.csv".into(), &[], &name),
        ("allowed", "s3://b/good.csv".into(), local, &name),
    ] {
        let report = report(&source, arguments, variables);
        let field = |name| report[name].as_str().unwrap_or("published").to_owned();
        let message = field("message").replace(&server.address.port().to_string(), "PORT");
        writeln!(text, "{what}: {}: {message}", field("reason")).unwrap();
    }
    assert!(!text.contains(MARKER), "{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prepare.golden");
    if std::env::var_os("OPAQUE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == text, "{} differs; it would be:\n{text}", path.display());
}

#[test]
fn a_report_warns_of_memory_out_of_proportion_to_the_rows() {
    let server = Server::start();
    let local = ["--allow-local-sources"];
    let report = |path| report(&server.url("127.0.0.1", path), &local, &[]);
    let long = report("long.csv");
    assert_eq!(long["stage"], "done", "{long}");
    let warning = long["warning"].as_str().unwrap();
    assert!(
        warning.starts_with("The table takes 390.0 MiB of node memory for 29.5 KiB"),
        "{warning}"
    );
    assert!(warning.contains("The longest row, row 21 of 21, has 30005 bytes"), "{warning}");
    assert!(warning.contains("If no row had more than 16000 bytes (1 row is longer)"), "{warning}");
    assert!(!warning.contains("xxx"), "no value is shown: {warning}");
    assert!(report("good.csv").get("warning").is_none());
}

#[test]
fn a_source_is_not_read_with_the_stores_credentials_unless_they_are_shared() {
    let server = Server::start();
    let store = server.url("127.0.0.1", "");
    let variables = [
        ("AWS_ENDPOINT_URL", store.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "store-key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    assert_eq!(report("s3://b/good.csv", &[], &variables)["epoch"], 1);
    let heads = server.heads();
    assert!(!heads.is_empty());
    for head in heads {
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
    }
    let shared = ["--share-store-credentials"];
    assert_eq!(report("s3://b/good.csv", &shared, &variables)["epoch"], 1);
    assert!(server.heads().iter().all(|head| head.contains("Credential=store-key/")));
    // A source with its own credentials gets none of the store's.
    let own = [("SOURCE_AWS_ACCESS_KEY_ID", "own-key"), ("SOURCE_AWS_SECRET_ACCESS_KEY", "own")];
    let both = [&variables[..], &own[..]].concat();
    assert_eq!(report("s3://b/good.csv", &shared, &both)["epoch"], 1);
    assert!(server.heads().iter().all(|head| head.contains("Credential=own-key/")));
}

#[test]
fn a_machines_role_reads_a_source_only_where_the_store_is_shared() {
    let (server, metadata) = (Server::start(), Server::start());
    let (store, role) = (server.url("127.0.0.1", ""), metadata.url("127.0.0.1", ""));
    let variables = [
        ("AWS_ENDPOINT_URL", store.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_METADATA_ENDPOINT", role.trim_end_matches('/')),
    ];
    assert_eq!(report("s3://b/good.csv", &[], &variables)["epoch"], 1);
    assert_eq!(metadata.heads(), Vec::<String>::new());
    assert!(server.heads().iter().all(|head| !head.to_lowercase().contains("authorization")));
    let shared = report("s3://b/good.csv", &["--share-store-credentials"], &variables);
    assert_eq!(shared["epoch"], 1, "{shared}");
    assert!(server.heads().iter().all(|head| head.contains("Credential=role-key/")));
    // Credentials may come from an address that is forbidden for objects.
    assert!(!metadata.heads().is_empty());
}

#[test]
fn what_is_refused_is_not_even_asked() {
    let server = Server::start();
    for host in ["127.0.0.1", "localhost"] {
        report(&server.url(host, "secret.csv"), &[], &[]);
        let endpoint = server.url(host, "");
        let own =
            [("SOURCE_AWS_ENDPOINT_URL", endpoint.as_str()), ("SOURCE_AWS_ALLOW_HTTP", "true")];
        report("s3://b/secret.csv", &[], &own);
    }
    assert_eq!(server.heads(), Vec::<String>::new());
}
