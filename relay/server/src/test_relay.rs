//! A relay without its listeners, for tests that must hold a step still where HTTP cannot.

use std::process::Command;
use std::time::Duration;

use aws_lc_rs::digest;
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use crate::app::{App, Core, OpenError, Shared};
use crate::settings::{Control, Settings, SettingsHandle};
use crate::store::blob_rows::{Asked, Space};
use crate::store::{AccountId, Digest, Release};
use crate::transfer::{Accepted, Access, Claimed, Terms, Transfers, UploadError, Wanted};

/// Whose uploads these are, unless a test says otherwise.
pub(crate) const ACCOUNT: AccountId = AccountId([1; 16]);

/// Everything but the listeners.
pub(crate) struct TestRelay {
    pub(crate) app: Shared,
    dir: TempDir,
}

impl TestRelay {
    pub(crate) async fn start() -> Self {
        Self::over(TempDir::new().unwrap()).await
    }

    pub(crate) async fn over(dir: TempDir) -> Self {
        let mut settings = Settings::default();
        settings.limits.min_free_disk = 0;
        let core = Core::open(dir.path(), SettingsHandle::fixed(settings)).unwrap();
        Self { app: App::open(core).await.unwrap(), dir }
    }

    /// A relay that an operator updates, as `release`.
    pub(crate) async fn operated(dir: TempDir, release: Release) -> Result<Self, (OpenError, TempDir)> {
        let mut settings = Settings::default();
        settings.limits.min_free_disk = 0;
        settings.control = Some(Control { operator_ca: dir.path().join("ca.pem"), token_file: None });
        let mut core = Core::open(dir.path(), SettingsHandle::fixed(settings)).unwrap();
        core.release = release;
        let (log, data) = (core.log.clone(), core.data.clone());
        match App::open(core).await {
            Ok(app) => Ok(Self { app, dir }),
            Err(error) => {
                tokio::task::spawn_blocking(move || log.close()).await.unwrap();
                data.release();
                Err((error, dir))
            }
        }
    }

    /// Ends in order and starts again over what is on disk.
    pub(crate) async fn restart(self) -> Self {
        Self::over(self.stop().await).await
    }

    /// Ends in order; the directory stays.
    pub(crate) async fn stop(self) -> TempDir {
        let Self { app, dir } = self;
        app.store.close().await;
        let log = app.core.log.clone();
        tokio::task::spawn_blocking(move || log.close()).await.unwrap();
        app.core.data.release();
        dir
    }

    pub(crate) fn transfers(&self) -> &Transfers {
        &self.app.store.transfers
    }

    /// Uploads bytes for [`ACCOUNT`] under their own hash: one view, a minute.
    pub(crate) async fn upload(&self, payload: &[u8]) -> Accepted {
        self.upload_for(payload, Duration::from_secs(60)).await.unwrap()
    }

    pub(crate) async fn upload_for(&self, payload: &[u8], ttl: Duration) -> Result<Accepted, UploadError> {
        let mut receiving = self.transfers().receive(payload.len() as u64, 10_000_000).unwrap();
        receiving.push(payload).await.unwrap();
        let (received, unfinished) = receiving.end().unwrap();
        let terms = Terms {
            account: ACCOUNT,
            space: Space::Content,
            lookup: received.hash,
            hash: received.hash,
            ttl,
            views: 1,
            device: None,
            sig_valid: false,
            quota: None,
            access: Access::default(),
            strict: false,
        };
        self.transfers().accept(terms, unfinished).await
    }

    /// A lease for [`ACCOUNT`], once there is one to be had.
    pub(crate) async fn lease(&self, payload: &[u8]) -> Claimed {
        let asked = Asked::ByName { account: ACCOUNT, lookup: hash(payload) };
        for _ in 0..200 {
            if let Some(claimed) = self.transfers().claim(asked, None, |_| Wanted::Whole).await.unwrap() {
                return claimed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("there was no view to lease");
    }
}

pub(crate) fn hash(payload: &[u8]) -> Digest {
    Digest(digest::digest(&digest::SHA256, payload).as_ref().try_into().unwrap())
}

/// Takes every byte of a lease, which completes it.
pub(crate) async fn read(claimed: Claimed) -> Vec<u8> {
    claimed.body.collect().await.unwrap().to_bytes().to_vec()
}

/// Waits until something has happened.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut happened: impl FnMut() -> F) {
    for _ in 0..300 {
        if happened().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain until {what}");
}

/// Polls `work` until `far_enough`, then drops it unfinished, as hyper does when the client hangs up.
pub(crate) async fn hang_up_when<T, F: Future<Output = bool>>(
    work: impl Future<Output = T>,
    mut far_enough: impl FnMut() -> F,
) {
    let mut work = Box::pin(work);
    for _ in 0..2000 {
        assert!(futures::poll!(&mut work).is_pending(), "it ended before the client hung up");
        // What was polled is given time to happen, and its answer is not looked at.
        tokio::time::sleep(Duration::from_millis(5)).await;
        if far_enough().await {
            return;
        }
    }
    panic!("it never came as far as the test needs");
}

/// Runs `body` in a process of its own (this test again) and answers how that ended.
pub(crate) fn exit_code_of(test: &str, body: impl FnOnce()) -> Option<i32> {
    const CHILD: &str = "PARAMANT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        body();
        std::process::exit(0);
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap().status.code()
}
