//! `opaque profiles`.

use std::io::{self, Write};

use opaque_client::{
    KeyMode,
    profile::{Home, NodeUrl, Profile},
};

use super::{
    Connection,
    tables::{As, strings},
};
use crate::{
    failure::Failure,
    listing::{Cell, Listing, Side::Left},
    present::Format,
};

pub(crate) fn list(connection: &Connection, list: &As) -> Result<(), Failure> {
    let homes = Connection::base()?.profiles().map_err(opaque_client::Error::from)?;
    if homes.is_empty() && list.format == Format::Table {
        let hint = "no profiles yet: `opaque dev` starts a cluster and writes one";
        return Ok(writeln!(io::stderr(), "{hint}")?);
    }
    let listing = listing(&homes, &connection.home()?);
    Ok(listing.write(list.format, &mut io::stdout().lock())?)
}

/// The profiles, one of which may be the chosen one. One that cannot be read is listed with the
/// reason.
fn listing(homes: &[Home], chosen: &Home) -> Listing {
    let path = |path: Option<std::path::PathBuf>| {
        path.map_or_else(Cell::none, |path| Cell::text(path.display().to_string()))
    };
    let row = |home: &Home| {
        let read = Profile::read(home);
        let fault = read.as_ref().err().map(ToString::to_string);
        let profile = read.ok().flatten();
        let is_readable = profile.is_some();
        let Profile { endpoints, ca_file, keys, written_by_dev, .. } = profile.unwrap_or_default();
        let endpoints: Vec<String> = endpoints.iter().map(NodeUrl::to_string).collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let keys = match keys.unwrap_or_default() {
            KeyMode::Inline => "inline",
            KeyMode::Registered => "registered",
        };
        let keys = Some(keys).filter(|_| is_readable);
        vec![
            Cell::text(home.name().as_str()),
            Cell::truth(home == chosen, "yes"),
            Cell::json(strings(&endpoints), endpoints.join(", ")),
            path(ca_file),
            keys.map_or_else(Cell::none, Cell::text),
            path(written_by_dev),
            fault.map_or_else(Cell::none, Cell::text),
        ]
    };
    Listing {
        columns: &[
            ("profile", "PROFILE", Left),
            ("chosen", "CHOSEN", Left),
            ("endpoints", "ENDPOINTS", Left),
            ("ca_file", "CA", Left),
            ("keys", "KEYS", Left),
            ("written_by_dev", "WRITTEN BY DEV OF", Left),
            ("error", "ERROR", Left),
        ],
        rows: homes.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_listed_and_a_broken_one_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let base = Home::new(dir.path());
        let two = base.named("two".parse().unwrap());
        let profile = Profile {
            endpoints: vec!["https://a:1".parse().unwrap(), "https://b:2".parse().unwrap()],
            written_by_dev: Some("/data".into()),
            ..Profile::default()
        };
        profile.write(&two).unwrap();
        std::fs::write(base.profile_file(), "endpoints = 3").unwrap();
        let written = |format| {
            let mut out = Vec::new();
            listing(&base.profiles().unwrap(), &two).write(format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines = written(Format::Jsonl);
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["profile"], &lines[0]["chosen"]), (&"default".into(), &false.into()));
        assert!(lines[0]["error"].as_str().unwrap().contains("is not a profile"));
        assert!(lines[0]["keys"].is_null());
        assert_eq!((&lines[1]["profile"], &lines[1]["chosen"]), (&"two".into(), &true.into()));
        assert_eq!(lines[1]["endpoints"][1], "https://b:2");
        assert_eq!((&lines[1]["keys"], &lines[1]["error"]), (&"inline".into(), &().into()));
        assert!(written(Format::Table).contains("https://a:1, https://b:2"));
    }
}
