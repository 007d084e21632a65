//! A vendor: the reference authority, listening, and a relay that asks it under a clock of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramant_authority::answer::Authority;
use paramant_authority::book::Recorded;
use paramant_authority::decide::{Standing, usual};
use paramant_authority::{keys, serve};
use paramant_licensing::OnlineKey;
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::keys::LicensingKeys;
use paramant_protocol::control::{LicenseReport, LicenseSource};
use paramant_relay::settings::{OnlineSettings, Reach, Settings};
use paramant_relay::world::World;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::relay::{Relay, until};
use crate::witness::loopback_tls;

/// An authority that listens, and what a relay must know of it.
pub struct Vendor {
    pub authority: Arc<Authority>,
    pub key: OnlineKey,
    pub address: SocketAddr,
    ca_pem: String,
    pinned: LicensingKeys,
    server: JoinHandle<()>,
    data: TempDir,
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Vendor {
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let data = TempDir::new().unwrap();
        let authority = Arc::new(Authority::open(data.path()).unwrap());
        let now = Timestamp::now();
        let signer = keys::add(&authority.keys(), now, now + SignedDuration::from_hours(24 * 400)).unwrap();
        let key = authority.book.sell("Acme", &usual(Tier::Pro), now).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (tls, ca_pem) = loopback_tls();
        let server = tokio::spawn(serve::on(socket, authority.clone(), tls));
        Self { authority, key, address, ca_pem, pinned: LicensingKeys::of([signer.public]), server, data }
    }

    pub fn online(&self, reach: Reach) -> OnlineSettings {
        OnlineSettings {
            endpoint: format!("https://{}/v1/license/check", self.address).parse().unwrap(),
            interval: Duration::from_secs(6 * 3600),
            ca_bundle: Some(self.ca_pem.clone()),
            reach,
        }
    }

    pub fn world(&self, clock: &Clock) -> World {
        World { online: self.pinned.clone(), ..clock.world() }
    }

    /// All that it keeps, as bytes.
    pub fn files(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.data.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                all.extend(std::fs::read(path).unwrap());
            }
        }
        all
    }

    pub fn checks(&self) -> Vec<Recorded> {
        let all = self.authority.book.record().unwrap();
        all.into_iter().filter(|row| row.what == "check_in" || row.what == "fault").collect()
    }

    pub fn stand(&self, standing: Standing) {
        self.authority
            .book
            .change(&self.key, "changed", Timestamp::now(), |licence| licence.standing = standing)
            .unwrap();
    }

    pub fn sell(&self, tier: Tier, users: u64) {
        let change = |licence: &mut paramant_authority::book::Licence| {
            licence.sold = usual(tier);
            licence.sold.capabilities.max_users = users;
        };
        self.authority.book.change(&self.key, "tier", Timestamp::now(), change).unwrap();
    }
}

/// How far the relay's clock is off, in seconds.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    /// The release's world by this clock.
    pub fn world(&self) -> World {
        let offset = self.0.clone();
        let wall = move || Timestamp::now() + SignedDuration::from_secs(offset.load(Ordering::SeqCst));
        World { wall: Arc::new(wall), ..World::default() }
    }
}

pub fn licence_directory(dir: &TempDir) -> PathBuf {
    dir.path().join("licence")
}

/// Settings of a relay that asks this vendor.
pub fn asking(vendor: &Vendor, settings: &mut Settings, directory: PathBuf) {
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("licence"), vendor.key.expose()).unwrap();
    settings.license_directory = Some(directory);
    settings.online = Some(Arc::new(vendor.online(Reach::Direct)));
}

pub async fn relay_over(vendor: &Vendor, clock: &Clock, dir: TempDir) -> Relay {
    let directory = licence_directory(&dir);
    Relay::in_world(vendor.world(clock), dir, |settings| asking(vendor, settings, directory)).await
}

pub async fn relay(vendor: &Vendor, clock: &Clock) -> Relay {
    relay_over(vendor, clock, TempDir::new().unwrap()).await
}

pub fn report(relay: &Relay) -> LicenseReport {
    relay.running.app.store.license_report()
}

pub async fn ask(relay: &Relay) {
    relay.running.app.store.check_ins.ask_now().await.unwrap();
}

/// Asks, and waits until the vendor has answered once more.
pub async fn ask_and_wait(relay: &Relay, vendor: &Vendor) {
    let before = vendor.checks().len();
    ask(relay).await;
    until("the vendor answered", async || vendor.checks().len() > before).await;
}

pub async fn online(relay: &Relay) {
    until("a set counts", async || report(relay).source == LicenseSource::Online).await;
}
