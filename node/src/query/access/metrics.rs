//! Whether clients can authenticate, at `/metrics`. No client is named here.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use opaque_store::UnixMillis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Access;
use crate::metrics::encode_all;
use crate::reading::Standing;

/// The state of a node's access control at the time of a scrape.
#[derive(Debug)]
pub struct Gauges(pub Arc<Access>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Standing { closed, void, unread } = self.0.standing(Instant::now(), UnixMillis::now());
        let gauges = [
            (
                "client_auth_closed",
                "1 if all clients are refused because no valid tokens or authorities are left",
                u64::from(closed.is_some()),
            ),
            (
                "client_auth_void",
                "Tokens, authorities and revocation lists of clients that cannot be used",
                void as u64,
            ),
            (
                "client_auth_unread_seconds",
                "Seconds since clients' tokens or authorities were last read",
                unread.as_secs(),
            ),
        ];
        encode_all(&mut encoder, ConstGauge::new, gauges)
    }
}
