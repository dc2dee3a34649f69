//! One private lookup from a Rust program that embeds the client library.
//!
//! ```text
//! lookup CITY                     queries the cluster of the profile that `opaque dev` wrote
//! lookup CITY ADDRESS CA_FILE     queries the cluster at ADDRESS, https://HOST:PORT
//! ```
//!
//! CA_FILE is a PEM file with the certificate of the authority that signed the nodes' certificates.
//! Load the table first: `opaque load examples/weather/schema.sql examples/weather/weather.csv`.

use std::{env, path::Path, process::ExitCode, slice};

use opaque_client::{
    Client, ClientConfig, Error, QueryOptions, Value, profile::Home, sql::ResultSet,
};

/// The value to look up is a parameter and needs no quotes.
const STATEMENT: &str = "SELECT city, country, temperature FROM weather WHERE city = :city";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (city, addresses, ca_file) = match arguments.as_slice() {
        [city] => (city, &[][..], None),
        [city, address, file] => (city, slice::from_ref(address), Some(Path::new(file))),
        _ => {
            eprintln!("usage: lookup CITY [ADDRESS CA_FILE]");
            return ExitCode::from(2);
        }
    };
    match look_up(city, addresses, ca_file).await {
        Ok(answer) => print(&answer),
        Err(error) => {
            eprintln!("error: {error}");
            // Many errors also carry a hint: start a cluster, pass a CA file, try again later.
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn look_up(city: &str, addresses: &[String], ca: Option<&Path>) -> Result<ResultSet, Error> {
    let home = Home::locate(env::var_os("OPAQUE_HOME"), env::var_os("HOME"))?;
    let config = ClientConfig::new(&home, addresses, ca)?;
    let parameters = [("city".to_owned(), city.to_owned())].into_iter().collect();
    let options = QueryOptions { parameters, ..QueryOptions::default() };
    // `query_and_close` closes the connections before it decrypts, so that the time of the close
    // tells the servers nothing about the answer. A program with many statements keeps one client
    // and calls `query` instead.
    let (answer, _timing) = Client::connect(config)?.query_and_close(STATEMENT, &options).await?;
    Ok(answer)
}

/// Prints the rows. Values are in the order of the statement's columns.
fn print(answer: &ResultSet) {
    for row in &answer.rows {
        if let [Value::Text(city), Value::Text(country), Value::Int(celsius)] = row.as_slice() {
            println!("{city} ({country}): {celsius} degrees");
        }
    }
    println!("{} rows", answer.rows.len());
}
