//! Nodes whose pods have only IPv6 addresses.

use std::net::{Ipv6Addr, TcpListener};

use super::bare::Bare;
use super::harness::text;

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_peers_reach_nodes_by_ipv6() {
    assert!(
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok(),
        "this machine has no IPv6, not even ::1"
    );
    let mut nodes = Bare::start_with_ipv6(2, &["--loader", "*"]).await;
    nodes.load_weather(&[]);
    for (shard, city, country) in [(0, "Santiago", "CL"), (1, "Tokyo", "JP")] {
        let sql = format!("SELECT country FROM weather WHERE city = '{city}'");
        let found = super::harness::rows(&nodes.client(shard), &sql).await;
        assert_eq!(found, [[opaque_pir::table::Value::Text(country.into())]]);
        let member = nodes.member(shard).unwrap();
        for address in ["client_address", "peer_address"] {
            assert!(member[address].as_str().unwrap().starts_with("[::1]:"), "{member}");
        }
    }
    let shown = text(&nodes.cli(&["status"]).stdout);
    assert!(shown.contains("[::1]:"), "{shown}");
    nodes.assert_unharmed();
}
