//! Pods that the API server refuses because of a quota, a LimitRange, PodSecurity or an admission
//! policy.
//!
//! Only an event reports such a refusal. Events are not watched. They are requested only while a
//! required pod is missing, which is rare.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::context::Context;
use crate::error::Error;

/// How long a pod may be missing before events are requested, and the interval of further requests.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The API server's last message when a controller tried to create a pod for this object. `None` if
/// it accepted all pods, or if the operator may not read events.
///
/// # Errors
/// The API server cannot be reached or refuses.
pub(crate) async fn refusal(
    context: &Context,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    let api: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let fields =
        format!("involvedObject.kind={kind},involvedObject.name={name},reason=FailedCreate");
    let events = match api.list(&ListParams::default().fields(&fields)).await {
        Ok(events) => events.items,
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
        Err(error) => return Err(Error::api(format!("listing events of {kind} {name}"))(error)),
    };
    let newest = events.into_iter().max_by_key(|event| {
        let time = event.last_timestamp.as_ref().map(|time| time.0);
        time.or(event.event_time.as_ref().map(|time| time.0))
    });
    Ok(newest.and_then(|event| event.message).map(|message| said(&message)))
}

/// The API server's part of a controller's message.
fn said(message: &str) -> String {
    let marks = ["failed error: ", "Error creating: "];
    let said = marks.iter().find_map(|mark| Some(message.split_once(mark)?.1));
    said.unwrap_or(message).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_message_is_reported_without_that_of_the_controller() {
        let words = "pods \"demo-shard-0-0\" is forbidden: exceeded quota: small";
        let set =
            format!("create Pod demo-shard-0-0 in StatefulSet demo-shard-0 failed error: {words}");
        assert_eq!(said(&set), words);
        assert_eq!(said(&format!("Error creating: {words}")), words);
        assert_eq!(said("something new"), "something new");
    }
}
