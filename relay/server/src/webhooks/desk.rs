//! The task that makes the calls: a lane for each host of the admin's list, a few calls at once in each.
//!
//! A hook is called one event at a time, and after a failure ever more rarely, all its events together; other hooks of the same
//! host go on in the lane's other places, and other hosts have lanes of their own. Nothing here is lost with the process: a call
//! that it did not live to write down is made again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use paramant_protocol::leaf::sha256;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::address::HookUrl;
use super::signature::sign;
use super::{Webhooks, trust};
use crate::outbound::{self, OutboundError, Request, Way};
use crate::settings::WebhookSettings;
use crate::store::meta::MetaError;
use crate::store::webhook_rows::{self, Due, Ended};
use crate::store::{Digest, now_ms};

/// Calls to one host at once.
const LANE: usize = 4;
/// A whole call, as published.
const CALL: Duration = Duration::from_secs(5);
/// How often the desk looks without having been told of anything.
const LOOK: Duration = Duration::from_secs(5);
/// After the first failure, then twice as long each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

const EVENT: HeaderName = HeaderName::from_static("x-paramant-event");
const SIGNATURE: HeaderName = HeaderName::from_static("x-paramant-sig");
const DELIVERY: HeaderName = HeaderName::from_static("x-paramant-delivery");

pub(super) struct Desk {
    webhooks: Webhooks,
    /// Calls that run, by destination.
    lanes: HashMap<String, usize>,
    calls: JoinSet<String>,
    tidied: Option<Instant>,
    said: String,
}

/// What became of a call.
enum Outcome {
    /// The receiver answered with this status.
    Answered(u16),
    /// It did not.
    Failed(OutboundError),
    /// It may not be called any more.
    NotCallable,
}

impl Outcome {
    fn is_delivered(&self) -> bool {
        matches!(self, Self::Answered(status) if (200..300).contains(status))
    }

    /// For metrics, the account's list and the log line: a closed set.
    fn word(&self) -> &'static str {
        match self {
            Self::Answered(200..300) => "delivered",
            Self::Answered(300..400) => "redirected",
            Self::Answered(_) => "refused",
            Self::Failed(error) => error.category(),
            Self::NotCallable => "not-callable",
        }
    }
}

impl Desk {
    pub(super) fn new(webhooks: Webhooks) -> Self {
        Self { webhooks, lanes: HashMap::new(), calls: JoinSet::new(), tidied: None, said: String::new() }
    }

    pub(super) async fn run(mut self) {
        let mut settings = self.webhooks.0.settings.subscribe();
        let mut couriers = self.webhooks.0.couriers.subscribe();
        let resumed =
            self.webhooks.0.meta.write(|c| Ok::<_, MetaError>(webhook_rows::resume(c, now_ms())?)).await;
        if let Err(error) = resumed {
            self.say(&format!("the outbox of webhooks cannot be written: {error}"));
        }
        loop {
            self.tidy().await;
            let wait = match self.turn().await {
                Ok(wait) => wait,
                Err(error) => {
                    self.say(&format!("the outbox of webhooks cannot be read: {error}"));
                    LOOK
                }
            };
            let news = self.webhooks.0.news.clone();
            tokio::select! {
                Some(ended) = self.calls.join_next() => match ended {
                    Ok(destination) => self.leave(&destination),
                    // A call that panicked has been told by the runtime; its lease runs out.
                    Err(_) => self.lanes.clear(),
                },
                () = news.notified() => {}
                // Fixed settings have no sender, and never change.
                Ok(()) = settings.changed() => {}
                Ok(()) = couriers.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn leave(&mut self, destination: &str) {
        if let Some(running) = self.lanes.get_mut(destination) {
            *running = running.saturating_sub(1);
        }
        self.lanes.retain(|_, running| *running > 0);
    }

    /// Begins what is due; answers how long nothing else will be.
    async fn turn(&mut self) -> Result<Duration, MetaError> {
        let Some(config) = self.webhooks.config() else { return Ok(LOOK) };
        let way = self.webhooks.way(&config);
        // What cannot leave is no call, and waits without counting as a failure.
        if matches!(&way, Way::Courier(couriers, purpose) if !couriers.is_connected(*purpose)) {
            return Ok(LOOK);
        }
        let places =
            |lanes: &HashMap<String, usize>, host: &str| LANE - lanes.get(host).map_or(0, |n| LANE.min(*n));
        let open: Vec<String> =
            config.hosts.iter().filter(|host| places(&self.lanes, host) > 0).cloned().collect();
        let next = self.webhooks.0.meta.read(move |c| next_of(c, &open)).await?;
        let now = now_ms();
        let mut wait = LOOK;
        for (host, next_ms) in next {
            if next_ms > now {
                let until = Duration::from_millis((next_ms - now).cast_unsigned());
                wait = wait.min(until);
                continue;
            }
            let (places, host_of_row) = (places(&self.lanes, &host), host.clone());
            let Ok(salt) = Digest::random() else { return Ok(LOOK) };
            let due = self
                .webhooks
                .0
                .meta
                .write(move |c| {
                    Ok::<_, MetaError>(webhook_rows::take_due(c, &host_of_row, places, now_ms(), salt)?)
                })
                .await?;
            for due in due {
                *self.lanes.entry(host.clone()).or_default() += 1;
                let (webhooks, config, way) = (self.webhooks.clone(), config.clone(), way.clone());
                let host = host.clone();
                self.calls.spawn(async move {
                    call(&webhooks, &config, &way, due).await;
                    host
                });
            }
        }
        Ok(wait)
    }

    /// Lets go of what is too old, writes the entries of hours that are over, measures.
    async fn tidy(&mut self) {
        if self.tidied.is_some_and(|tidied| tidied.elapsed() < LOOK) {
            return;
        }
        self.tidied = Some(Instant::now());
        let tidying = self.webhooks.0.meta.read(|c| {
            Ok::<_, MetaError>((webhook_rows::any_over(c, now_ms())?, webhook_rows::waiting_altogether(c)?))
        });
        match tidying.await {
            Ok((over, waiting)) => {
                self.webhooks.0.metrics.waiting.set(waiting);
                if over {
                    self.give_up().await;
                }
            }
            Err(error) => self.say(&format!("the outbox of webhooks cannot be read: {error}")),
        }
        self.webhooks.sum_up().await;
    }

    async fn give_up(&mut self) {
        loop {
            let giving_up =
                self.webhooks.0.meta.write(|c| Ok::<_, MetaError>(webhook_rows::give_up(c, now_ms())?));
            match giving_up.await {
                Ok(count) => {
                    self.webhooks.0.metrics.given_up.inc_by(count as u64);
                    tracing::info!(count, "events of webhooks were not delivered in time");
                    if count < usize::from(webhook_rows::GIVEN_UP_AT_ONCE) {
                        return;
                    }
                }
                Err(error) => return self.say(&format!("old events of webhooks cannot be removed: {error}")),
            }
        }
    }

    /// The same again and again is one line.
    fn say(&mut self, what: &str) {
        if what != self.said {
            tracing::error!(what, "webhooks");
            what.clone_into(&mut self.said);
        }
    }
}

/// When each of these hosts has something to be told next, of those that have.
fn next_of(c: &rusqlite::Connection, hosts: &[String]) -> Result<Vec<(String, i64)>, MetaError> {
    let mut next = Vec::new();
    for host in hosts {
        if let Some(at) = webhook_rows::next_due(c, host)? {
            next.push((host.clone(), at));
        }
    }
    Ok(next)
}

/// Makes one call and writes down how it ended.
async fn call(webhooks: &Webhooks, config: &Arc<WebhookSettings>, way: &Way, due: Due) {
    let outcome = ask(config, way, &due).await;
    let word = outcome.word();
    webhooks.0.metrics.called(word);
    // Never the path: it is the receiver's, and often holds what lets somebody in.
    let destination =
        HookUrl::parse(&due.url, Some(config.as_ref())).ok().map(|url| url.destination().authority());
    let status = if let Outcome::Answered(status) = outcome { status } else { 0 };
    let why = if let Outcome::Failed(error) = &outcome { error.to_string() } else { String::new() };
    tracing::info!(
        destination,
        request = hex::encode(sha256(&due.body)),
        webhook = %due.hook,
        status,
        outcome = word,
        why,
        "called a webhook"
    );
    let ended = if outcome.is_delivered() {
        Ended::Delivered
    } else {
        Ended::Failed {
            next_ms: now_ms() + i64::try_from(backoff(due.failures, chance()).as_millis()).unwrap_or(0),
        }
    };
    let written = webhooks
        .0
        .meta
        .write(move |c| Ok::<_, MetaError>(webhook_rows::ended(c, &due, &ended, word, now_ms())?))
        .await;
    if let Err(error) = written {
        tracing::warn!(%error, "how a call of a webhook ended could not be written down; it is made again");
    }
}

async fn ask(config: &Arc<WebhookSettings>, way: &Way, due: &Due) -> Outcome {
    // The list may have changed since the hook was made.
    let Ok(url) = HookUrl::parse(&due.url, Some(config.as_ref())) else { return Outcome::NotCallable };
    let Ok(signature) = HeaderValue::from_str(&sign(&due.secret, &due.body)) else {
        return Outcome::NotCallable;
    };
    let request = Request::new(url.path().to_owned(), due.body.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(EVENT, HeaderValue::from_static("blob_ready"))
        .header(SIGNATURE, signature)
        .header(DELIVERY, HeaderValue::from(due.position));
    let trust = trust(config);
    let asking = outbound::ask(way, url.destination(), &trust, request);
    match timeout(CALL, asking).await {
        Ok(Ok(reply)) => Outcome::Answered(reply.status),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Failed(OutboundError::Slow(url.destination().authority())),
    }
}

/// How long a hook rests that failed `failures` times before this one; `chance` of 0..1 spreads what failed together.
fn backoff(failures: u32, chance: f64) -> Duration {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST_WAIT);
    longest.mul_f64(0.75 + chance / 4.0)
}

/// 0..1. Without randomness from the system: always the longest.
fn chance() -> f64 {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_or(1.0, |()| f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_fails_rests_ever_longer_and_at_most_ten_minutes() {
        let seconds: Vec<u64> = (0..9).map(|failures| backoff(failures, 1.0).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff(u32::MAX, 1.0), LONGEST_WAIT);
        assert_eq!(backoff(0, 0.0), Duration::from_millis(3750));
    }

    #[test]
    fn only_2xx_is_a_delivery() {
        let delivered: Vec<u16> =
            (100..600).filter(|status| Outcome::Answered(*status).is_delivered()).collect();
        assert_eq!(delivered, (200..300).collect::<Vec<_>>());
    }
}
