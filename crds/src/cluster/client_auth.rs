//! Who may ask queries.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::LocalReference;

/// Who may ask queries. Clients speak TLS in every mode.
#[derive(Debug, Clone, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.mode == 'mtls') == has(self.caSecretRef)").message(
        "caSecretRef must be set with mode mtls, and with no other mode"
    ),
    validation = Rule::new("(self.mode == 'token') == has(self.tokenSecretRef)").message(
        "tokenSecretRef must be set with mode token, and with no other mode"
    ),
    validation = Rule::new("self.mode == 'mtls' || !has(self.revokedSerials) || size(self.revokedSerials) == 0").message(
        "clients have certificates to revoke with mode mtls only: leave revokedSerials empty with any other mode"
    ),
    validation = Rule::new("self.mode != 'none' || !has(self.loaders) || self.loaders.all(name, name == '*')").message(
        "loaders must be empty or '*' with mode none: there no client proves its name"
    )
)]
pub struct ClientAuth {
    /// How a client proves who it is: `mtls` by a certificate, `token` by a bearer token, `none` not at
    /// all: whoever reaches the port may query.
    pub mode: ClientAuthMode,

    /// Secret with key `ca.crt`: authorities whose certificates clients may present. With key
    /// `ca.crl` also their revocation lists, in PEM: then a client needs a list in force of each
    /// authority above its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalReference>,

    /// Secret whose keys are clients' names and whose values are their tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<LocalReference>,

    /// Serial numbers of clients' certificates that no node accepts any more, whichever authority
    /// gave them, in hexadecimal as `openssl x509 -noout -serial` prints them after the `=`. With
    /// mode `mtls`.
    #[schemars(length(max = 1000), inner(length(max = 40)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(serial, serial.matches('^([0-9a-fA-F]{2}){1,20}$'))").message(
            "each must be the serial number of a client's certificate in hexadecimal, 1 to 20 bytes of two digits each, without '0x' or ':'"
        )
    )]
    pub revoked_serials: Vec<String>,
    /// Clients that may load tables with `opaque load` and roll them back, by the name that they prove: with
    /// mtls the first URI of the certificate, else its first DNS name, else its common name; with token
    /// the key of the Secret. `*` is every client. All others may only query. What an OpaqueTable owns, no
    /// client may load.
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub loaders: Vec<String>,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// By a certificate.
    Mtls,
    /// By a bearer token.
    Token,
    /// Not at all.
    None,
}
