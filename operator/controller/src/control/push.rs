//! Delivers one relay's directives, at once and until they are answered.
//!
//! No debounce here: a person's drain is on this path. Each delivery has a short connection of its own, so a stream that
//! hangs delays nothing. What the relay refuses (409) is not sent again: reconcile sees in the relay's report what it holds
//! and orders anew.

use std::sync::Arc;
use std::time::Duration;

use paramant_protocol::control::Directives;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::exchange::{self, Channel};
use super::{Relay, Target, Wanted, mark, tls};
use crate::authority;
use crate::backoff::Backoff;
use crate::queue::Wake;

/// The first wait after a failed delivery; several fit into the second a drain may take.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a refusal is left alone before the same directives are tried once more.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Exchange(#[from] exchange::Error),
    #[error(transparent)]
    Leaf(#[from] authority::Error),
    #[error("the relay shows another key than the one it is known by")]
    OtherKey,
}

impl From<tls::Error> for Failed {
    fn from(error: tls::Error) -> Self {
        Self::Exchange(error.into())
    }
}

/// What there is to deliver, and to whom.
struct Delivery {
    target: Target,
    key: String,
    directives: Arc<Directives>,
}

/// Delivers until the task is aborted.
pub(super) async fn run(relay: Arc<Relay>) {
    let mut wanted = relay.wanted.subscribe();
    let mut trusted = relay.trusted.subscribe();
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        wanted.mark_unchanged();
        trusted.mark_unchanged();
        let Some(delivery) = pending(&relay, &wanted) else {
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                changed = trusted.changed() => if changed.is_err() { return },
            }
            continue;
        };
        // In a box of its own, as in `follow`: most of the time there is nothing to deliver.
        let outcome = Box::pin(deliver(&relay, &delivery)).await;
        let wait = match &outcome {
            Ok(true) => {
                let mut known = relay.known();
                known.acknowledged = Some((delivery.target.pod_uid, delivery.directives));
                known.refused = None;
                drop(known);
                relay.answered.notify_one();
                backoff.reset();
                continue;
            }
            Ok(false) => {
                relay.known().refused = Some(mark(&delivery.directives));
                relay.shared.queue.wake(relay.key.clone(), Wake::Now);
                AFTER_REFUSAL
            }
            Err(error) => {
                tracing::debug!(relay = %relay.key, %error, "directives were not delivered");
                backoff.next_delay()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = wanted.changed() => {
                if changed.is_err() { return }
                backoff.reset();
            }
            changed = trusted.changed() => if changed.is_err() { return },
        }
    }
}

/// What is wanted, known whom to tell, and not acknowledged yet.
fn pending(relay: &Relay, wanted: &watch::Receiver<Wanted>) -> Option<Delivery> {
    let wanted = wanted.borrow();
    let (target, directives) = (wanted.target.clone()?, wanted.directives.clone()?);
    let key = relay.expected_key(&target)?;
    let acknowledged = relay
        .known()
        .acknowledged
        .as_ref()
        .is_some_and(|(pod, sent)| *pod == target.pod_uid && *sent == directives);
    (!acknowledged).then_some(Delivery { target, key, directives })
}

/// Delivers once. `Ok(false)` means refused.
async fn deliver(relay: &Relay, delivery: &Delivery) -> Result<bool, Failed> {
    let span = tracing::info_span!("directives", relay = %relay.key, outcome = tracing::field::Empty);
    let outcome = attempt(relay, delivery).instrument(span.clone()).await;
    let label = match &outcome {
        Ok(true) => "accepted",
        Ok(false) => "refused",
        Err(_) => "failed",
    };
    span.record("outcome", label);
    relay.shared.metrics.directives.with_label_values(&[label]).inc();
    outcome
}

async fn attempt(relay: &Relay, delivery: &Delivery) -> Result<bool, Failed> {
    let connection = tls::dial(delivery.target.address, &*relay.shared.leaves.current()?).await?;
    if connection.spki_sha256 != delivery.key {
        return Err(Failed::OtherKey);
    }
    let mut channel = Channel::open(connection).await?;
    let answer = channel.put_directives(&delivery.directives).await?;
    if !answer.accepted {
        tracing::warn!(relay = %relay.key, reason = answer.reason.as_deref().unwrap_or("none given"), "the relay refused directives");
    }
    Ok(answer.accepted)
}
