//! What a vendor asked of a relay whose log takes nothing, and of one that comes from a backup: nothing is done that is not logged, and
//! nothing that an older life of the relay was doing goes on unseen.
//!
//! A log that really runs full needs a small file system of its own, which only root can mount; without that right the test says so and
//! passes.

use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use paramant_licensing::actions::Ask;
use paramant_protocol::control::{RemoteAnswer, RemoteState, SupportState};
use paramant_protocol::entry::body::{Decision, Document, VendorSilence};
use paramant_protocol::entry::{self, Body, Kind};
use paramant_relay::adoption::{Request, adopt};
use paramant_relay::backup::{backup, restore};
use paramant_relay::log_service::Entry;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{Relay, noise, until};
use crate::remote_actions::{
    answer, count, decisions, drain, drains, end, hears, offer, relay_with, rules, settled, started,
    state_of, support, told, wants, with_key,
};
use crate::vendor::{Vendor, ask, asking, licence_directory, report};

const SUPPORT: &str = "/v2/support";

/// A file system in memory with room for two segments of the log, unmounted when dropped.
struct Volume(PathBuf);

impl Volume {
    /// Over a directory of a relay that has ended; what it holds stays visible.
    fn mount(at: &Path) -> Option<Self> {
        let segments: Vec<_> = std::fs::read_dir(at).unwrap().map(|file| file.unwrap().path()).collect();
        let segments = segments.into_iter().filter(|path| path.extension().is_some_and(|it| it == "wal"));
        let kept: Vec<_> = segments
            .map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(&path).unwrap()))
            .collect();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=70m", "tmpfs"]).arg(at).status();
        let mounted = mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()));
        for (name, bytes) in kept.into_iter().filter(|_| mounted.is_some()) {
            std::fs::write(at.join(name), bytes).unwrap();
        }
        // Beside the segment that there is one more can be made, and no third, though the first is soon needed no more.
        mounted.inspect(Self::hold)
    }

    /// The segments that there are stay, also those that the log needs no more: what is full stays full.
    fn hold(&self) {
        let held = self.0.join("held");
        std::fs::create_dir_all(&held).unwrap();
        for file in std::fs::read_dir(&self.0).unwrap().map(Result::unwrap) {
            let segment = file.path().extension().is_some_and(|it| it == "wal");
            if segment {
                drop(std::fs::hard_link(file.path(), held.join(file.file_name())));
            }
        }
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=200m"]).arg(&self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a relay that is still ending may hold files.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Appends until the log takes no more; answers why.
async fn fill(relay: &Relay, volume: &Volume) -> String {
    let padding = json!({ "signature": "a".repeat(11_000), "type": "padding" }).to_string();
    let statement = Document::parse(padding.as_bytes()).unwrap();
    let body = Body::VendorSilence(VendorSilence { statement });
    let entry = entry::Entry::with_body(body, Timestamp::now()).unwrap();
    let entry = Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
    for _ in 0..100 {
        volume.hold();
        let log = &relay.running.app.core.log;
        let batch = futures::future::join_all((0..100).map(|_| log.append(entry.clone()))).await;
        if let Some(Err(error)) = batch.into_iter().find(Result::is_err) {
            return error.to_string();
        }
    }
    panic!("the log was not filled");
}

/// All entries but those that [`fill`] made, which are thousands.
fn but_the_padding(relay: &Relay) -> Vec<entry::Entry> {
    let log = &relay.running.app.core.log;
    let all = (0..log.head().size).map(|index| log.engine().entry(index).unwrap().unwrap());
    let small = all.filter(|entry| entry.bytes.len() < 10_000);
    small.map(|entry| entry::Entry::parse(&entry.bytes).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_while_the_log_takes_nothing_and_all_of_it_once_afterwards() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let dir = relay.stop().await;
    let Some(volume) = Volume::mount(&dir.path().join("data/log/wal")) else {
        println!("skipped: this user may not mount a small file system");
        return;
    };
    let relay = relay_with(&vendor, &clock, dir, rules(RemoteAnswer::Ask)).await;
    let (secrets, keys): (Vec<_>, Vec<_>) = [support(&relay), support(&relay)].into_iter().unzip();
    let [live, key] = <[Ask; 2]>::try_from(keys).unwrap();
    let live = wants(&vendor, &relay, live);
    assert_eq!(hears(&relay, &live.id).await, RemoteState::Waiting);
    assert_eq!(answer(&relay, &live.id, "approve").await, StatusCode::ACCEPTED);
    // The drain first: its effect alone has no entry of its own that could hold it back.
    let asks = [drain(true, Some(3600)), key, Ask::UpdateOffer(Box::new(offer(1))), drain(true, Some(7200))];
    let made = asks.map(|ask| wants(&vendor, &relay, ask));
    hears(&relay, &made[3].id).await;

    let why = fill(&relay, &volume).await;
    assert!(why.contains("segment"), "{why}");
    let size = relay.running.app.core.log.head().size;
    // Three are agreed to; of the last an admin says first yes and then no, while neither can be written down.
    for (request, said) in made[..3].iter().map(|it| (it, "approve")).chain([(&made[3], "deny")]) {
        assert_eq!(answer(&relay, &request.id, said).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    for request in &made {
        assert_eq!(state_of(&relay, &request.id), Some(RemoteState::Waiting), "{}", request.kind);
    }
    // A support key ends at once all the same: that needs no log.
    assert_eq!(with_key(&relay, SUPPORT, secrets[0].expose()).await, StatusCode::OK);
    assert_eq!(end(&relay, &live.id).await, StatusCode::OK);
    assert_eq!(with_key(&relay, SUPPORT, secrets[0].expose()).await, StatusCode::UNAUTHORIZED);
    // Nobody is asked anything either: that a question leaves is an entry first.
    let asked = vendor.checks().len();
    ask(&relay).await;
    let in_force = async || {
        let key = with_key(&relay, SUPPORT, secrets[1].expose()).await == StatusCode::OK;
        (key, told(&relay).offer.is_some(), drains(&relay))
    };
    assert_eq!(in_force().await, (false, false, false));
    assert_eq!((relay.running.app.core.log.head().size, vendor.checks().len()), (size, asked));

    volume.grow();
    until("all of it is in force", async || in_force().await == (true, true, true)).await;
    settled(&relay).await;
    assert_eq!(state_of(&relay, &made[3].id), Some(RemoteState::Denied));
    let all = but_the_padding(&relay);
    let count = |kind: Kind| all.iter().filter(|entry| entry.kind() == kind).count();
    let kinds = [Kind::VendorRequest, Kind::SupportKeyIssued, Kind::SupportKeyRevoked, Kind::UpdateOffered];
    assert_eq!(kinds.map(count), [5, 2, 1, 1]);
    let decided = |decision| {
        let is = |entry: &&entry::Entry| matches!(entry.body(), Some(Body::VendorRequestDecided(it)) if it.decision == decision);
        all.iter().filter(is).count()
    };
    assert_eq!([Decision::Approved, Decision::Denied].map(decided), [4, 1]);
    relay.stop().await;
}

/// Another data directory with what a backup of this relay holds.
fn restored(copy: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    restore(&dir.path().join("data"), copy).unwrap();
    dir
}

fn copied(relay: &Relay) -> Vec<u8> {
    let mut copy = Vec::new();
    backup(&relay.dir.path().join("data"), &mut copy).unwrap();
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_from_a_backup_hears_again_what_it_missed_and_acts_once_in_its_new_log() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let (old_secret, key) = support(&relay);
    let old = [key, drain(true, None)].map(|ask| wants(&vendor, &relay, ask));
    hears(&relay, &old[1].id).await;
    for request in &old {
        assert_eq!(answer(&relay, &request.id, "approve").await, StatusCode::ACCEPTED);
    }
    assert!(drains(&relay));
    let copy = copied(&relay);
    // After it: the admin ends both, and agrees to two more requests.
    for request in &old {
        assert_eq!(end(&relay, &request.id).await, StatusCode::OK);
    }
    let (new_secret, key) = support(&relay);
    let new = [key, drain(true, Some(3600))].map(|ask| wants(&vendor, &relay, ask));
    hears(&relay, &new[1].id).await;
    for request in &new {
        assert_eq!(answer(&relay, &request.id, "approve").await, StatusCode::ACCEPTED);
    }
    let name = relay.running.app.core.log.origin().to_owned();
    relay.stop().await;

    let dir = restored(&copy);
    adopt(&dir.path().join("data"), Request { retire: &name, origin: None }).unwrap();
    let relay = relay_with(&vendor, &clock, dir, rules(RemoteAnswer::Ask)).await;
    assert_eq!(hears(&relay, &new[1].id).await, RemoteState::Waiting, "it is asked again");
    assert_eq!(told(&relay).sequence, 4);
    for secret in [&old_secret, &new_secret] {
        assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::UNAUTHORIZED);
    }
    assert!(!drains(&relay));
    for request in &old {
        assert_eq!(state_of(&relay, &request.id), Some(RemoteState::Lapsed), "{}", request.kind);
        assert_eq!(answer(&relay, &request.id, "approve").await, StatusCode::NOT_FOUND);
    }
    assert_eq!(told(&relay).support[0].state, SupportState::Expired);
    // The new log holds what came after the backup, and the vendor does not contradict itself in it.
    assert_eq!((count(&relay, Kind::VendorRequest), decisions(&relay)), (2, Vec::new()));
    assert_eq!(told(&relay).problems, Vec::<String>::new());
    for request in &new {
        assert_eq!(answer(&relay, &request.id, "approve").await, StatusCode::ACCEPTED);
    }
    settled(&relay).await;
    assert_eq!(with_key(&relay, SUPPORT, new_secret.expose()).await, StatusCode::OK);
    assert!(drains(&relay));
    let kinds = [Kind::LogAdopted, Kind::VendorRequest, Kind::SupportKeyIssued];
    assert_eq!(kinds.map(|kind| count(&relay, kind)), [1, 2, 1]);
    assert_eq!(decisions(&relay), [Decision::Approved; 2]);
    // A second restart changes nothing more.
    let relay = relay_with(&vendor, &clock, relay.stop().await, rules(RemoteAnswer::Ask)).await;
    settled(&relay).await;
    assert_eq!((count(&relay, Kind::VendorRequest), drains(&relay)), (2, true));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_goes_on_with_the_log_of_its_backup_has_in_force_what_that_log_shows() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    let (secret, key) = support(&relay);
    let made = [key, drain(true, None)].map(|ask| wants(&vendor, &relay, ask));
    assert_eq!(hears(&relay, &made[1].id).await, RemoteState::Accepted);
    let user = relay.user().await;
    until("a checkpoint covers all", async || {
        let log = &relay.running.app.core.log;
        log.published().is_some_and(|it| it.head.size == log.head().size)
    })
    .await;
    // Nothing is signed after the backup: the relay is gone in the same moment.
    let dir = relay.stop().await;
    let mut copy = Vec::new();
    backup(&dir.path().join("data"), &mut copy).unwrap();
    let last = wants_of(&vendor, &dir, drain(false, None));

    let dir = restored(&copy);
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        rules(RemoteAnswer::Allow)(settings);
    })
    .await;
    until("what the log shows is in force", async || drains(&relay)).await;
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::OK);
    let shown = async || told(&relay).support.first().is_some_and(|key| key.state == SupportState::Active);
    until("and it is told", shown).await;
    assert_eq!(hears(&relay, &last).await, RemoteState::Accepted);
    assert!(!drains(&relay));
    let user = crate::relay::User { url: relay.url.clone(), ..user };
    assert_eq!(user.upload(&noise(1, 10), json!({})).await.status(), StatusCode::OK);
    assert_eq!((count(&relay, Kind::VendorRequest), count(&relay, Kind::SupportKeyIssued)), (3, 1));
    assert!(report(&relay).problems.is_empty());
    relay.stop().await;
}

/// The vendor asks something of a relay that does not run; answers the request's id.
fn wants_of(vendor: &Vendor, dir: &TempDir, ask: Ask) -> String {
    let open = rusqlite::Connection::open(dir.path().join("data/meta.db")).unwrap();
    let sent: Vec<u8> =
        open.query_row("SELECT request FROM check_ins LIMIT 1", [], |row| row.get(0)).unwrap();
    let relay = paramant_licensing::online::request::CheckIn::parse(&sent).unwrap().relay_id;
    let by = crate::remote_actions::by();
    let lasts = paramant_authority::requests::USUAL;
    let asking = paramant_authority::requests::Asking { relay, ask, by, lasts };
    let signer = vendor.authority.signer().unwrap();
    vendor.authority.book.ask(&asking, &signer, Timestamp::now()).unwrap().id
}
