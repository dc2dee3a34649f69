//! Certificates created with rcgen, and bytes that are not certificates.

use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType, SerialNumber};

use super::*;
use crate::Capability;

const URI: &str = "spiffe://opaque.dev/ns/default/opaque/dev/shard/1";

fn certificate(uris: &[&str], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "somebody");
    params.serial_number = Some(SerialNumber::from_slice(&[0x80, 0x0a, 0xff]));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
    }
    for der in extensions {
        let extension = CustomExtension::from_oid_content(OID, der.clone());
        params.custom_extensions.push(extension);
    }
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn a_certificate_tells_its_names_serial_and_life() {
    let leaf = Leaf::from_der(&certificate(&[URI], &[])).unwrap();
    assert_eq!(leaf.serial, "800aff");
    assert_eq!((leaf.not_before, leaf.not_after - leaf.not_before), (1_767_225_600, 86_400));
    assert_eq!(
        (leaf.uris.as_slice(), leaf.dns_names.as_slice()),
        ([URI.to_owned()].as_slice(), ["a.example".to_owned()].as_slice(),)
    );
    assert_eq!((leaf.server_auth, leaf.client_auth), (false, true));
    assert_eq!(leaf.common_name.as_deref(), Some("somebody"));
    assert_eq!(leaf.extension(), Ok(None));
}

#[test]
fn without_the_extension_a_shard_has_the_capabilities_of_a_node() {
    let identity = Identity::from_certificate(&certificate(&[URI], &[])).unwrap();
    assert_eq!(identity.uri.to_string(), URI);
    assert!(identity.capabilities.has(Capability::Evaluate));
    assert!(!identity.capabilities.has(Capability::Admin));
    assert!(identity.ranges.is_whole());
}

#[test]
fn the_extension_limits_what_its_holder_may_do() {
    let only = Capabilities::NONE.with(Capability::Transfer);
    let extension = Extension::new(1, "a", "", Ranges::whole(), only, Role::Operator).unwrap();
    let der = certificate(&[URI], &[extension.to_der()]);
    let identity = Identity::from_certificate(&der).unwrap();
    assert_eq!((identity.capabilities, identity.role), (only, Role::Operator));
    assert_eq!(Leaf::from_der(&der).unwrap().extension(), Ok(Some(extension)));
}

#[test]
fn a_certificate_that_contradicts_itself_is_refused() {
    let refused = |uris: &[&str], extensions: &[Vec<u8>]| {
        Identity::from_certificate(&certificate(uris, extensions)).unwrap_err()
    };
    let of = |shard| Extension::node(shard, "", "").unwrap().to_der();
    assert_eq!(refused(&[], &[]), CertificateError::Uris(0));
    assert_eq!(refused(&[URI, "spiffe://a/b"], &[]), CertificateError::Uris(2));
    assert!(matches!(refused(&["spiffe://a/b"], &[]), CertificateError::Uri(_)));
    assert_eq!(refused(&[URI], &[of(2)]), CertificateError::Shard { uri: 1, extension: 2 });
    assert_eq!(refused(&[URI], &[of(1), of(1)]), CertificateError::Twice);
    let malformed = CertificateError::Extension(ExtensionError::Malformed);
    assert_eq!(refused(&[URI], &[vec![1, 2, 3]]), malformed);
    let mut longer = certificate(&[URI], &[]);
    longer.push(0);
    assert_eq!(Leaf::from_der(&longer), Err(CertificateError::Malformed));
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_and_no_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Identity::from_certificate(&bytes).is_err());
    }
}

#[test]
fn no_changed_byte_of_a_certificate_makes_a_panic() {
    let der = certificate(&[URI], &[Extension::node(1, "zone", "rack").unwrap().to_der()]);
    for at in 0..der.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = der.clone();
            changed[at] ^= flip;
            let _ = Identity::from_certificate(&changed);
        }
    }
}
