//! Rows come from a ConfigMap, a web server and an object, compressed or not.

use std::time::Duration;

use anyhow::Result;
use opaque_e2e::cluster::BUCKET;
use opaque_e2e::harness::{self, measured, product};
use serde_json::json;
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::tables::{cities_table, file_server, weather_table};

const LIMIT: Duration = Duration::from_secs(240);
/// One of 135,233 cities.
const CITY: &str = "SELECT name, population FROM cities WHERE id = 3413829";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn rows_come_from_a_config_map_a_web_server_and_an_object() -> Result<()> {
    harness::run("sources", async |namespace| {
        let examples = product::root().join("examples");
        let weather = std::fs::read_to_string(examples.join("weather/weather.csv"))?;
        namespace.apply(&file_server(&weather)).await?;
        let cities = format!("{}-files/cities.csv.zst", namespace.name());
        Bucket::new()?.put(&cities, std::fs::read(examples.join("cities/cities.csv.zst"))?).await?;
        // The source has separate credentials, like a bucket outside the cluster.
        product::storage_secret(namespace, "files").await?;
        namespace.ready("files", LIMIT).await?;

        // Includes table `weather`, whose rows are in a ConfigMap.
        product::serve(namespace, 1, 1, &[]).await?;
        let start = Instant::now();
        let url = json!({"url": "http://files/weather.csv"});
        namespace.apply(&weather_table("remote", "demo", &url)).await?;
        let object = json!({
            "url": format!("s3://{BUCKET}/{cities}"),
            "secretRef": {"name": "files"}, "format": "csv", "compression": "zstd",
        });
        namespace.apply(&cities_table("cities", &object, &[])).await?;
        for (table, city) in [("weather", "Santiago"), ("remote", "Cairo")] {
            let object = format!("opaquetable/{table}");
            product::condition(namespace, &object, "Available", "True", LIMIT).await?;
            let sql = format!("SELECT country FROM {table} WHERE city = '{city}'");
            let right = if table == "weather" { "country\nCL\n" } else { "country\nEG\n" };
            let (question, _folder) = product::question(namespace, &sql, &[right]).await?;
            product::ask(&question).await?;
        }
        product::condition(namespace, "opaquetable/cities", "Available", "True", LIMIT).await?;
        measured("a table of 9 rows and one of 135,233 applied to both Available", start.elapsed());
        let right = "name,population\nReykjavík,118918\n";
        let (question, _folder) = product::question(namespace, CITY, &[right]).await?;
        product::ask(&question).await
    })
    .await
}
