//! Which credentials go to which cluster.

use std::fs;

use super::*;
use crate::Client;

const TOKEN: &str = "0123456789abcdef";

/// Whether a client with `overrides` presents the profile's token.
fn shows_the_token(pinned: bool, overrides: Overrides) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    fs::write(dir.path().join("ca.crt"), ca.pem()).unwrap();
    let urls = ["https://a.example:1".to_owned(), "https://b.example:1".to_owned()];
    let profile = Profile {
        endpoints: parse_endpoints(&urls).unwrap(),
        ca_file: pinned.then(|| "ca.crt".into()),
        token_file: Some("token".into()),
        ..Profile::default()
    };
    profile.write(&home).unwrap();
    let ca_file = overrides.ca_file.map(|file| dir.path().join(file));
    let config = ClientConfig::with(&home, Overrides { ca_file, ..overrides }).unwrap();
    format!("{:?}", config.credentials).contains("token: true")
}

#[test]
fn a_ca_file_without_a_certificate_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.der");
    fs::write(&file, [0x30, 0x82]).unwrap();
    let home = Home::new(dir.path().join("home"));
    let error = ClientConfig::new(&home, &["https://a:1".to_owned()], Some(&file)).unwrap_err();
    assert!(error.to_string().ends_with("ca.der holds no PEM certificate"), "{error}");
    // A library caller passes bytes.
    let endpoints = vec!["https://a:1".parse().unwrap()];
    let config = ClientConfig { ca_pem: Some(vec![0x30]), ..ClientConfig::of(endpoints) };
    let error = Client::connect(config).unwrap_err();
    assert!(error.to_string().contains("holds no PEM certificate"), "{error}");
}

fn cluster(values: &[&str]) -> Overrides {
    let cluster = values.iter().map(|value| (*value).to_owned()).collect();
    Overrides { cluster, ..Overrides::default() }
}

#[test]
fn a_profiles_token_goes_only_to_its_own_cluster() {
    for pinned in [true, false] {
        assert!(shows_the_token(pinned, Overrides::default()));
        assert!(shows_the_token(pinned, cluster(&["https://b.example:1/"])));
        assert!(shows_the_token(pinned, cluster(&["https://b.example:1,https://a.example:1"])));
        // Only the CA in the profile distinguishes another node of its cluster from a stranger.
        assert_eq!(shows_the_token(pinned, cluster(&["https://c.example:1"])), pinned);
        assert_eq!(shows_the_token(pinned, cluster(&["https://a.example:2"])), pinned);
        let both = cluster(&["https://a.example:1,https://c.example:1"]);
        assert_eq!(shows_the_token(pinned, both), pinned);
        let other_ca = Overrides { ca_file: Some("ca.crt".into()), ..cluster(&["https://c:1"]) };
        assert!(!shows_the_token(pinned, other_ca));
    }
}
