//! Is the pod what status says, and who vouches for its image?

use paramant_crds::Digest;
use paramant_crds::relay::{ImageStatus, Step};
use serde_json::Value;

use super::Answer;
use crate::cluster::{Refusal, text};

/// A key of the policy, by the operator's word; or nobody, where the policy says that nobody needs to.
pub(super) fn vouched(image: &ImageStatus, policy: Option<Result<Value, Refusal>>) -> Answer {
    if let Some(verified) = &image.verified {
        return Answer::Good(format!(
            "signature by key {} seen by the operator at {}",
            verified.key, verified.at.0
        ));
    }
    match policy {
        Some(Ok(policy))
            if policy.pointer("/spec/verification/allowUnsigned") == Some(&Value::Bool(true)) =>
        {
            Answer::Open("the policy takes images that nobody signed".to_owned())
        }
        Some(Err(refusal)) => {
            Answer::Wrong(format!("status names no signature, and the policy is not seen: {refusal}"))
        }
        _ => Answer::Wrong("status.image.verified names no signature for what runs".to_owned()),
    }
}

/// The image of the relay's container: as asked for, and as the node says it was started.
pub(super) fn image(pod: &Value, current: Option<&Digest>, step: Step, rolls: bool) -> Answer {
    let Some(current) = current else {
        return Answer::Wrong("status.image.current names no digest".to_owned());
    };
    let asked = relay(pod, "/spec/containers").map(|it| text(it, "/image")).unwrap_or_default();
    let runs = relay(pod, "/status/containerStatuses").map(|it| text(it, "/imageID")).unwrap_or_default();
    let is_current =
        |image: &str| image.rsplit_once('@').is_some_and(|(_, digest)| digest == current.as_str());
    if rolls && !(is_current(asked) && is_current(runs)) {
        return Answer::Open(format!("the update is at {}", step.as_str()));
    }
    match (is_current(asked), is_current(runs)) {
        (true, true) => Answer::Good(current.to_string()),
        (false, _) => Answer::Wrong(format!("the pod asks for {asked:?}, status says {current}")),
        (true, false) if runs.is_empty() => Answer::Wrong("the container has not started".to_owned()),
        (true, false) => Answer::Wrong(format!("the node started {runs:?}, status says {current}")),
    }
}

/// The pod was made from the template that is rolled.
pub(super) fn template(pod: &Value, set: &Value, step: Step, rolls: bool) -> Answer {
    let made = text(pod, "/metadata/labels/controller-revision-hash");
    let wanted = text(set, "/status/updateRevision");
    if wanted.is_empty() {
        return Answer::Wrong("the StatefulSet names no revision yet".to_owned());
    }
    if made == wanted {
        return Answer::Good(format!("revision {made}"));
    }
    if rolls {
        return Answer::Open(format!("the update is at {}", step.as_str()));
    }
    Answer::Wrong(format!(
        "the pod was made from {made:?}, the StatefulSet holds {wanted:?}, and no update goes on"
    ))
}

fn relay<'v>(pod: &'v Value, list: &str) -> Option<&'v Value> {
    let containers = pod.pointer(list)?.as_array()?;
    containers.iter().find(|container| text(container, "/name") == "relay")
}
