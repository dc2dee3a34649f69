use std::error::Error;

use super::*;

/// Text that a server may have sent.
const MARKER: &str = "q7Zx-root-password";

fn bucket(kind: FailureKind, signed_by: SignedBy, trouble: Trouble) -> SourceFault {
    let status = matches!(trouble, Trouble::Other).then_some(403);
    let (name, detail) = ("s3://b/c".to_owned(), MARKER.to_owned());
    SourceFault::Bucket { name, kind, status, signed_by, trouble, detail }
}

/// Every kind of fault that contains text from a server.
fn told() -> Vec<SourceFault> {
    let name = || "https://host/a".to_owned();
    let troubles = [
        Trouble::Forbidden(Place::LinkLocal),
        Trouble::Redirect("it redirects too often"),
        Trouble::Unresolved,
        Trouble::Tls("the handshake failed"),
        Trouble::Timeout,
        Trouble::System(io::ErrorKind::ConnectionRefused),
        Trouble::Other,
    ];
    let kinds = [
        FailureKind::NoBucket,
        FailureKind::Refused,
        FailureKind::Unreachable,
        FailureKind::Full,
        FailureKind::NotFound,
        FailureKind::Other,
    ];
    let mut faults = vec![SourceFault::Settings { name: name(), detail: MARKER.to_owned() }];
    for trouble in troubles {
        for kind in kinds {
            faults.push(bucket(kind, SignedBy::Source, trouble.clone()));
            faults.push(bucket(kind, SignedBy::Nobody, trouble.clone()));
        }
        faults.push(SourceFault::Broken { name: name(), trouble, detail: MARKER.to_owned() });
    }
    faults
}

#[test]
fn what_a_server_has_sent_is_in_the_log_and_not_in_the_status() {
    for fault in told() {
        assert!(fault.to_string().contains(MARKER), "{fault}");
        assert!(!fault.for_status().contains(MARKER), "{fault}");
    }
}

#[test]
fn a_source_without_credentials_gets_a_hint_how_to_get_some() {
    let text = |signed_by| bucket(FailureKind::Refused, signed_by, Trouble::Other).for_status();
    assert_eq!(
        text(SignedBy::Nobody),
        "s3://b/c cannot be read: access was refused (status 403). It was read without credentials: name \
         a Secret in the table's spec.source.secretRef, or have the cluster's owner set \
         spec.storage.shareWithSources"
    );
    assert_eq!(text(SignedBy::Source), "s3://b/c cannot be read: access was refused (status 403)");
}

/// An error that wraps another one.
#[derive(Debug, Error)]
#[error("above {MARKER}")]
struct Above(#[source] Box<dyn Error + Send + Sync>);

#[test]
fn a_connections_trouble_is_found_at_the_bottom_of_its_error() {
    let io = |error| io::Error::other::<Box<dyn Error + Send + Sync>>(error);
    let certificate = |error| rustls::Error::InvalidCertificate(error);
    let below: [(Box<dyn Error + Send + Sync>, &str); 6] = [
        (io(certificate(CertificateError::Expired).into()).into(), "its certificate has expired"),
        (
            io(certificate(CertificateError::NotValidForName).into()).into(),
            "its certificate is for another name",
        ),
        (rustls::Error::General(MARKER.into()).into(), "the handshake failed"),
        (io::Error::from(io::ErrorKind::ConnectionReset).into(), "connection reset"),
        (io::Error::new(io::ErrorKind::UnexpectedEof, MARKER).into(), "unexpected end of file"),
        (MARKER.into(), "it cannot be read"),
    ];
    for (below, expected) in below {
        let text = Trouble::of(&Above(below)).to_string();
        assert!(text.ends_with(expected) && !text.contains(MARKER), "{text}");
    }
}
