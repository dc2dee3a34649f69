//! `opaque schema`.

use std::io::{self, Write};

use clap::Args;
use opaque_pir::{
    cost::Link,
    index::{Forecast, IndexForecast},
};

use super::load::{self, Bar, Choice, FileArguments, Proposal};
use crate::{
    failure::Failure,
    text::{count, size},
};

#[derive(Args)]
#[command(after_help = "\
The files are read as a whole, twice. Each column gets the narrowest type that holds all its
values. Without --key and --index, the command proposes a KEY whose values are unique, and up to
three INDEX columns whose values have few rows each. Nothing is sent to a cluster.

The cost of each is a comment: the memory of the nodes for one replica of every shard, then the
bytes that one private lookup sends and receives, and its time on one core and the link.

Examples:
  opaque schema weather.csv > schema.sql
  opaque schema cities.parquet --key geonameid --index name,country
  opaque schema --link 10 https://example.com/stations.csv.gz")]
pub(crate) struct Arguments {
    /// Files with the rows of one table, as for `opaque load`
    #[arg(required = true, value_name = "DATA")]
    files: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// Rate of the link between your clients and the cluster, in Mbit/s, as for `opaque load`
    #[arg(long, value_name = "MBITS", default_value = "50")]
    link: Link,
    #[command(flatten)]
    reading: FileArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { files, choice, reading, link } = arguments;
    let (format, settings) = reading.settings();
    let bar = Bar::new();
    let proposed = tokio::task::block_in_place(|| {
        let proposal = load::propose(&files, &choice, format, settings, &bar)?;
        let Proposal { declaration, settings, surveyed: _ } = &proposal;
        let rows = load::read(declaration.clone(), &files, format, settings.clone(), &bar)?;
        let rows = rows.for_link(link);
        bar.stage("checking", "{msg:<10} {spinner}");
        let forecast = rows.forecast()?;
        Ok::<_, Failure>((proposal, forecast))
    });
    bar.clear();
    let (proposal, forecast) = proposed?;
    Ok(io::stdout().write_all(text(&proposal, forecast.as_ref(), link).as_bytes())?)
}

/// The schema file.
fn text(proposal: &Proposal, forecast: Option<&Forecast>, link: Link) -> String {
    let Proposal { declaration, settings: _, surveyed } = proposal;
    let mut text = format!("-- {} rows.", count(surveyed.rows));
    if let Some(forecast) = forecast {
        let memory = size(forecast.figures.cost.memory_bytes);
        text += &format!(
            " The nodes need {memory} of memory (one replica of every shard).\n\
             -- Columns marked KEY or INDEX can be looked up privately. The comment of each has its part of\n\
             -- that memory, and the bytes and the time of one lookup over a link of {} Mbit/s.",
            link.mbits()
        );
    }
    text.push('\n');
    if !surveyed.is_named {
        text += "-- The files have no header: load them with --no-header.\n";
    }
    for (name, found) in &surveyed.skipped {
        let name = name.escape_debug();
        text += &format!("-- No type holds column {name} ({found}): load with --ignore-extra.\n");
    }
    let indexes = forecast.map(|forecast| forecast.indexes.as_slice()).unwrap_or_default();
    text + &declaration.to_sql(|at| {
        let index = indexes.iter().find(|index| index.column as usize == at)?;
        Some(cost(index, link))
    })
}

fn cost(index: &IndexForecast, link: Link) -> String {
    let cost = index.geometry.cost(link);
    format!(
        "{}, {}, {:.1} ms",
        size(cost.server_ram_bytes),
        size(cost.upload_bytes + cost.download_bytes),
        cost.lookup_micros() as f64 / 1e3
    )
}
