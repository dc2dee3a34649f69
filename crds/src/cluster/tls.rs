//! Certificates of a cluster's nodes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificates of the nodes.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // Another rule reports a malformed duration. It must not cause an evaluation error in this one.
    validation = Rule::new("!self.duration.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || self.duration == '' || !self.renewBefore.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || self.renewBefore == '' || duration(self.renewBefore) < duration(self.duration)").message(
        "renewBefore must be shorter than duration: a certificate would be due for renewal as soon as it was issued"
    ),
    validation = Rule::new("!has(self.issuerRef) || !has(self.revokedSerials) || size(self.revokedSerials) == 0").message(
        "revokedSerials must be empty with issuerRef: that issuer publishes its own revocations"
    )
)]
pub struct Tls {
    /// The cert-manager issuer that signs the certificates. If absent, the operator creates an
    /// authority for this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerReference>,

    /// Additional DNS names of the server certificate, such as the name of a load balancer:
    /// `opaque.example.com` or `*.opaque.example.com`.
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(name, name.matches('^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$'))").message(
            "each must be a DNS name in lower case, such as opaque.example.com; only its first label may be *"
        )
    )]
    pub dns_names: Vec<String>,

    /// Lifetime of a certificate in hours, minutes and seconds, such as `2160h` or `1h30m`. From 2m
    /// to 87600h.
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$')").message(
            "must be a duration in hours, minutes and seconds, such as 2160h or 1h30m"
        ),
        validation = Rule::new("self == '' || !self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || (duration(self) >= duration('2m') && duration(self) <= duration('87600h'))").message(
            "must be from 2m to 87600h"
        )
    )]
    #[serde(default = "default_duration")]
    pub duration: String,

    /// How long before its expiry a certificate is renewed, in the format of `duration`. At least
    /// 30s.
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self != '' && self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$')").message(
            "must be a duration in hours, minutes and seconds, such as 720h or 1h30m"
        ),
        validation = Rule::new("self == '' || !self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') || duration(self) >= duration('30s')").message(
            "must be at least 30s"
        )
    )]
    #[serde(default = "default_renew_before")]
    pub renew_before: String,

    /// Serial numbers of revoked node certificates, in hexadecimal as `openssl x509 -noout -serial`
    /// prints them after the `=`.
    #[schemars(length(max = 1000), inner(length(max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(serial, serial.matches('^([0-9a-fA-F]{2}){1,20}$'))").message(
            "each must be a serial number in hexadecimal, 1 to 20 bytes of two digits each, without '0x' or ':'"
        )
    )]
    pub revoked_serials: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            issuer_ref: None,
            dns_names: Vec::new(),
            duration: default_duration(),
            renew_before: default_renew_before(),
            revoked_serials: Vec::new(),
        }
    }
}

/// Reference to a cert-manager issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerReference {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Issuer`, `ClusterIssuer`, or the kind of an external issuer.
    #[serde(default = "default_kind")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// API group of that kind.
    #[serde(default = "default_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn default_kind() -> String {
    "Issuer".into()
}

fn default_group() -> String {
    "cert-manager.io".into()
}

fn default_duration() -> String {
    "2160h".into()
}

fn default_renew_before() -> String {
    "720h".into()
}
