//! What must hold before anything is watched or reconciled: definitions installed, rights granted, stores filled.
//!
//! Each check repeats until it holds and says meanwhile, in `/readyz`, what is missing. One namespace without rights waits
//! alone. The definitions are checked again now and then: a downgraded one must stop the work, not quietly lose settings;
//! so is whether routes can be had (`gateway.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::gateway::Gateway;
use crate::backoff::jittered;
use crate::health::{Health, Weight};
use crate::queue::Wake;
use crate::rights::{self, Grant, Missing};
use crate::schema;
use crate::stores::{Scope, Stores, World};
use crate::watches::Watches;

mod gateway;

/// Between two attempts at something that a person or the chart is about to repair.
const RETRY: Duration = Duration::from_secs(5);
/// Between two questions for rights that were denied: each is a request of its own.
const RIGHTS_RETRY: Duration = Duration::from_secs(30);
/// Between two looks at what was answered before: definitions that were fine, routes that can be had or not.
const RECHECK: Duration = Duration::from_secs(300);

/// Whether the installed definitions are rich enough, as last seen.
#[derive(Debug, Clone, Default)]
pub struct Fit(Arc<AtomicBool>);

impl Fit {
    /// Whether work may go on.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Waits until the definitions are fit.
pub async fn schema_fits(client: &Client, health: &Health, fit: &Fit) {
    while !check_schema(client, health, fit).await {
        sleep(jittered(RETRY)).await;
    }
}

/// Looks again and again, for as long as the process lives. `again` is called when unfit definitions became fit.
pub async fn keep_checking_schema(client: Client, health: Health, fit: Fit, again: impl Fn()) {
    loop {
        sleep(jittered(if fit.holds() { RECHECK } else { RETRY })).await;
        let before = fit.holds();
        if check_schema(&client, &health, &fit).await && !before {
            again();
        }
    }
}

async fn check_schema(client: &Client, health: &Health, fit: &Fit) -> bool {
    match schema::check(client).await {
        Ok(()) => {
            fit.0.store(true, Ordering::Release);
            health.resolve("schema");
        }
        // An API server that cannot be asked says nothing about what it has installed: what was known stays believed.
        Err(error @ schema::Unfit::Unreadable(_)) if fit.holds() => {
            tracing::debug!(%error, "the installed schema was not checked")
        }
        Err(error) => {
            fit.0.store(false, Ordering::Release);
            health.report("schema", Weight::Blocking, error.to_string());
        }
    }
    fit.holds()
}

/// Waits until every one of `grants` is there. Says whether one had been missing.
pub async fn granted(
    client: &Client,
    scope: &Scope,
    grants: &[Grant],
    health: &Health,
    weight: Weight,
) -> bool {
    let mut lacked = false;
    let topic = format!("rights in {scope}");
    let mut asked: Vec<Grant> = grants.to_vec();
    loop {
        let (sentence, wait) = match rights::missing(client, scope, &asked).await {
            Ok(missing) => match missing.first() {
                None if asked.len() == grants.len() => {
                    health.resolve(&topic);
                    return lacked;
                }
                None => {
                    asked = grants.to_vec();
                    continue;
                }
                // Each question is a request: until the first of them is answered otherwise, the rest need not be asked.
                Some(first) if asked.len() == grants.len() => {
                    lacked = true;
                    asked = vec![first.grant];
                    let sentence = format!(
                        "this operator lacks rights in {scope}: {}; install the chart's roles",
                        named(&missing)
                    );
                    (Some(sentence), RIGHTS_RETRY)
                }
                Some(_) => (None, RIGHTS_RETRY),
            },
            Err(error) => (Some(error.to_string()), RETRY),
        };
        if let Some(sentence) = sentence {
            health.report(&topic, weight, sentence);
        }
        sleep(jittered(wait)).await;
    }
}

/// A few of the missing rights, and how many there are: without a role, all of them are missing.
fn named(missing: &[Missing]) -> String {
    const NAMED: usize = 6;
    let some: Vec<String> = missing.iter().take(NAMED).map(ToString::to_string).collect();
    match missing.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", some.join(", ")),
        _ => some.join(", "),
    }
}

/// Waits for the rights of one scope, starts its watches, and holds until the stores are filled. Never returns: the watches
/// live as long as this future.
pub async fn watch_scope(watches: Watches, scope: Scope, world: World) {
    let Watches { client, health, weight, queue, .. } = watches.clone();
    granted(&client, &scope, rights::IN_SCOPE, &health, weight).await;
    let mut gateway = Gateway::new(watches.clone(), scope.clone());
    gateway.first_look().await;
    let mut tasks = JoinSet::new();
    let mut stores = watches.start(&scope, &mut tasks);
    let topic = format!("first lists of {scope}");
    while !stores.filled() {
        health.report(&topic, weight, format!("the first lists of {scope} are not complete yet"));
        sleep(Duration::from_millis(100)).await;
    }
    health.resolve(&topic);
    gateway.publish(&mut stores, &world).await;
    stores.subjects().into_iter().for_each(|subject| queue.wake(subject, Wake::Now));
    let watching = async {
        while tasks.join_next().await.is_some() {}
        tracing::error!(%scope, "all watches of a scope ended");
    };
    let rights = keep_rights(&watches, &scope, &stores);
    tokio::join!(watching, rights, gateway.keep_looking(stores.clone(), world));
}

/// Asks for the rights again whenever a write was forbidden, and wakes everything once they are back. Never returns. A quota or
/// an admission policy forbids too, so it is not asked more often than for rights that are missing.
async fn keep_rights(watches: &Watches, scope: &Scope, stores: &Stores) {
    let Watches { client, health, weight, queue, .. } = watches;
    loop {
        stores.forbidden.notified().await;
        if granted(client, scope, rights::IN_SCOPE, health, *weight).await {
            stores.subjects().into_iter().for_each(|subject| queue.wake(subject, Wake::Now));
        }
        sleep(jittered(RIGHTS_RETRY)).await;
    }
}
