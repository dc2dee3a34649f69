//! A source on a web server.

use std::env;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use opaque_store::egress::Egress;
use reqwest::header::USER_AGENT;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::{Answer, Request, SourceFault, Trouble};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts for one request. A server that restarts is available again by the last one.
const ATTEMPTS: u32 = 4;
/// Pause after the first attempt. It doubles after each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// Requests the file. Returns its URL as it may be shown, and the bytes.
pub(super) async fn get(
    request: &Request,
    egress: &Egress,
) -> Result<(String, Answer), SourceFault> {
    let url: Url = request
        .url
        .parse()
        .map_err(|error| SourceFault::Url(format!("the source's URL: {error}")))?;
    let name = shown(&url);
    if !url.username().is_empty() || url.password().is_some() {
        let text = format!("{name}: credentials belong in the environment, not in the URL");
        return Err(SourceFault::Url(text));
    }
    egress.check(&url).map_err(|error| SourceFault::broken(&name, &error))?;
    // reqwest is built without a TLS provider. An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = egress
        .client(Client::builder())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(request.timeout)
        .referer(false)
        .build()
        .map_err(|error| SourceFault::broken(&name, &error))?;
    let response = answer(&client, &url, &name, request.agent).await?;
    let total = response.content_length();
    let shown = name.clone();
    let bytes = response.bytes_stream().map_err(move |error| SourceFault::broken(&shown, &error));
    Ok((name, Answer { total, bytes: bytes.boxed() }))
}

/// The first successful response.
async fn answer(
    client: &Client,
    url: &Url,
    name: &str,
    agent: &'static str,
) -> Result<Response, SourceFault> {
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let request = authorized(client.get(url.clone())).header(USER_AGENT, agent);
        let fault = match request.send().await {
            Ok(response) if response.status() == StatusCode::OK => return Ok(response),
            Ok(response) => {
                SourceFault::Answered { name: name.to_owned(), status: response.status() }
            }
            Err(error) => {
                let fault = SourceFault::broken(name, &error);
                if error.is_redirect() || error.is_builder() || is_forbidden(&fault) {
                    return Err(fault);
                }
                fault
            }
        };
        let passes = match &fault {
            SourceFault::Answered { status, .. } => {
                matches!(status.as_u16(), 408 | 429 | 500..=599)
            }
            _ => true,
        };
        if attempt == ATTEMPTS || !passes {
            return Err(fault);
        }
        tracing::warn!(error = %fault, attempt, "retrying the request to the source");
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

fn is_forbidden(fault: &SourceFault) -> bool {
    matches!(fault, SourceFault::Broken { trouble: Trouble::Forbidden(_), .. })
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

/// A URL without query and fragment, which may contain signatures.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // This only fails for URLs that cannot have credentials.
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}
