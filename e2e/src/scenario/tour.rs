//! The tour of docs/operate.md: what an on-call engineer, an admin and a vendor do to a relay in a year, under traffic.
//!
//! A signed release is followed in a window, an unsigned one refused, one is approved with `kubectl patch`, two broken ones roll
//! back by themselves, an admin goes back while a release settles and after it wrote, drains are toggled, and the operator is
//! upgraded. Traffic never stops; at the end each acknowledged upload is read once, and kstatus judged every status in between.

mod images;
mod record;
mod traffic;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use self::{record::Recorder, traffic::Traffic};
use super::{fixture::Fixture, operator};
use crate::{
    bed::Bed,
    demo::{SYSTEM, patch_drain, release},
    process::wait_for,
    steps::Seen,
    steps::seen,
};

const RELAY: &str = "tour";
/// The pod of the tour's relay.
const POD: &str = "pod/tour-0";
/// A drain, a new pod and its first answers, on a busy machine.
const ROLL: Duration = Duration::from_secs(120);
/// What docs/operate.md promises of connections that find nobody while a pod is replaced.
const NOBODY_AT_MOST: Duration = Duration::from_secs(15);
/// How long a new pod is watched where nothing is to be seen in that time.
const SETTLE: &str = "20s";
/// Long enough for a person to change their mind, and for the release that dies after 50 s to do so.
const LONG_SETTLE: &str = "90s";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "tour")?;
    let tour = Tour::new(&fixture)?;
    tour.policy(&json!({ "mode": "Window", "windows": [opens_in(SignedDuration::from_hours(6))] }))?;
    tour.install()?;
    let relay = fixture.connect(RELAY)?;
    let recorder = Recorder::start(bed, &fixture.namespace, RELAY)?;
    let traffic = Traffic::start(&relay);
    let mut told = Vec::new();
    let parts: [(&str, Part<'_>); 8] = [
        ("window", Tour::window),
        ("unsigned", Tour::unsigned),
        ("approval and a release that dies", Tour::approval),
        ("a release that forgets", Tour::forgets),
        ("a release that never starts", Tour::never_starts),
        ("no way back", Tour::way_back),
        ("drain", Tour::drain),
        ("operator upgrade", Tour::operator),
    ];
    for (name, part) in parts {
        let began = std::time::Instant::now();
        part(&tour, &traffic).with_context(|| format!("tour: {name}"))?;
        told.push(format!("{name} {:.0} s", began.elapsed().as_secs_f64()));
    }
    let tally = traffic.settle()?;
    if tally.longest_gap > NOBODY_AT_MOST {
        bail!(
            "for {:?} nobody answered; docs/operate.md says {NOBODY_AT_MOST:?}: {}",
            tally.longest_gap,
            tally.story
        );
    }
    let judged = recorder.judge(bed)?;
    let audited = super::auditors::fsck(bed, &relay.url)?;
    seen((), format!("{}; {tally}; {judged}; {audited}", told.join(", ")))
}

/// One station of the tour.
type Part<'a> = fn(&Tour<'a>, &Traffic) -> Result<()>;

/// The relay of the tour, and the images it may meet.
struct Tour<'a> {
    fixture: &'a Fixture<'a>,
    /// 1.0 and 1.1 as the vendor names them.
    first: String,
    second: String,
}

impl<'a> Tour<'a> {
    fn new(fixture: &'a Fixture<'a>) -> Result<Self> {
        let bed = fixture.bed;
        Ok(Tour {
            fixture,
            first: images::tag(bed.image("paramant-relay")?, "tour-1.0")?,
            second: images::tag(bed.image("paramant-relay-next")?, "tour-1.1")?,
        })
    }

    fn install(&self) -> Result<()> {
        let more = "  policyRef: { name: tour }\n  limits: { requestsPerMinute: 100000 }\n";
        self.fixture.bed.apply(&self.fixture.manifest(RELAY, &self.first, more))?;
        // The first pod serves nobody yet, so it waits for no window.
        self.fixture.ready(RELAY)?;
        self.at_rest()?;
        let verified = self.status("/image/verified/key")?;
        if verified.as_str().unwrap_or_default().is_empty() {
            bail!("status does not say which key signed what runs: {verified}");
        }
        Ok(())
    }

    /// 1.1 waits for its window, and goes when it opens.
    fn window(&self, traffic: &Traffic) -> Result<()> {
        let before = self.pod()?;
        self.want(&self.second)?;
        self.blocked("OutsideWindow")?;
        let relay = format!("prelay/{RELAY}");
        let limit = Duration::from_secs(30);
        self.fixture.bed.wait_condition(&self.fixture.namespace, &relay, "UpdateAvailable", limit)?;
        if self.pod()? != before {
            bail!("the pod was replaced outside the window");
        }
        let opens = opens_in(SignedDuration::from_secs(20));
        self.policy(&json!({ "mode": "Window", "windows": [opens], "settle": LONG_SETTLE }))?;
        self.runs("paramant-relay-next", Duration::from_secs(90) + ROLL)?;
        self.writes(traffic)?;
        // An admin changes their mind while it settles: 1.0 comes back, with what was written in 1.1.
        let plugin = self.fixture.bed.binary("kubectl-paramant");
        let mut rollback = std::process::Command::new(plugin);
        rollback.args(["-n", &self.fixture.namespace, "rollback", RELAY]);
        rollback.envs(self.fixture.bed.shell_environment()?);
        crate::process::run(&mut rollback, None, Duration::from_secs(30))?
            .success("kubectl paramant rollback")?;
        self.runs("paramant-relay", ROLL)?;
        self.writes(traffic)?;
        self.at_rest()?;
        self.policy(&json!({ "mode": "Window", "windows": [opens] }))?;
        self.update(&json!({ "pin": null }))?;
        self.runs("paramant-relay-next", ROLL)?;
        self.at_rest()
    }

    /// What nobody signed does not run.
    fn unsigned(&self, _: &Traffic) -> Result<()> {
        let before = self.pod()?;
        let unsigned = images::tag(self.fixture.bed.image("paramant-relay-unsigned")?, "tour-unsigned")?;
        self.want(&unsigned)?;
        self.blocked("SignatureInvalid")?;
        std::thread::sleep(Duration::from_secs(3));
        if self.pod()? != before {
            bail!("an unsigned image reached the pod");
        }
        self.want(&self.second)?;
        self.at_rest()
    }

    /// 1.2 needs a person's word, given by kubectl alone; it dies after a while, and 1.1 comes back by itself.
    fn approval(&self, _: &Traffic) -> Result<()> {
        self.policy(&json!({ "mode": "Approval", "settle": LONG_SETTLE }))?;
        let dies = self.fixture.bed.image("paramant-relay-dies")?.to_owned();
        self.want(&images::tag(&dies, "tour-1.2")?)?;
        self.blocked("AwaitingApproval")?;
        let digest = dies.rsplit('@').next().unwrap_or_default();
        self.update(&json!({ "approve": { "digest": digest } }))?;
        self.runs("paramant-relay-dies", ROLL)?;
        self.rolled_back("paramant-relay-next", digest)
    }

    /// One that comes up with fewer entries in its log than were seen is no update.
    fn forgets(&self, _: &Traffic) -> Result<()> {
        self.policy(&json!({ "mode": "Manual" }))?;
        self.broken("paramant-relay-forgets")
    }

    /// One that never comes up does not stay.
    fn never_starts(&self, _: &Traffic) -> Result<()> {
        self.broken("crash")
    }

    fn broken(&self, image: &str) -> Result<()> {
        let pinned = self.fixture.bed.image(image)?.to_owned();
        self.want(&pinned)?;
        self.rolled_back("paramant-relay-next", pinned.rsplit('@').next().unwrap_or_default())
    }

    /// What 1.1 wrote after it had settled 1.0 cannot read: the way back is closed, and the operator says so.
    fn way_back(&self, traffic: &Traffic) -> Result<()> {
        self.writes(traffic)?;
        self.policy(&json!({ "mode": "Manual", "allowDowngrade": true }))?;
        let before = self.pod()?;
        self.want(&self.first)?;
        self.blocked("CannotReadData")?;
        if self.pod()? != before {
            bail!("a release that cannot read the data replaced one that can");
        }
        self.want(&self.second)?;
        self.at_rest()
    }

    fn drain(&self, _: &Traffic) -> Result<()> {
        let (bed, namespace) = (self.fixture.bed, &self.fixture.namespace);
        patch_drain(bed, namespace, RELAY, "true")?;
        bed.wait_condition(namespace, &format!("prelay/{RELAY}"), "Drained", Duration::from_secs(60))?;
        patch_drain(bed, namespace, RELAY, "null")?;
        wait_for("the drain to be lifted", Duration::from_secs(30), || {
            let state = self.status("/drain/state")?;
            Ok(if state == "Serving" { Ok(()) } else { Err(state.to_string()) })
        })
    }

    /// The chart brings another operator and takes it back; the relay's pod does not notice.
    fn operator(&self, traffic: &Traffic) -> Result<()> {
        let (bed, before) = (self.fixture.bed, self.pod()?);
        release(bed, "paramant-operator-next", &[])?;
        self.operated_by("paramant-operator-next")?;
        self.writes(traffic)?;
        bed.helm(&["rollback", "paramant", "--namespace", SYSTEM, "--wait", "--timeout", "120s"])?;
        self.operated_by("paramant-operator")?;
        self.writes(traffic)?;
        self.at_rest()?;
        if self.pod()? != before {
            bail!("upgrading the operator changed the relay's pod");
        }
        Ok(())
    }

    /// Waits until the pod that leads runs this image, and no other pod of the operator is left.
    fn operated_by(&self, image: &str) -> Result<()> {
        let bed = self.fixture.bed;
        let wanted = bed.image(image)?.rsplit('@').next().unwrap_or_default().to_owned();
        wait_for(&format!("{image} to lead"), Duration::from_secs(60), || {
            let (leader, _) = operator::leader(bed)?;
            let pods = operator::pods(bed)?;
            let runs = |pod: &Value| {
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
                image.ends_with(&wanted) && pod["metadata"]["name"] == leader
            };
            Ok(if pods.len() == 1 && pods.iter().all(runs) { Ok(()) } else { Err(format!("{leader} leads")) })
        })
    }

    /// Waits until a failed release is gone again, rejected by name, and the relay at rest as it was before.
    fn rolled_back(&self, good: &str, rejected: &str) -> Result<()> {
        wait_for("the broken release to be rejected", ROLL * 2, || {
            let all = self.status("/update/rejected")?;
            let named = all.as_array().is_some_and(|all| all.iter().any(|one| one["digest"] == rejected));
            Ok(if named { Ok(()) } else { Err(format!("{all}; {}", self.message()?)) })
        })?;
        self.runs(good, ROLL)?;
        self.blocked("RejectedDigest")?;
        self.want(&self.second)?;
        self.at_rest()
    }

    fn policy(&self, updates: &Value) -> Result<()> {
        let mut updates = updates.clone();
        if updates["settle"].is_null() {
            updates["settle"] = json!(SETTLE);
        }
        updates["healthTimeout"] = json!("30s");
        let policy = json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
            "metadata": { "name": "tour", "namespace": self.fixture.namespace },
            "spec": { "updates": updates, "drain": { "deadline": "60s", "settle": "1s" } },
        });
        self.fixture.bed.apply(&policy.to_string())?;
        Ok(())
    }

    /// A person, or a pipeline, names an image.
    fn want(&self, image: &str) -> Result<()> {
        self.patch(&json!({ "spec": { "image": image } }))
    }

    fn update(&self, wish: &Value) -> Result<()> {
        self.patch(&json!({ "spec": { "update": wish } }))
    }

    fn patch(&self, patch: &Value) -> Result<()> {
        let namespace = &self.fixture.namespace;
        let patch = patch.to_string();
        let words = ["-n", namespace, "patch", "prelay", RELAY, "--type=merge"];
        self.fixture
            .bed
            .kubectl(&[&words[..], &["--field-manager=paramant-admin", "-p", &patch]].concat())?;
        Ok(())
    }

    fn status(&self, pointer: &str) -> Result<Value> {
        self.fixture.field(&format!("prelay/{RELAY}"), &format!("/status{pointer}"))
    }

    fn message(&self) -> Result<String> {
        Ok(self.status("/message")?.as_str().unwrap_or_default().to_owned())
    }

    /// UID and restarts of the pod.
    fn pod(&self) -> Result<(String, u64)> {
        let pod = self.fixture.bed.get(&self.fixture.namespace, POD)?;
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        Ok((pod["metadata"]["uid"].to_string(), restarts.unwrap_or_default()))
    }

    /// Waits until a ready pod runs the image.
    fn runs(&self, image: &str, limit: Duration) -> Result<()> {
        let digest = self.fixture.bed.image(image)?.rsplit('@').next().unwrap_or_default().to_owned();
        wait_for(&format!("{image} to run"), limit, || {
            let pod = self.fixture.bed.get(&self.fixture.namespace, POD)?;
            let runs = pod["spec"]["containers"][0]["image"].as_str().is_some_and(|it| it.ends_with(&digest));
            let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
            Ok(if runs && ready { Ok(()) } else { Err(self.message()?) })
        })
    }

    fn blocked(&self, reason: &str) -> Result<()> {
        wait_for(&format!("UpdateBlocked for {reason}"), Duration::from_secs(60), || {
            Ok(match self.fixture.condition(RELAY, "UpdateBlocked")? {
                Some((status, said, _)) if status == "True" && said == reason => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
    }

    fn at_rest(&self) -> Result<()> {
        wait_for("the relay to be at rest", ROLL, || {
            let (step, phase) = (self.status("/update/step")?, self.status("/phase")?);
            Ok(if step == "Idle" && phase == "Ready" {
                Ok(())
            } else {
                Err(format!("{step} {phase}: {}", self.message()?))
            })
        })
    }

    /// Waits until the release that runs has acknowledged uploads.
    fn writes(&self, traffic: &Traffic) -> Result<()> {
        let before = traffic.acknowledged();
        wait_for("uploads to be acknowledged", Duration::from_secs(30), || {
            let now = traffic.acknowledged();
            Ok(if now >= before + 10 { Ok(()) } else { Err(format!("{} so far", now - before)) })
        })
    }
}

/// A window of four hours, every day, whose minute comes not before so long.
pub(super) fn opens_in(wait: SignedDuration) -> Value {
    let minute = Timestamp::now() + wait + SignedDuration::from_secs(60);
    let start = minute.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string();
    json!({ "start": start, "duration": "4h", "timeZone": "Etc/UTC" })
}
