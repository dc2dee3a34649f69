//! Validity of certificates and results of reloads, as metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Tls;
use super::life::Life;
use crate::metrics::encode_all;

/// The state of a node's TLS at the time of a scrape.
#[derive(Debug)]
pub struct Lives(pub Arc<Tls>);

impl Collector for Lives {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let material = self.0.material();
        let help = "End of the certificate in use, in seconds since 1970";
        let name = "certificate_not_after_seconds";
        let ends = [("peer", material.peer_not_after), ("client", material.client_not_after)];
        gauges(&mut encoder, name, help, ends.into_iter())?;
        let of_clients = material.trust_in_clients.as_ref();
        let clients_authority = of_clients.and_then(|trust| Life::first_to_end(&trust.authorities));
        let clients_list = of_clients.and_then(|trust| Life::first_to_end(trust.lists.as_deref()?));
        let kinds = [
            ("authority", "authority", material.peer_authority, clients_authority),
            ("revocation_list", "revocation list", material.peer_list, clients_list),
        ];
        for (name, words, peers, clients) in kinds {
            let all = [("peers", peers), ("clients", clients)];
            let lives = all.iter().filter_map(|(kind, life)| Some((*kind, (*life)?)));
            let lives: Vec<(&str, Life)> = lives.collect();
            let starts = lives.iter().map(|(kind, life)| (*kind, life.begin));
            let ends = lives.iter().map(|(kind, life)| (*kind, life.end));
            let help = format!("Start of the {words} that ends first, in seconds since 1970");
            gauges(&mut encoder, &format!("{name}_not_before_seconds"), &help, starts)?;
            let help = format!("End of the {words} that ends first, in seconds since 1970");
            gauges(&mut encoder, &format!("{name}_not_after_seconds"), &help, ends)?;
        }
        let help = "1 if the TLS files are inconsistent and therefore not used";
        let refused = ("tls_material_refused", help, u64::from(self.0.is_refused()));
        encode_all(&mut encoder, ConstGauge::new, [refused])?;
        let (reloaded, refused) = self.0.reloads();
        let help = "Sets of TLS material, by outcome";
        let mut family =
            encoder.encode_descriptor("tls_reloads", help, None, MetricType::Counter)?;
        for (outcome, count) in [("reloaded", reloaded), ("refused", refused)] {
            let labels = [("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a str, i64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (kind, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&[("kind", kind)])?)?;
    }
    Ok(())
}
