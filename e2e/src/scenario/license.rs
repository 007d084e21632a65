//! A licence from its first day to an outage of a week and back: Community, offline, online through the courier, everything switched on,
//! grace, Community again, recovery. Each is mirrored in status, the relay works in all of them, and the relay pod originates no
//! packet. The authority is the reference one in a Deployment of its own; the relay believes test keys, and its licence clock can be moved.

mod canaries;
pub(crate) mod lists;
pub(crate) mod vendor;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use serde_json::Value;

use self::vendor::Vendor;
use super::{auditors, fixture::Fixture, network::Counter, webhooks, witnesses};
use crate::{
    bed::Bed,
    process::{self, wait_for},
    relay::{self, Relay},
    steps::{Seen, seen},
};

/// The kubelet brings a changed Secret or ConfigMap within a minute and a half; then come a check-in and a report.
const TAKEN_UP: Duration = Duration::from_secs(240);
/// What a change in the relay needs to be seen in status, and some for a busy machine.
const MIRRORED: Duration = Duration::from_secs(15);
/// What belongs to the courier.
const COURIER: &[&str] = &[
    "deployment/health-courier-license",
    "networkpolicy/health-courier-license",
    "serviceaccount/health-courier-license",
    "service/health-control-license",
];
/// Where the test world's relay reads by how many seconds its licence clock is off.
const CLOCK: &str = "testworld-clock";
/// Accounts that the licence admits, beside the first: more than Community Edition has.
const USERS: usize = 8;
const DAY: f64 = 24.0 * 3600.0;

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "license")?;
    let vendor = Vendor::install(bed)?;
    let mut all = Everything::new(&fixture, "")?;
    let pod = fixture.field("pod/health-0", "/metadata/uid")?;
    let address = fixture.field("pod/health-0", "/status/podIP")?;
    let address = address.as_str().context("the pod has no address")?.to_owned();
    let counter = Counter::new(&address)?;
    let planted = counter.plant(&address)?;

    all.mirrored("None", "Community", TAKEN_UP)?;
    let offline = offline(&all, &vendor)?;

    let key = vendor.sell()?;
    secret(&fixture, &key)?;
    license(&fixture, &vendor.online())?;
    all.mirrored("Online", "Pro", TAKEN_UP)?;
    lists::agree(&fixture, &all.relay, &vendor, &[])?;
    all.admit(USERS)?;

    let everything = Switched::on(&all, &vendor)?;
    canaries::write(&fixture, &all.relay)?;
    let (previews, telemetry) = telemetry(&all, &vendor)?;
    let answered = lists::agree(&fixture, &all.relay, &vendor, &previews)?;
    let secrets = [offline.as_str(), &fixture.token, &all.relay.key];
    let searched = canaries::search(&fixture, &all.relay, &vendor, &key, &secrets)?;
    shown_by_the_plugin(bed, &fixture)?;
    license(&fixture, &vendor.online())?;

    let mirrored = latency(&all, &vendor, &key)?;
    vendor.fault("status-503")?;
    check_in(&fixture, &all.relay)?;
    all.reachable("False", "CheckInFailed")?;
    let last = all.last_check_in()?;
    for (days, source, tier) in [(0.0, "Online", "Pro"), (6.99, "Cache", "Pro"), (7.01, "None", "Community")]
    {
        all.clock((days * DAY) as i64)?;
        all.mirrored(source, tier, MIRRORED)?;
    }
    all.clock(0)?;
    vendor.fault("none")?;
    check_in(&fixture, &all.relay)?;
    all.reachable("True", "CheckedIn")?;
    all.mirrored("Online", "Pro", TAKEN_UP)?;
    ensure!(all.last_check_in()? != last, "the relay recovered without a check-in");
    lists::agree(&fixture, &all.relay, &vendor, &previews)?;
    unpaid(&all, &vendor, &key)?;
    everything.off(&all)?;

    license(&fixture, "")?;
    fixture.wait_gone(COURIER)?;
    wait_for("the relay to have taken it up", TAKEN_UP, || {
        let report = admin(&fixture, &all.relay, "/v2/admin/license")?;
        Ok(if report["checkIn"].is_null() { Ok(()) } else { Err(report.to_string()) })
    })?;
    // Told to ask at once it asks nobody.
    let before = vendor.record()?.len();
    let told = check_in(&fixture, &all.relay).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(told.contains("409"), "a relay that may not check in was told to, and answered {told:?}");
    std::thread::sleep(Duration::from_secs(10));
    if vendor.record()?.len() != before {
        bail!("the relay checked in, though the online check was switched off");
    }
    all.relay.roundtrip(20_000)?;
    auditors::paramant_audit(bed, &all.relay.url)?;
    if fixture.field("pod/health-0", "/metadata/uid")? != pod {
        bail!("the relay was restarted for its licence");
    }
    let counted = counter.read()?;
    if counted != planted {
        bail!("the relay pod originated {} new flows", counted - planted);
    }
    air_gap(&all, &vendor)?;
    seen(
        (),
        format!(
            "Community, offline with 4 warnings, online, grace at 6.99 days, Community at 7.01, online again; {answered} check-ins in all four lists, \
         {telemetry} with telemetry; canaries planted and found in {searched} places, else in none; mirrored in status after {mirrored} ms; a reply carried in by hand; \
         planted datagram counted ({planted}), then 0 new flows with licence, witnesses, webhooks and telemetry on"
        ),
    )
}

/// Offline licences: each warning is a condition and an Event, the last end too. Answers a licence that counted.
fn offline(all: &Everything<'_>, vendor: &Vendor<'_>) -> Result<String> {
    let (fixture, days) = (all.fixture, |days: i64| SignedDuration::from_hours(24 * days));
    let licence = vendor.offline(days(60))?;
    secret(fixture, &licence)?;
    all.mirrored("Offline", "Licensed", TAKEN_UP)?;
    for what in COURIER {
        if fixture.exists(what)? {
            bail!("there is {what}, though nothing was switched on");
        }
    }
    ensure!(all.seconds_until_expiry()?.is_some_and(|left| left > 0), "the metric does not say when it ends");
    for (left, reason) in [
        (days(29), "WithinThirtyDays"),
        (days(13), "WithinFourteenDays"),
        (days(6), "WithinSevenDays"),
        (SignedDuration::from_hours(20), "WithinOneDay"),
    ] {
        secret(fixture, &vendor.offline(left)?)?;
        wait_for(&format!("an Event {reason}"), TAKEN_UP, || {
            let events = fixture.bed.get(&fixture.namespace, "events")?;
            let events = events["items"].as_array().cloned().unwrap_or_default();
            let of_the_licence = |event: &&Value| {
                event["regarding"]["kind"] == "ParamantLicense"
                    || event["involvedObject"]["kind"] == "ParamantLicense"
            };
            let reasons: Vec<String> =
                events.iter().filter(of_the_licence).map(|it| it["reason"].to_string()).collect();
            Ok(if reasons.iter().any(|it| it.contains(reason)) {
                Ok(())
            } else {
                Err(format!("there are {reasons:?}"))
            })
        })?;
    }
    // A day later it has ended; who has an account goes on.
    all.clock(DAY as i64)?;
    all.mirrored("None", "Community", MIRRORED)?;
    ensure!(
        all.seconds_until_expiry()?.is_some_and(|left| left < 0),
        "the metric does not say that it has ended"
    );
    all.clock(0)?;
    all.mirrored("Offline", "Licensed", MIRRORED)?;
    Ok(licence)
}

/// Without a way out: a request is carried to the authority and its reply back, as docs/license.md says.
fn air_gap(all: &Everything<'_>, vendor: &Vendor<'_>) -> Result<()> {
    let fixture = all.fixture;
    license(fixture, "  airGap: { capabilitySetRef: { name: acme-capabilities } }\n")?;
    let path = "/v2/admin/license/request";
    let request = wait_for("a request to carry", TAKEN_UP, || {
        Ok(admin_bytes(fixture, &all.relay, path).map_err(|error| format!("{error:#}")))
    })?;
    let reply = vendor.answer(&String::from_utf8(request)?)?;
    let reply = serde_json::to_string(&serde_json::json!({ "capabilities": reply }))?;
    let name = format!("{{ name: acme-capabilities, namespace: {} }}", fixture.namespace);
    fixture.bed.apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {name}\nstringData: {reply}\n"))?;
    all.shown("AirGap", "Pro", TAKEN_UP)?;
    // The Secret is a volume of its own, so the pod was rolled: it reports before its Service leads to it.
    fixture.ready("health")?;
    wait_for("the relay's Service", MIRRORED, || {
        let asked = relay::client()?.get(format!("{}/health", all.relay.url)).send();
        Ok(asked.map(drop).map_err(|error| error.to_string()))
    })?;
    all.mirrored("AirGap", "Pro", TAKEN_UP)?;
    for what in COURIER {
        ensure!(!fixture.exists(what)?, "there is {what}, though nothing may leave");
    }
    Ok(())
}

/// The relay, and what its resource says of it.
pub(crate) struct Everything<'a> {
    fixture: &'a Fixture<'a>,
    image: String,
    pub(crate) relay: Relay,
    /// Further accounts.
    users: Vec<Relay>,
}

impl<'a> Everything<'a> {
    /// A relay of the test world that names the licence `acme`.
    pub(crate) fn new(fixture: &'a Fixture<'a>, online: &str) -> Result<Self> {
        let image = fixture.bed.image("paramant-relay-testworld")?.to_owned();
        license(fixture, online)?;
        fixture.bed.apply(&fixture.manifest("health", &image, "  licenseRef: { name: acme }\n"))?;
        fixture.ready("health")?;
        let relay = fixture.connect("health")?;
        Ok(Self { fixture, image, relay, users: Vec::new() })
    }

    /// Makes accounts while there is a licence for them.
    fn admit(&mut self, users: usize) -> Result<()> {
        for number in 0..users {
            let label = format!("e2e-user-{number}");
            self.users.push(Relay::with_new_key(&self.relay.url, &self.fixture.token, &label)?);
        }
        Ok(())
    }

    /// Nobody who has an account is cut off; one more is admitted, or refused in so many words.
    fn users_go_on(&self, source: &str) -> Result<()> {
        for user in &self.users {
            user.roundtrip(2000).with_context(|| format!("an account in {source}"))?;
        }
        if source == "None" && !self.users.is_empty() {
            let refused = Relay::with_new_key(&self.relay.url, &self.fixture.token, "e2e-one-more");
            let why = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
            ensure!(why.contains("402"), "one more account beyond Community Edition: {why:?}");
        }
        Ok(())
    }

    /// Moves the licence clock.
    fn clock(&self, seconds: i64) -> Result<()> {
        let clock = self.fixture.data_folder("health")?.join(CLOCK);
        Ok(std::fs::write(clock, seconds.to_string())?)
    }

    /// What the relay's metric says, if it says anything.
    fn seconds_until_expiry(&self) -> Result<Option<i64>> {
        let metrics =
            format!("/api/v1/namespaces/{}/pods/health-0:9090/proxy/metrics", self.fixture.namespace);
        let text = self.fixture.bed.kubectl(&["get", "--raw", &metrics])?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("paramant_license_seconds_until_expiry "));
        value.map(|value| value.parse().context("the metric is no number")).transpose()
    }

    /// Waits until relay and licence show a state, and sees that transfers, the log and drain work in it.
    fn mirrored(&self, source: &str, tier: &str, patience: Duration) -> Result<()> {
        self.shown(source, tier, patience)?;
        let state = if source == "None" {
            "Community"
        } else if source == "Cache" {
            "Grace"
        } else {
            "Active"
        };
        wait_for(&format!("the licence to say {state}"), MIRRORED, || {
            let seen = self.fixture.field("plic/acme", "/status/relays/0/state")?;
            Ok(if seen == state { Ok(()) } else { Err(seen.to_string()) })
        })?;
        self.relay.roundtrip(20_000)?;
        self.users_go_on(source)?;
        let ready = self.fixture.condition("health", "Ready")?.unwrap_or_default();
        if ready.0 != "True" {
            bail!("in {source} the relay is not ready: {ready:?}");
        }
        self.drains(source)?;
        self.relay.public("/log/checkpoint").map(drop)
    }

    /// Waits until the relay's status says where its licence comes from.
    pub(crate) fn shown(&self, source: &str, tier: &str, patience: Duration) -> Result<()> {
        wait_for(&format!("status to say {source} {tier}"), patience, || {
            let seen = self.fixture.field("prelay/health", "/status/license")?;
            let fits = seen["source"] == source && seen["tier"] == tier;
            Ok(if fits { Ok(()) } else { Err(seen.to_string()) })
        })
    }

    /// Waits for what the licence says of its check-ins.
    fn reachable(&self, status: &str, reason: &str) -> Result<()> {
        wait_for(&format!("Reachable to be {status} ({reason})"), TAKEN_UP, || {
            let conditions = self.fixture.field("plic/acme", "/status/conditions")?;
            let found =
                conditions.as_array().into_iter().flatten().find(|it| it["type"] == "Reachable").cloned();
            let found = found.unwrap_or_default();
            let fits = found["status"] == status && found["reason"] == reason;
            Ok(if fits { Ok(()) } else { Err(found.to_string()) })
        })
    }

    fn last_check_in(&self) -> Result<Value> {
        self.fixture.field("plic/acme", "/status/relays/0/lastCheckIn")
    }

    /// A drain refuses uploads and is taken back, whatever the licence.
    fn drains(&self, source: &str) -> Result<()> {
        let (bed, namespace) = (self.fixture.bed, &self.fixture.namespace);
        crate::demo::patch_drain(bed, namespace, "health", "true")?;
        self.relay.wait_refusing(MIRRORED).with_context(|| format!("a drain in {source}"))?;
        crate::demo::patch_drain(bed, namespace, "health", "null")?;
        wait_for(&format!("uploads after a drain in {source}"), MIRRORED, || {
            let (bytes, digest) = relay::random_blob(2000)?;
            let (status, body) = self.relay.upload(&bytes, &digest)?;
            Ok(if status == 200 { Ok(()) } else { Err(format!("{status}: {body}")) })
        })
    }

    /// Applies the relay once more, with further lines of its spec.
    fn apply(&self, more: &str) -> Result<()> {
        let spec = format!("  licenseRef: {{ name: acme }}\n{more}");
        self.fixture.bed.apply(&self.fixture.manifest("health", &self.image, &spec))?;
        Ok(())
    }
}

/// Everything else that may leave, beside the licence.
struct Switched {
    _receiver: webhooks::Receiver,
    _witness: witnesses::Lite,
    _directory: tempfile::TempDir,
}

impl Switched {
    /// Witnesses and webhooks, each seen to be carried.
    fn on(all: &Everything<'_>, vendor: &Vendor<'_>) -> Result<Self> {
        let (bed, directory) = (all.fixture.bed, tempfile::tempdir()?);
        let node = bed.node_address()?;
        let mut receiver = webhooks::Receiver::start(bed, directory.path())?;
        let witness =
            witnesses::Lite::start(bed, directory.path(), &node, 1, &witnesses::Log::of(&all.relay)?)?;
        all.apply(&format!("{}{}", receiver.spec()?, witnesses::spec(&node, &[&witness])?))?;
        witnesses::said(all.fixture, "True", "Quorum", "")?;
        witnesses::witnessed(&all.relay, witnesses::upload(&all.relay)?, 1)?;
        wait_for("webhooks to be taken", TAKEN_UP, || {
            let (status, answer) = webhooks::register(&all.relay, "phone", "/told", webhooks::SECRET)?;
            Ok(if status == 200 { Ok(()) } else { Err(format!("{status}: {answer}")) })
        })?;
        let told = receiver.told(&webhooks::upload(&all.relay, "phone")?)?;
        ensure!(told["signed"] == true, "the call was {told}");
        // Turned on beside them, the licence goes on.
        let before = vendor.record()?.len();
        check_in(all.fixture, &all.relay)?;
        wait_for("a check-in beside the others", TAKEN_UP, || {
            let now = vendor.record()?.len();
            Ok(if now > before { Ok(()) } else { Err(format!("still {now}")) })
        })?;
        Ok(Self { _receiver: receiver, _witness: witness, _directory: directory })
    }

    fn off(self, all: &Everything<'_>) -> Result<()> {
        all.apply("")?;
        all.fixture.wait_gone(&["deployment/health-courier-witness", "deployment/health-courier-webhook"])
    }
}

/// Telemetry as a Git pipeline switches it on: a preview is shown, its digest is agreed to, and those bytes are sent. Answers the digests
/// agreed to, and how many check-ins carried numbers.
fn telemetry(all: &Everything<'_>, vendor: &Vendor<'_>) -> Result<(Vec<String>, usize)> {
    let fixture = all.fixture;
    let with = || -> Result<usize> {
        Ok(vendor.record()?.iter().filter(|it| it.telemetry.contains("true")).count())
    };
    ensure!(with()? == 0, "telemetry was sent before anybody agreed to it");
    let preview = lists::sha256(&admin_bytes(fixture, &all.relay, "/v2/admin/telemetry/preview")?);
    let consent =
        serde_json::json!({ "enabled": true, "consent": { "schema": 1, "previewSha256": preview } });
    license(fixture, &format!("{}  telemetry: {consent}\n", vendor.online()))?;
    wait_for("the consent to count", TAKEN_UP, || {
        let conditions = fixture.field("plic/acme", "/status/conditions")?;
        let consented =
            conditions.as_array().into_iter().flatten().find(|it| it["type"] == "TelemetryConsented");
        Ok(match consented {
            Some(it) if it["status"] == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })?;
    check_in(fixture, &all.relay)?;
    wait_for("telemetry at the authority", TAKEN_UP, || {
        let with = with()?;
        Ok(if with > 0 { Ok(()) } else { Err("no check-in carried any".to_owned()) })
    })?;
    all.mirrored("Online", "Pro", MIRRORED)?;
    Ok((vec![preview], with()?))
}

/// A signed refusal is told at once, and takes nothing away before the set's own end; what is paid again counts again.
fn unpaid(all: &Everything<'_>, vendor: &Vendor<'_>, key: &str) -> Result<()> {
    vendor.paid(key, false)?;
    check_in(all.fixture, &all.relay)?;
    all.reachable("True", "Refused")?;
    all.mirrored("Online", "Pro", MIRRORED)?;
    vendor.paid(key, true)?;
    check_in(all.fixture, &all.relay)?;
    all.reachable("True", "CheckedIn")?;
    all.mirrored("Online", "Pro", MIRRORED)
}

/// `kubectl paramant license` shows what counts and what is sent next.
fn shown_by_the_plugin(bed: &Bed, fixture: &Fixture<'_>) -> Result<()> {
    let next = fixture.field("plic/acme", "/status/relays/0/nextRequestSha256")?;
    let next = next.as_str().context("no next request")?.to_owned();
    for (arguments, expected) in [
        (&["license"][..], ["acme", "Pro", "Online"]),
        (&["license", "acme"][..], ["health", "Active", next.as_str()]),
    ] {
        let mut command = std::process::Command::new(bed.binary("kubectl-paramant"));
        command.args(arguments).args(["-n", &fixture.namespace]).env("KUBECONFIG", bed.kubeconfig());
        let text =
            process::run(&mut command, None, Duration::from_secs(30))?.success("kubectl paramant license")?;
        for word in expected {
            ensure!(text.contains(word), "kubectl paramant {arguments:?} does not show {word}:\n{text}");
        }
    }
    Ok(())
}

/// Milliseconds from the first look at which the relay grants another number of users to the first at which status shows it; the
/// longest of three.
pub(crate) fn latency(all: &Everything<'_>, vendor: &Vendor<'_>, key: &str) -> Result<u128> {
    let mut longest = 0;
    for users in [61, 62, 63] {
        vendor.resell(key, users)?;
        check_in(all.fixture, &all.relay)?;
        wait_for("the relay to grant it", TAKEN_UP, || {
            let report = admin(all.fixture, &all.relay, "/v2/admin/license")?;
            Ok(if report["maxUsers"] == users { Ok(()) } else { Err(report.to_string()) })
        })?;
        let changed = Instant::now();
        wait_for("status to show it", TAKEN_UP, || {
            let seen = all.fixture.field("prelay/health", "/status/license/maxUsers")?;
            Ok(if seen == users { Ok(()) } else { Err(seen.to_string()) })
        })?;
        longest = longest.max(changed.elapsed().as_millis());
    }
    Ok(longest)
}

pub(crate) fn admin(fixture: &Fixture<'_>, relay: &Relay, path: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&admin_bytes(fixture, relay, path)?)?)
}

pub(crate) fn admin_bytes(fixture: &Fixture<'_>, relay: &Relay, path: &str) -> Result<Vec<u8>> {
    let asked = relay::client()?.get(format!("{}{path}", relay.url)).header("X-Admin-Token", &fixture.token);
    Ok(asked.send()?.error_for_status()?.bytes()?.to_vec())
}

pub(crate) fn check_in(fixture: &Fixture<'_>, relay: &Relay) -> Result<()> {
    let url = format!("{}/v2/admin/license/check-in", relay.url);
    relay::client()?.post(url).header("X-Admin-Token", &fixture.token).send()?.error_for_status()?;
    Ok(())
}

pub(crate) fn license(fixture: &Fixture<'_>, online: &str) -> Result<()> {
    fixture.bed.apply(&format!(
        "apiVersion: paramant.app/v1alpha1\nkind: ParamantLicense\nmetadata: {{ name: acme, namespace: {} }}\nspec:\n  secretRef: {{ name: acme-license }}\n{online}",
        fixture.namespace
    ))?;
    Ok(())
}

pub(crate) fn secret(fixture: &Fixture<'_>, licence: &str) -> Result<()> {
    fixture.bed.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: acme-license, namespace: {} }}\nstringData: {{ licence: {licence} }}\n",
        fixture.namespace
    ))?;
    Ok(())
}
