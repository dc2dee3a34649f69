//! A source on a web server.

use std::env;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use reqwest::header::USER_AGENT;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::super::config::Config;
use super::{Answer, SourceFault};
use crate::store::error::causes;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests for one answer: a server that restarts is there again by the last.
const ATTEMPTS: u32 = 4;
/// Pause after the first attempt; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Asks for the file; its URL as it may be shown, and the bytes.
pub(super) async fn get(config: &Config) -> Result<(String, Answer), SourceFault> {
    let broken = |reason: String| SourceFault::Unreadable(reason);
    let url: Url =
        config.source.parse().map_err(|error| broken(format!("the source's URL: {error}")))?;
    let name = shown(&url);
    if !url.username().is_empty() || url.password().is_some() {
        return Err(broken(format!(
            "{name}: credentials belong in the environment, not in the URL"
        )));
    }
    // The HTTP client has no provider of its own. An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(config.source_timeout)
        .redirect(Policy::custom(redirect))
        .referer(false)
        .build()
        .map_err(|error| broken(format!("{name}: {}", deepest(&error))))?;
    let response = answer(&client, &url, &name).await?;
    let total = response.content_length();
    let shown = name.clone();
    let bytes = response.bytes_stream().map_err(move |error| {
        SourceFault::Unreadable(format!("{shown} broke off: {}", deepest(&error)))
    });
    Ok((name, Answer { total, bytes: bytes.boxed() }))
}

/// The first good answer.
async fn answer(client: &Client, url: &Url, name: &str) -> Result<Response, SourceFault> {
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let request = authorized(client.get(url.clone()))
            .header(USER_AGENT, concat!("opaque-prepare/", env!("CARGO_PKG_VERSION")));
        let fault = match request.send().await {
            Ok(response) if response.status() == StatusCode::OK => return Ok(response),
            Ok(response) => {
                let (status, said) =
                    (response.status(), format!("{name} answered {}", response.status()));
                match status.as_u16() {
                    404 | 410 => return Err(SourceFault::NotFound(said)),
                    401 | 403 | 407 => return Err(SourceFault::Refused(said)),
                    408 | 429 | 500..=599 => SourceFault::Unreadable(said),
                    _ => return Err(SourceFault::Unreadable(said)),
                }
            }
            Err(error) if error.is_redirect() || error.is_builder() => {
                return Err(SourceFault::Unreadable(format!("{name}: {}", deepest(&error))));
            }
            Err(error) => SourceFault::Unreadable(format!("{name}: {}", deepest(&error))),
        };
        if attempt == ATTEMPTS {
            return Err(fault);
        }
        tracing::warn!(error = %fault, attempt, "the source is asked again");
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

/// Adds the credentials of the environment, if there are any.
fn authorized(request: RequestBuilder) -> RequestBuilder {
    let variable = |name| env::var(name).ok().map(|value| value.trim().to_owned());
    let (user, password) = (variable("SOURCE_USERNAME"), variable("SOURCE_PASSWORD"));
    match (variable("SOURCE_TOKEN"), user) {
        (Some(token), _) => request.bearer_auth(token),
        (None, Some(user)) => request.basic_auth(user, password),
        (None, None) => request,
    }
}

/// Follows a few redirects, and none that leaves TLS. Credentials stay with the first host: the HTTP
/// client sees to it.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_tls = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    if was_tls && attempt.url().scheme() != "https" {
        return attempt.error("it redirects from https to http");
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}

/// A URL without query and fragment: signatures stand there.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL that cannot have credentials refuses this.
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

/// The bottom of an error: what is above repeats the URL.
fn deepest(error: &reqwest::Error) -> String {
    let last = causes(error).last();
    let text = last.map(ToString::to_string).unwrap_or_default();
    if error.is_timeout() { format!("no answer in time ({text})") } else { text }
}
