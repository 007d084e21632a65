//! What users write, and what is secret, turns up in nothing that leaves the relay, and in nothing that the cluster shows of it.

use anyhow::{Result, ensure};
use paramant_canary::found_in;
use serde_json::json;

use super::vendor::{self, Vendor};
use crate::{
    bed::Bed,
    demo::SYSTEM,
    relay::{self, Relay},
    scenario::fixture::Fixture,
};

/// One for each field that a user fills here, named after it.
const WRITTEN: [&str; 6] = [
    "canary-label-91bd02",
    "canary.email.4f77e1@acme.example",
    "canary-agent-c0de58",
    "canary-query-3aa9d4",
    "canary-device-e8126f",
    "canary-payload-77d2b9",
];

/// Fills every field that a user can fill.
pub(super) fn write(fixture: &Fixture<'_>, relay: &Relay) -> Result<()> {
    let [label, email, agent, query, device, payload] = WRITTEN;
    let http = relay::client()?;
    let admin = http.post(format!("{}/v2/admin/keys", relay.url)).header("X-Admin-Token", &fixture.token);
    admin.json(&json!({ "label": label, "email": email })).send()?.error_for_status()?;
    let digest = super::lists::sha256(payload.as_bytes());
    let (status, body) = relay.upload_for(device, payload.as_bytes(), &digest)?;
    ensure!(status == 200, "the upload was answered with {status}: {body}");
    for path in
        [format!("/v2/pubkey/{device}"), format!("/v2/outbound/{query}"), format!("/health?why={query}")]
    {
        http.get(format!("{}{path}", relay.url))
            .header("User-Agent", agent)
            .header("X-Api-Key", agent)
            .send()?;
    }
    Ok(())
}

/// Searches for them, for the licence key and for other secrets; answers how many places were looked at.
pub(super) fn search(
    fixture: &Fixture<'_>,
    relay: &Relay,
    vendor: &Vendor<'_>,
    key: &str,
    secrets: &[&str],
) -> Result<usize> {
    let (none, mut kept) = (WRITTEN.iter().chain(secrets).copied().collect::<Vec<_>>(), vendor.kept()?);
    // The authority knows a licence by the SHA-256 of its key, and by nothing else of it.
    ensure!(found_in(&[key], &kept) == [key], "the authority does not know the licence");
    ensure!(!String::from_utf8_lossy(&kept).contains(key), "the authority keeps the licence key itself");
    empty("what the authority keeps", &none, &mut kept)?;
    let all = [&none[..], &[key]].concat();
    let places = places(fixture.bed, &fixture.namespace, relay)?;
    let number = places.len() + 1;
    for (name, mut place) in places {
        empty(&name, &all, &mut place)?;
    }
    // Seen to be there at all: the history shows the admin whole requests, and a request holds the licence key.
    let history = super::admin_bytes(fixture, relay, "/v2/admin/license/history?limit=100")?;
    ensure!(found_in(&all, &history) == [key], "the admin is not shown the requests, or they hold more");
    Ok(number)
}

/// None of the canaries is there, and one that is planted is found.
fn empty(name: &str, canaries: &[&str], place: &mut Vec<u8>) -> Result<()> {
    ensure!(place.len() > 40, "{name} is nearly empty: {}", String::from_utf8_lossy(place));
    let found = found_in(canaries, place);
    ensure!(found.is_empty(), "in {name} there is {found:?}");
    place.extend(hex::encode(WRITTEN[0]).into_bytes());
    ensure!(found_in(canaries, place) == [WRITTEN[0]], "one that was planted in {name} was not found");
    Ok(())
}

fn places(bed: &Bed, namespace: &str, relay: &Relay) -> Result<Vec<(String, Vec<u8>)>> {
    let mut places = Vec::new();
    // Field managers say who set which field, and no value; Secrets are where the keys are.
    for what in
        ["prelay", "ppol,plic,prelay", "events", "configmap,deployment,statefulset,service,networkpolicy,pod"]
    {
        let shown = bed.kubectl(&["-n", namespace, "get", what, "-o", "json"])?;
        places.push((format!("kubectl get {what}"), shown.into_bytes()));
    }
    for (namespace, selector) in [
        (namespace, "app.kubernetes.io/name=paramant-relay"),
        (namespace, "app.kubernetes.io/name=paramant-courier"),
        (SYSTEM, "app.kubernetes.io/name=paramant-operator"),
        (vendor::NAMESPACE, "app.kubernetes.io/name=paramant-authority"),
    ] {
        let lines = bed.kubectl(&["-n", namespace, "logs", "-l", selector, "--tail=-1", "--prefix"])?;
        places.push((format!("the log lines of {selector}"), lines.into_bytes()));
    }
    for pod in ["pods/health-0:9090", "services/health:80"] {
        let path = if pod.starts_with("pods") { "metrics" } else { "log/checkpoint" };
        let raw = format!("/api/v1/namespaces/{namespace}/{pod}/proxy/{path}");
        places.push((raw.clone(), bed.kubectl(&["get", "--raw", &raw])?.into_bytes()));
    }
    // The whole log, entry by entry.
    let size =
        relay.public("/log/checkpoint")?.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0);
    let mut entries = Vec::new();
    for index in 0..size {
        entries.extend(super::lists::entry(relay, index)?.into_bytes());
    }
    places.push(("the log".to_owned(), entries));
    Ok(places)
}
