//! `GET /control/v1/events`: the state as server-sent events, on connect and on each change that means something.
//!
//! A log under traffic changes every second; that alone is sent at most every ten, so that an operator with a thousand relays
//! is not woken a thousand times a second. Everything else goes out within milliseconds.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use paramant_protocol::control::{Directives, DrainReport, DrainState, LogReport, RelayState, RemoteReport};
use std::collections::BTreeMap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::state::StateReader;
use super::{Control, OperatorCa};
use crate::log_service::fence::Standing;

/// Several changes of one cause come together within this.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// How often things without news of their own (accounts, log) are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often growth of the log alone is worth an event.
const LOG_NEWS: Duration = Duration::from_secs(10);
/// Shorter than any idle timeout between the two.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) async fn stream(
    State(control): State<Control>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watcher = Watcher::new(control.reader);
    let events = futures::stream::unfold(watcher, |mut watcher| async {
        let state = watcher.next().await?;
        let event = match Event::default().event("state").json_data(&state) {
            Ok(event) => event,
            Err(error) => Event::default().comment(error.to_string()),
        };
        Some((Ok(event), watcher))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

struct Watcher {
    reader: StateReader,
    drain: watch::Receiver<DrainReport>,
    directives: watch::Receiver<Option<Directives>>,
    readiness: watch::Receiver<BTreeMap<&'static str, String>>,
    fence: watch::Receiver<Standing>,
    remote: watch::Receiver<RemoteReport>,
    ca: OperatorCa,
    sent: Option<(Instant, RelayState)>,
}

impl Watcher {
    fn new(reader: StateReader) -> Self {
        let core = &reader.app().core;
        Self {
            drain: core.drain.subscribe(),
            directives: core.directives.subscribe(),
            readiness: core.readiness.subscribe(),
            fence: core.log.guard().subscribe(),
            remote: reader.app().store.actions.subscribe(),
            ca: reader.ca(),
            sent: None,
            reader,
        }
    }

    /// The next state worth sending; `None` once the process ends.
    async fn next(&mut self) -> Option<RelayState> {
        let closing = self.reader.app().core.closing.clone();
        loop {
            if self.sent.is_some() {
                tokio::select! {
                    () = closing.cancelled() => return None,
                    _ = self.drain.changed() => tokio::time::sleep(DEBOUNCE).await,
                    _ = self.directives.changed() => tokio::time::sleep(DEBOUNCE).await,
                    _ = self.readiness.changed() => tokio::time::sleep(DEBOUNCE).await,
                    _ = self.fence.changed() => tokio::time::sleep(DEBOUNCE).await,
                    _ = self.remote.changed() => tokio::time::sleep(DEBOUNCE).await,
                    () = self.ca.changed() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            let state = self.reader.read().await;
            let worth = self.sent.as_ref().is_none_or(|(at, sent)| is_news(sent, &state, at.elapsed()));
            if worth {
                self.sent = Some((Instant::now(), state.clone()));
                return Some(state);
            }
        }
    }
}

/// Whether the operator needs to hear of it now. Counts of work in flight are news only while a drain runs.
fn is_news(sent: &RelayState, now: &RelayState, since: Duration) -> bool {
    let mut comparable = now.clone();
    if since < LOG_NEWS && sent.log.checkpoint.is_some() {
        comparable.log = LogReport { fence: now.log.fence.clone(), ..sent.log.clone() };
    }
    if now.drain.state == DrainState::Serving && sent.drain.state == DrainState::Serving {
        comparable.drain = DrainReport { requested_by: now.drain.requested_by.clone(), ..sent.drain.clone() };
    }
    comparable != *sent
}
