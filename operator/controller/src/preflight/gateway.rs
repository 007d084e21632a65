//! May the relays of a scope be exposed by HTTPRoutes? Asked before its first pass, and again as often as the definitions.
//!
//! Each scope answers for itself: a right that is missing in one namespace takes nothing from another. A question that failed
//! is no answer: it is asked again, and what was known stays meanwhile. The stream of routes fills on its own, so that it
//! holds back nothing but routes.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Client;
use kube::api::ApiResource;
use tokio::time::{sleep, timeout};

use super::{RECHECK, RETRY, named};
use crate::backoff::jittered;
use crate::health::Weight;
use crate::queue::Wake;
use crate::rights::{self, CannotAsk};
use crate::sentence;
use crate::stores::{Scope, Stores, World};
use crate::watches::{Routes, Watches};

/// The list of a group's resources is short and cached.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// A first list of routes that takes longer is waited for at the next look.
const FILL_WITHIN: Duration = Duration::from_secs(10);

/// The question failed.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the API groups cannot be listed: {0}")]
    Groups(String),
    #[error(transparent)]
    Rights(#[from] CannotAsk),
}

/// The routes of one scope, while they may be used.
pub(super) struct Gateway {
    watches: Watches,
    scope: Scope,
    topic: String,
    routes: Option<Routes>,
}

impl Gateway {
    pub(super) fn new(watches: Watches, scope: Scope) -> Self {
        let topic = format!("gateway in {scope}");
        Self { watches, scope, topic, routes: None }
    }

    /// Asks until there is an answer, and starts the stream if it is a yes.
    pub(super) async fn first_look(&mut self) {
        while !self.look().await {
            sleep(jittered(RETRY)).await;
        }
    }

    /// Adds the stores of the scope to the world, with routes if they may be used. `true` if that is news.
    pub(super) async fn publish(&self, stores: &mut Stores, world: &World) -> bool {
        let before = stores.http_routes.is_some();
        stores.http_routes = match &self.routes {
            Some(routes) => timeout(FILL_WITHIN, routes.filled()).await.ok(),
            None => None,
        };
        world.add(self.scope.clone(), stores.clone());
        before != stores.http_routes.is_some()
    }

    /// Looks again and again, and wakes every relay of the scope when the answer changed. Never returns.
    pub(super) async fn keep_looking(mut self, mut stores: Stores, world: World) {
        let mut answered = true;
        loop {
            let settled = answered && self.routes.is_some() == stores.http_routes.is_some();
            sleep(jittered(if settled { RECHECK } else { RETRY })).await;
            answered = self.look().await;
            if self.publish(&mut stores, &world).await {
                let subjects = stores.subjects();
                subjects.into_iter().for_each(|subject| self.watches.queue.wake(subject, Wake::Now));
            }
        }
    }

    /// Looks once. Says whether there was an answer.
    async fn look(&mut self) -> bool {
        match self.usable().await {
            Ok(true) if self.routes.is_none() => {
                self.routes = Some(self.watches.start_routes(&self.scope, http_route()));
            }
            Ok(true) => {}
            Ok(false) => self.routes = None,
            Err(error) => {
                self.watches.health.report(&self.topic, Weight::Degraded, error.to_string());
                return false;
            }
        }
        true
    }

    async fn usable(&self) -> Result<bool, Unanswered> {
        let Watches { client, health, .. } = &self.watches;
        let missing = match is_served(client).await? {
            true => rights::missing(client, &self.scope, &[rights::GATEWAY]).await?,
            false => {
                health.resolve(&self.topic);
                return Ok(false);
            }
        };
        if missing.is_empty() {
            health.resolve(&self.topic);
            return Ok(true);
        }
        let sentence = format!(
            "relays cannot be exposed through a gateway: this operator lacks {} in {}",
            named(&missing),
            self.scope
        );
        health.report(&self.topic, Weight::Degraded, sentence);
        Ok(false)
    }
}

async fn is_served(client: &Client) -> Result<bool, Unanswered> {
    let listed = timeout(DISCOVERY_TIMEOUT, client.list_api_groups()).await;
    let listed = listed.map_err(|_| Unanswered::Groups("no answer in time".to_owned()))?;
    let groups = listed.map_err(|error| Unanswered::Groups(sentence::of_kube(&error)))?.groups;
    let ours = |group: &APIGroup| {
        group.name == rights::GATEWAY.group && group.versions.iter().any(|version| version.version == "v1")
    };
    Ok(groups.iter().any(ours))
}

fn http_route() -> ApiResource {
    ApiResource {
        group: rights::GATEWAY.group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{}/v1", rights::GATEWAY.group),
        kind: "HTTPRoute".to_owned(),
        plural: rights::GATEWAY.resource.to_owned(),
    }
}

#[cfg(test)]
mod tests;
