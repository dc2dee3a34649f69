use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;

use reqwest::Client;

use super::*;
use crate::error::find;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn an_address_in_a_url_is_refused_however_it_is_written() {
    let egress = Egress::new(false);
    for (text, place) in [
        ("http://127.0.0.1/", Place::Loopback),
        ("http://127.0.0.1./", Place::Loopback),
        ("http://127.1:8080/", Place::Loopback),
        ("http://0x7f.1/", Place::Loopback),
        ("http://017700000001/", Place::Loopback),
        ("http://2130706433/", Place::Loopback),
        ("http://①②⑦.0.0.1/", Place::Loopback),
        ("http://%31%32%37.0.0.1/", Place::Loopback),
        ("http://0/", Place::Unspecified),
        ("http://[::1]/", Place::Loopback),
        ("http://[::]/", Place::Unspecified),
        ("http://[::ffff:127.0.0.1]/", Place::Loopback),
        ("http://[0:0:0:0:0:ffff:a9fe:a9fe]/", Place::LinkLocal),
        ("https://localhost/", Place::Loopback),
        ("https://LOCALHOST.:8443/", Place::Loopback),
        ("https://a.localhost/", Place::Loopback),
        ("http://169.254.169.254/latest/meta-data/", Place::LinkLocal),
        ("http://0xa9fea9fe/", Place::LinkLocal),
        ("http://[fe80::1]/", Place::LinkLocal),
        ("http://[fd00:ec2::254]/", Place::Metadata),
        ("http://168.63.129.16/", Place::Metadata),
    ] {
        let error = egress.check(&url(text)).unwrap_err();
        assert_eq!(error.place, place, "{text}");
        Egress::new(true).check(&url(text)).unwrap();
    }
    for text in
        ["http://10.0.0.7/", "http://files/", "https://localhost.example/", "http://[fd00::1]/"]
    {
        egress.check(&url(text)).unwrap();
    }
}

#[test]
fn all_addresses_of_a_name_must_be_allowed() {
    let addresses = |all: &[&str]| -> Vec<IpAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    };
    let egress = Egress::new(false);
    egress.check_resolved("files", addresses(&["10.0.0.7", "fd00::7"])).unwrap();
    let error = egress.check_resolved("files", addresses(&["10.0.0.7", "169.254.169.254"]));
    assert_eq!(error.unwrap_err().to_string(), "files (169.254.169.254) is a link-local address");
    Egress::new(true).check_resolved("files", addresses(&["127.0.0.1"])).unwrap();
}

#[test]
fn the_stores_server_may_be_anywhere_and_no_other_at_its_address() {
    let egress =
        Egress::new(false).trusting(["http://127.0.0.1:9000", "https://minio.test", "no URL"]);
    egress.check(&url("http://127.0.0.1:9000/bucket/object")).unwrap();
    egress.check_resolved("minio.test", ["127.0.0.1".parse().unwrap()]).unwrap();
    egress.check(&url("http://127.0.0.1:9001/")).unwrap_err();
    egress.check_resolved("other.test", ["127.0.0.1".parse().unwrap()]).unwrap_err();
}

#[test]
fn a_redirect_is_checked_as_the_first_address_was() {
    let egress = Egress::new(false);
    let from = |text: &str, count: usize| vec![url(text); count];
    let next = |from: Vec<Url>, to: &str| egress.check_redirect(&from, &url(to));
    next(from("http://a/", 1), "http://b/").unwrap();
    next(from("http://a/", 5), "https://b/").unwrap();
    assert_eq!(next(from("http://a/", 6), "http://b/"), Err(RedirectError::TooMany));
    assert_eq!(next(from("https://a/", 1), "http://b/"), Err(RedirectError::LeavesTls));
    for to in ["http://169.254.169.254/", "http://0x7f.1/", "http://[::1]/", "http://localhost/"] {
        let error = next(from("http://a/", 1), to).unwrap_err();
        assert!(matches!(error, RedirectError::Forbidden(_)), "{to}: {error}");
    }
}

/// A server that redirects every request to `location`, in which PORT stands for its port.
fn redirecting(location: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            let location = location.replace("PORT", &address.port().to_string());
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}/")
}

/// The error of a request that may reach the server at `first` and no other local server.
async fn refusal(first: &str) -> reqwest::Error {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Egress::new(false).trusting([first]).client(Client::builder());
    client.no_proxy().build().unwrap().get(first).send().await.unwrap_err()
}

#[tokio::test]
async fn a_server_cannot_send_the_client_to_a_local_address_or_name() {
    for location in ["http://127.0.0.2:PORT/", "http://[::1]:PORT/", "http://0x7f.2:PORT/"] {
        let error = refusal(&redirecting(location)).await;
        assert!(find::<Forbidden>(&error).is_some(), "{location}: {error:?}");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_a_local_address_is_not_connected_to() {
    // `check` knows this name. The resolver has to find out independently.
    let first = redirecting("/");
    let port = url(&first).port().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = |egress: &Egress| egress.client(Client::builder()).no_proxy().build().unwrap();
    let name = format!("http://localhost:{port}/");
    let error = client(&Egress::new(false)).get(&name).send().await.unwrap_err();
    assert_eq!(find::<Forbidden>(&error).map(|found| found.place), Some(Place::Loopback));
    // The server exists and redirects to itself.
    let error = client(&Egress::new(true)).get(&name).send().await.unwrap_err();
    assert_eq!(find::<RedirectError>(&error), Some(&RedirectError::TooMany));
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_reported_as_such() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Egress::new(false).client(Client::builder()).no_proxy().build().unwrap();
    let error = client.get("http://no-such-name.invalid/").send().await.unwrap_err();
    assert!(find::<Unresolved>(&error).is_some(), "{:?}", error.source());
}
