//! Which clients may query.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::LocalReference;

/// Which clients may query, and which may load tables. Clients use TLS in every mode.
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
        "revokedSerials must be empty unless the mode is mtls: clients have certificates only in that mode"
    ),
    validation = Rule::new("self.mode != 'none' || !has(self.loaders) || self.loaders.all(name, name == '*')").message(
        "loaders must be empty or '*' with mode none: clients do not authenticate in this mode"
    )
)]
pub struct ClientAuth {
    /// How a client authenticates: `mtls` with a certificate, `token` with a bearer token. With
    /// `none`, clients do not authenticate, and every client that reaches the port may query.
    pub mode: ClientAuthMode,

    /// Secret with key `ca.crt`: the authorities that sign clients' certificates, in PEM. The
    /// optional key `ca.crl` has their revocation lists, in PEM. If it is set, a client is accepted
    /// only if each authority above its certificate has a revocation list that has not expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalReference>,

    /// Secret with the tokens. Each key is the name of a client, and the value is its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<LocalReference>,

    /// Serial numbers of revoked client certificates, in hexadecimal as
    /// `openssl x509 -noout -serial` prints them after the `=`. A serial number is refused for
    /// every authority. Applies to mode `mtls`.
    #[schemars(length(max = 1000), inner(length(max = 40)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(serial, serial.matches('^([0-9a-fA-F]{2}){1,20}$'))").message(
            "each must be the serial number of a client's certificate in hexadecimal, 1 to 20 bytes of two digits each, without '0x' or ':'"
        )
    )]
    pub revoked_serials: Vec<String>,
    /// Names of the clients that may load tables with `opaque load` and roll them back. Other
    /// clients may only query. With `mtls`, a client's name is the first URI of its certificate, or
    /// else the first DNS name, or else the common name. With `token`, it is the key in the Secret.
    /// `*` stands for every client. No client may load a table that an OpaqueTable owns.
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub loaders: Vec<String>,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// With a certificate.
    Mtls,
    /// With a bearer token.
    Token,
    /// Clients do not authenticate.
    None,
}
