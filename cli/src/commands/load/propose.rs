//! A table's schema from its files.

use clap::Args;
use opaque_client::ddl::Declaration;
use opaque_pir::table::{Column, ColumnType, MAX_NAME_BYTES, Role, Schema};
use opaque_source::{ColumnSource, Format, Settings, Survey, Surveyed, SurveyedColumn};

use super::{Bar, files};
use crate::failure::{Failure, SchemaFault};

/// Columns that are proposed as INDEX if the user names none.
const PROPOSED: usize = 3;

/// Which columns can be looked up.
#[derive(Args, Default)]
pub(in crate::commands) struct Choice {
    /// Column to look up, by its name in the files; each value occurs once
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// Column to look up, by its name in the files; values may repeat. Separate several by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    index: Vec<String>,
    /// Name of the table, if there is no schema file; otherwise it follows the first file's name
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
}

impl Choice {
    pub(super) fn is_empty(&self) -> bool {
        self.key.is_empty() && self.index.is_empty()
    }
}

/// A schema, and how the files are read with it.
pub(in crate::commands) struct Proposal {
    pub(in crate::commands) declaration: Declaration,
    pub(in crate::commands) settings: Settings,
    pub(in crate::commands) surveyed: Surveyed,
}

/// Reads all files, and proposes a schema. Without columns in `choice`, it also proposes those to
/// look up.
pub(in crate::commands) fn read(
    paths: &[String],
    choice: &Choice,
    format: Option<Format>,
    settings: Settings,
    bar: &Bar,
) -> Result<Proposal, Failure> {
    // Standard input would be gone when the rows are read.
    if paths.iter().any(|path| path == "-") {
        return Err(SchemaFault::Unrepeatable.into());
    }
    let mut survey = Survey::new(format, settings.clone());
    for path in paths {
        let read =
            survey.read(files::input(path)?, |read, total| bar.reading("looking", read, total));
        read.map_err(|error| files::fault(path, error))?;
    }
    let surveyed = survey.finish();
    let table = match (&choice.table, paths.first()) {
        (Some(table), _) => table.clone(),
        (None, Some(path)) => identifier(stem(path), "t"),
        (None, None) => "t".to_owned(),
    };
    let declaration = declaration(&surveyed, table, choice)?;
    let mut settings = Settings { columns: declaration.columns.clone(), ..settings };
    settings.ignore_extra |= !surveyed.skipped.is_empty();
    // What was found once is not left to be found again.
    settings.dialect.header = settings.dialect.header.or(surveyed.has_header);
    Ok(Proposal { declaration, settings, surveyed })
}

fn declaration(
    surveyed: &Surveyed,
    table: String,
    choice: &Choice,
) -> Result<Declaration, Failure> {
    let roles = if choice.is_empty() { proposed(surveyed) } else { chosen(surveyed, choice)? };
    let (mut columns, mut sources) = (Vec::<Column>::new(), Vec::new());
    for ((number, found), role) in (1..).zip(&surveyed.columns).zip(roles) {
        let wanted = identifier(&found.name, &format!("column_{number}"));
        let is_free =
            |name: &str| !columns.iter().any(|other| other.name.eq_ignore_ascii_case(name));
        let others = (2..).map(|copy| suffixed(&wanted, copy));
        let mut names = std::iter::once(wanted.clone()).chain(others);
        let name = names.find(|name| is_free(name)).unwrap_or_default();
        let same = |other: &&SurveyedColumn| other.name.eq_ignore_ascii_case(&found.name);
        let is_alike = surveyed.columns.iter().filter(same).count() > 1;
        let is_other = is_alike || !name.eq_ignore_ascii_case(&found.name);
        let from = (surveyed.is_named && is_other).then(|| found.name.clone());
        sources.push(ColumnSource { from, limit: None });
        columns.push(Column::new(&name, found.column_type, role, role != Role::Key));
    }
    let schema = Schema::new(table, columns).map_err(SchemaFault::Invalid)?;
    Ok(Declaration { schema, columns: sources })
}

/// The roles that the user chose.
fn chosen(surveyed: &Surveyed, choice: &Choice) -> Result<Vec<Role>, Failure> {
    let mut roles = vec![Role::Payload; surveyed.columns.len()];
    for (wanted, role) in [(&choice.index, Role::Index), (&choice.key, Role::Key)] {
        for name in wanted {
            let exact = surveyed.columns.iter().position(|column| column.name == *name);
            let folded = || {
                surveyed.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
            };
            let Some(at) = exact.or_else(folded) else {
                let names = surveyed.columns.iter().map(|column| column.name.clone()).collect();
                return Err(SchemaFault::NoColumn { name: name.clone(), names }.into());
            };
            if let (Role::Key, Some(column)) = (role, surveyed.columns.get(at)) {
                check_key(column)?;
            }
            if let Some(place) = roles.get_mut(at) {
                *place = role;
            }
        }
    }
    Ok(roles)
}

/// Refuses a KEY before its rows are encoded.
fn check_key(column: &SurveyedColumn) -> Result<(), Failure> {
    let refused = |reason| Err(SchemaFault::NotKey { name: column.name.clone(), reason }.into());
    match (column.nulls, column.distinct) {
        (0, Some(_)) if !column.is_unique => refused("some of its values occur twice".to_owned()),
        (0, _) => Ok(()),
        (1, _) => refused("it is NULL in 1 row".to_owned()),
        (nulls, _) => refused(format!("it is NULL in {} rows", crate::text::count(nulls))),
    }
}

/// The column to be KEY, and those with repeated values to be INDEX.
fn proposed(surveyed: &Surveyed) -> Vec<Role> {
    let is_usual = |column: &SurveyedColumn| {
        matches!(column.column_type, ColumnType::Int | ColumnType::Text) && column.longest <= 128
    };
    let unique = |column: &SurveyedColumn| {
        is_usual(column) && column.is_unique && column.distinct.is_some() && column.nulls == 0
    };
    // A name such as `station_id` shows that others refer to the value.
    let named = |column: &SurveyedColumn| {
        let name = column.name.to_ascii_lowercase();
        ["id", "key", "code", "uuid", "iso", "isin", "slug", "name"]
            .iter()
            .any(|word| name.ends_with(word))
    };
    let columns = || surveyed.columns.iter().enumerate();
    let key = columns()
        .find(|(_, column)| unique(column) && named(column))
        .or_else(|| columns().find(|(_, column)| unique(column)));
    let key = key.map(|(at, _)| at);
    // A few rows for each value are what a lookup is made for. A column with few values, or with
    // NULL in most rows, is seldom looked up.
    let rows_each = |column: &SurveyedColumn| {
        let distinct = column.distinct.filter(|distinct| *distinct > 1)?;
        let mean = (surveyed.rows - column.nulls) / distinct;
        let is_fit = is_usual(column) && column.nulls <= surveyed.rows / 2 && mean <= 1000;
        is_fit.then_some(mean)
    };
    let mut indexes: Vec<(u64, usize)> = columns()
        .filter(|(at, _)| Some(*at) != key)
        .filter_map(|(at, column)| {
            // Numbers are measured more often than they are looked up.
            let is_repeated = column.column_type == ColumnType::Text && !column.is_unique;
            let is_name = is_repeated || named(column);
            rows_each(column).filter(|_| is_name).map(|mean| (mean, at))
        })
        .collect();
    indexes.sort_unstable();
    indexes.truncate(PROPOSED);
    let is_index = |at: usize| indexes.iter().any(|(_, index)| *index == at);
    let role = |(at, _): (usize, &SurveyedColumn)| match () {
        () if Some(at) == key => Role::Key,
        () if is_index(at) => Role::Index,
        // Some column must be searchable.
        () if at == 0 && key.is_none() && indexes.is_empty() => Role::Index,
        () => Role::Payload,
    };
    columns().map(role).collect()
}

/// The name of a file without its folder, its query, and the endings of compression and format.
fn stem(path: &str) -> &str {
    let is_url = opaque_fetch::is_url(path);
    let path = if is_url { path.split(['?', '#']).next().unwrap_or(path) } else { path };
    let name = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(path);
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A name that SQL takes without quotes. Other characters than letters, digits and `_` become `_`.
fn identifier(text: &str, otherwise: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(MAX_NAME_BYTES - 2);
    let name = name.trim_end_matches('_');
    match name.as_bytes().first() {
        None => otherwise.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name.to_owned(),
    }
}

/// The name with a number at its end.
fn suffixed(name: &str, number: u32) -> String {
    let suffix = format!("_{number}");
    let kept = name.get(..name.len().min(MAX_NAME_BYTES - suffix.len())).unwrap_or(name);
    format!("{kept}{suffix}")
}

#[cfg(test)]
mod tests;
