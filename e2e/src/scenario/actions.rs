//! What a vendor can ask of a relay, each from the authority's command line to its effect: a support key, a drain, another capability
//! set, an offered update, and what is none of the four. Before any effect the request lies under a published checkpoint.

mod evidence;
mod leftovers;

use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};

use leftovers::Unread;

use super::{
    fixture::Fixture,
    license::{self, check_in, vendor::Vendor},
    plugin::person::Person,
    tour::opens_in,
};
use crate::{
    bed::Bed,
    demo::patch_drain,
    process::wait_for,
    relay::{self, Relay},
    steps::{Seen, seen},
};

/// A Secret or ConfigMap, a check-in and a report.
const TAKEN_UP: Duration = Duration::from_secs(240);
/// What needs a report and a reconcile.
const SOON: Duration = Duration::from_secs(30);
/// An update from its window to its end.
const ROLL: Duration = Duration::from_secs(180);
/// An admin who ends a support session waits no longer.
const CUT: Duration = Duration::from_secs(1);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "actions")?;
    let vendor = Vendor::install(bed)?;
    let asked = Asked::new(&fixture, &vendor)?;
    let mut unread = Unread::send(&fixture, &asked.relay)?;
    let (session, cut, support) = asked.support_key(&mut unread)?;
    let drain = asked.drain(&mut unread)?;
    let widened = asked.capability("pro", "Pro", 70)?;
    let left = unread.nothing_is_left()?;
    let window = asked.offer_in_a_window()?;
    let narrowed = asked.capability("enterprise", "Enterprise", 80)?;
    let approved = asked.offer_that_is_approved()?;
    let other = asked.none_of_the_four()?;
    let ids = [&session, &drain, &widened.0, &window, &narrowed.0, &approved, &other];
    evidence::audited(bed, &asked.relay, &vendor.keys()?, &ids.map(String::as_str))?;
    seen(
        (),
        format!(
            "support key: {support}, cut {} ms after the admin's word without an authority; capability set: {}; two offers taken: one in the \
             window, one approved; what is none of the four refused; {left}; an audit with the vendor's keys and all judges agree",
            cut.as_millis(),
            widened.1
        ),
    )
}

/// A relay with an online licence, and who asks and answers.
struct Asked<'a> {
    fixture: &'a Fixture<'a>,
    vendor: &'a Vendor<'a>,
    relay: Relay,
    admin: Person<'a>,
    /// The licence key.
    key: String,
    /// What the authority knows the relay by.
    fingerprint: String,
}

impl<'a> Asked<'a> {
    fn new(fixture: &'a Fixture<'a>, vendor: &'a Vendor<'a>) -> Result<Self> {
        let key = vendor.sell()?;
        license::secret(fixture, &key)?;
        license::license(fixture, &vendor.online())?;
        policy(fixture, "Ask", Some(SignedDuration::from_hours(6)))?;
        let image = fixture.bed.image("paramant-relay-testworld")?;
        let spec = "  licenseRef: { name: acme }\n  policyRef: { name: production }\n  channel: stable\n  limits: { maxBlob: 32Mi }\n";
        fixture.bed.apply(&fixture.manifest("health", image, spec))?;
        fixture.ready("health")?;
        let relay = fixture.connect("health")?;
        let fingerprint = fixture.field("prelay/health", "/status/identity/fingerprint")?;
        let fingerprint = fingerprint.as_str().context("the relay has no fingerprint")?.to_owned();
        let admin = Person::admin(fixture.bed, &fixture.namespace)?;
        let asked = Self { fixture, vendor, relay, admin, key, fingerprint };
        asked.tier("Pro")?;
        Ok(asked)
    }

    /// Asks, has it fetched, and answers its id.
    fn ask(&self, what: &[&str]) -> Result<(String, Value)> {
        let made = self.vendor.ask(&self.fingerprint, what)?;
        let id = made["id"].as_str().with_context(|| format!("no id in {made}"))?.to_owned();
        check_in(self.fixture, &self.relay)?;
        Ok((id, made))
    }

    /// Waits until the request is shown as waiting, in the role it was made in.
    fn pending(&self, id: &str, role: &str) -> Result<()> {
        wait_for(&format!("{id} to be shown as waiting"), SOON, || {
            let actions = self.fixture.field("prelay/health", "/status/remoteActions")?;
            let found = actions["pending"].as_array().into_iter().flatten().find(|it| it["id"] == id);
            Ok(match found {
                Some(it) if it["role"] == role => Ok(()),
                other => Err(format!("{other:?} in {actions}")),
            })
        })?;
        wait_for("the condition RemoteActionPending", SOON, || {
            Ok(match self.fixture.condition("health", "RemoteActionPending")? {
                Some((status, _, message))
                    if status == "True" && message.contains("kubectl paramant allow") =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            })
        })
    }

    /// Waits until status says what became of it.
    fn outcome(&self, id: &str, outcome: &str) -> Result<()> {
        wait_for(&format!("{id} to be {outcome}"), SOON, || {
            let recent = self.fixture.field("prelay/health", "/status/remoteActions/recent")?;
            let found = recent.as_array().into_iter().flatten().find(|it| it["id"] == id);
            Ok(if found.is_some_and(|it| it["outcome"] == outcome) {
                Ok(())
            } else {
                Err(recent.to_string())
            })
        })
    }

    fn order(&self, id: &str, effect: &str) -> Result<evidence::Order> {
        evidence::order(self.fixture, &self.relay, id, effect)
    }

    fn tier(&self, tier: &str) -> Result<()> {
        wait_for(&format!("the licence to be {tier}"), TAKEN_UP, || {
            let seen = self.fixture.field("prelay/health", "/status/license")?;
            Ok(if seen["tier"] == tier { Ok(()) } else { Err(seen.to_string()) })
        })
    }

    /// Waits, works once it is allowed, and is cut off within a second of the admin's word though no authority is there to hear of it.
    fn support_key(&self, unread: &mut Unread<'_>) -> Result<(String, Duration, evidence::Order)> {
        let (id, made) = self.ask(&["support-key", "--reason", "support-case", "--hours", "1"])?;
        let secret = made["secret"].as_str().context("no secret was printed")?;
        self.pending(&id, "Support")?;
        ensure!(self.diagnostics(secret)? == 401, "a support key worked before anybody agreed to it");
        self.admin.paramant(&format!("allow health {id}"))?;
        wait_for("the support key to work", SOON, || {
            let status = self.diagnostics(secret)?;
            Ok(if status == 200 { Ok(()) } else { Err(status.to_string()) })
        })?;
        self.outcome(&id, "Accepted")?;
        self.support_state(&id, "Active")?;
        let order = self.order(&id, "support_key_issued")?;
        let ended = self.watch(secret)?;
        unread.read(2)?;
        self.vendor.present(false)?;
        ensure!(ended.try_recv().is_err(), "the session ended before anybody revoked it");
        self.admin.paramant(&format!("revoke-support-key health {id}"))?;
        let said = Instant::now();
        let cut =
            ended.recv_timeout(SOON).context("a revoked session goes on")?.saturating_duration_since(said);
        ensure!(cut <= CUT, "the session went on for {cut:?}");
        ensure!(self.diagnostics(secret)? == 401, "a revoked key still works");
        self.support_state(&id, "Revoked")?;
        self.vendor.present(true)?;
        Ok((id, cut, order))
    }

    fn support_state(&self, id: &str, state: &str) -> Result<()> {
        wait_for(&format!("status to say that the key is {state}"), SOON, || {
            let keys = self.fixture.field("prelay/health", "/status/support")?;
            let found = keys.as_array().into_iter().flatten().find(|it| it["keyId"] == id);
            Ok(if found.is_some_and(|it| it["state"] == state) { Ok(()) } else { Err(keys.to_string()) })
        })
    }

    fn diagnostics(&self, secret: &str) -> Result<u16> {
        let asked = relay::client()?.get(format!("{}/v2/support/health", self.relay.url));
        Ok(asked.header("X-Support-Key", secret).send()?.status().as_u16())
    }

    /// A session that runs on; says when it ended.
    fn watch(&self, secret: &str) -> Result<Receiver<Instant>> {
        let http = reqwest::blocking::Client::builder().no_proxy().timeout(None).build()?;
        let asked = http.get(format!("{}/v2/support/watch", self.relay.url)).header("X-Support-Key", secret);
        let mut answer = asked.send()?.error_for_status()?;
        let (tell, ended) = mpsc::channel();
        thread::spawn(move || {
            // Cut off in the middle or ended in good order: either is an end.
            let _ = std::io::copy(&mut answer, &mut std::io::sink());
            tell.send(Instant::now()).ok();
        });
        Ok(ended)
    }

    /// Waits, counts once it is allowed, loses against `spec.drain: false`, and ends when the vendor says so.
    fn drain(&self, unread: &mut Unread<'_>) -> Result<String> {
        let bed = self.fixture.bed;
        let (id, _) = self.ask(&["drain", "on", "--reason", "maintenance", "--role", "owner"])?;
        self.pending(&id, "Owner")?;
        self.relay.roundtrip(2000).context("while the drain waits")?;
        self.admin.paramant(&format!("allow health {id}"))?;
        self.relay.wait_refusing(SOON)?;
        self.drained_by("Vendor", true)?;
        unread.read(2)?;
        self.order(&id, "drain_changed")?;
        patch_drain(bed, &self.fixture.namespace, "health", "false")?;
        self.taking("under spec.drain: false")?;
        patch_drain(bed, &self.fixture.namespace, "health", "null")?;
        self.relay.wait_refusing(SOON).context("the vendor's drain counts again")?;
        policy(self.fixture, "Allow", Some(SignedDuration::from_hours(6)))?;
        let (end, _) = self.ask(&["drain", "off", "--reason", "maintenance", "--role", "owner"])?;
        self.outcome(&end, "Accepted")?;
        self.taking("after the vendor ended its drain")?;
        self.drained_by("Vendor", false)?;
        Ok(id)
    }

    fn drained_by(&self, source: &str, expected: bool) -> Result<()> {
        wait_for("status to say who drains", SOON, || {
            let by = self.fixture.field("prelay/health", "/status/drain/requestedBy")?;
            let found = by.as_array().is_some_and(|all| all.iter().any(|it| it == source));
            Ok(if found == expected { Ok(()) } else { Err(by.to_string()) })
        })
    }

    fn taking(&self, when: &str) -> Result<()> {
        wait_for(&format!("uploads {when}"), SOON, || {
            Ok(self.relay.roundtrip(2000).map_err(|error| format!("{error:#}")))
        })
    }

    /// What is sold anew is a request like any other, and counts once it is logged.
    fn capability(&self, tier: &str, shown: &str, users: u64) -> Result<(String, evidence::Order)> {
        self.vendor.resell_as(&self.key, tier, users)?;
        check_in(self.fixture, &self.relay)?;
        wait_for(&format!("{users} users in status"), TAKEN_UP, || {
            let seen = self.fixture.field("prelay/health", "/status/license")?;
            let fits = seen["tier"] == shown && seen["maxUsers"] == users;
            Ok(if fits { Ok(()) } else { Err(seen.to_string()) })
        })?;
        let recent = self.fixture.field("prelay/health", "/status/remoteActions/recent")?;
        let newest = recent.as_array().into_iter().flatten().find(|it| it["kind"] == "capability_set");
        let id = newest
            .and_then(|it| it["id"].as_str())
            .with_context(|| format!("no capability set in {recent}"))?;
        Ok((id.to_owned(), self.order(id, "capability_changed")?))
    }

    /// Under Pro an offer waits for the window and is taken in it; the vendor learns of it by the version of the next check-in.
    fn offer_in_a_window(&self) -> Result<String> {
        let pod = self.fixture.field("pod/health-0", "/metadata/uid")?;
        let (id, digest) = self.offer("paramant-relay-testworld-next", "0.2.0-testworld", "1")?;
        self.step("WaitingForWindow")?;
        ensure!(
            self.fixture.field("pod/health-0", "/metadata/uid")? == pod,
            "an offer was taken outside the window"
        );
        self.order(&id, "update_offered")?;
        policy(self.fixture, "Allow", None)?;
        self.runs(&digest)?;
        wait_for("the authority to learn the version", TAKEN_UP, || {
            let last = self.vendor.record()?.last().map(|it| it.version.clone());
            Ok(if last.as_deref() == Some("0.2.0") { Ok(()) } else { Err(format!("{last:?}")) })
        })?;
        Ok(id)
    }

    /// Under Enterprise it waits for an approval of its digest and its number.
    fn offer_that_is_approved(&self) -> Result<String> {
        let pod = self.fixture.field("pod/health-0", "/metadata/uid")?;
        let (id, digest) = self.offer("paramant-relay-testworld-last", "0.2.1-testworld", "2")?;
        self.step("WaitingForApproval")?;
        ensure!(
            self.fixture.field("pod/health-0", "/metadata/uid")? == pod,
            "an offer was taken without approval"
        );
        let approval =
            json!({ "spec": { "update": { "approve": { "digest": digest, "sequence": 2 } } } }).to_string();
        let admin = "--field-manager=paramant-admin";
        let namespace = &self.fixture.namespace;
        self.fixture.bed.kubectl(&[
            "-n",
            namespace,
            "patch",
            "prelay",
            "health",
            "--type=merge",
            admin,
            "-p",
            &approval,
        ])?;
        self.runs(&digest)?;
        Ok(id)
    }

    fn offer(&self, image: &str, version: &str, sequence: &str) -> Result<(String, String)> {
        let image = self.fixture.bed.image(image)?;
        let digest = image.rsplit('@').next().unwrap_or_default();
        let notes = "ab".repeat(32);
        let (id, _) = self.ask(&[
            "offer",
            "--reason",
            "release",
            "--role",
            "owner",
            "--version",
            version,
            "--digest",
            digest,
            "--sequence",
            sequence,
            "--notes-sha256",
            &notes,
        ])?;
        wait_for("status to show the offer", SOON, || {
            let shown = self.fixture.field("prelay/health", "/status/update/available")?;
            let fits = shown["digest"] == digest && shown["version"] == version;
            Ok(if fits { Ok(()) } else { Err(shown.to_string()) })
        })?;
        Ok((id, digest.to_owned()))
    }

    fn step(&self, step: &str) -> Result<()> {
        wait_for(&format!("the update to be {step}"), SOON, || {
            let update = self.fixture.field("prelay/health", "/status/update")?;
            Ok(if update["step"] == step { Ok(()) } else { Err(update.to_string()) })
        })
    }

    fn runs(&self, digest: &str) -> Result<()> {
        wait_for("the offered release to run and settle", ROLL, || {
            let status = self.fixture.field("prelay/health", "/status")?;
            let pod = self.fixture.field("pod/health-0", "/spec/containers/0/image")?;
            let runs = pod.as_str().is_some_and(|it| it.ends_with(digest));
            let rests = status["update"]["step"] == "Idle" && status["phase"] == "Ready";
            Ok(if runs && rests { Ok(()) } else { Err(format!("{pod}: {}", status["message"])) })
        })?;
        self.taking("from the offered release")
    }

    /// Takes its place in the chain, is logged and refused, and nothing follows.
    fn none_of_the_four(&self) -> Result<String> {
        let (id, _) = self.ask(&["other", "--kind", "open_shell", "--reason", "security"])?;
        self.outcome(&id, "Refused")?;
        self.order(&id, "remote_action_refused")?;
        let told = evidence::told(self.fixture, &self.relay, &id)?;
        if told["state"] != "Refused" {
            bail!("the admin is told of it as {told}");
        }
        self.relay.roundtrip(2000)?;
        Ok(id)
    }
}

/// Asks for support keys always, for drains as said; updates by tier, in a window that opens so much later, or at once.
fn policy(fixture: &Fixture<'_>, drain: &str, opens: Option<SignedDuration>) -> Result<()> {
    let windows: Vec<Value> = opens.map(opens_in).into_iter().collect();
    let spec = json!({
        "remoteActions": { "drain": drain },
        "updates": { "mode": "ByTier", "windows": windows, "settle": "5s", "healthTimeout": "60s" },
        "drain": { "deadline": "60s", "settle": "1s" },
    });
    // Applied whole: answers of the admin that stand in the sets are another manager's, and stay.
    fixture.policy("production", &spec.to_string())
}
