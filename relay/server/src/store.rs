//! What a relay keeps: metadata in SQLite, sealed payloads in files, their keys in slots, and who may use them.
//!
//! The order of writing is the promise: bytes, file and directory synced, then the row `pending`, then the log entry, then the
//! row `live`, then the answer. The order of destroying is slot, row, file, log entry. [`Store::open`] finishes what a crash
//! left half done in either direction before the first request. The start-up code opens and closes it; handlers reach its
//! parts through [`crate::app::App::store`].

pub mod action_rows;
pub mod activity_rows;
pub mod audit_rows;
pub mod blob_rows;
pub mod blobs;
pub(crate) mod call_rows;
pub mod chunk_rows;
pub mod claim_rows;
pub mod evidence_rows;
pub mod holdings;
mod ids;
pub mod license_rows;
pub mod link_rows;
pub mod memory;
pub mod meta;
pub(crate) mod migrations;
pub mod queue_rows;
pub mod receipt_rows;
mod rows_and_log;
pub mod seal;
pub mod slots;
pub mod told_rows;
pub mod upload_rows;
pub mod usage_rows;
pub mod webhook_rows;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use paramant_protocol::control::{DataReport, LicenseReport};
use paramant_protocol::id::ReceiptId;

use self::blob_rows::BlobRow;
use self::blobs::{BlobFiles, BlobStore};
use self::call_rows::Caller;
use self::evidence_rows::Evidence;
use self::holdings::Holdings;
pub use self::ids::{AccountId, BlobId, ClaimId, Digest, HookId, random_download_token, random_receipt_id};
use self::memory::MemoryBlobs;
use self::meta::{Meta, MetaError, MetaOpenError};
pub(crate) use self::migrations::Release;
pub use self::migrations::{NeedError, Schema};
use self::receipt_rows::Receipted;
use self::rows_and_log::CompareError;
pub use self::rows_and_log::Torn;
use self::slots::{KeySlots, Slot, SlotError};
use crate::account_views::AccountViews;
use crate::accounts::Accounts;
use crate::actions::{ActionError, Actions};
use crate::app::Core;
use crate::devices::Devices;
use crate::dids::Dids;
use crate::invitations::Invitations;
use crate::license::Licenses;
use crate::license::check_in::{CheckInError, CheckIns};
use crate::outbound::calls::Calls;
use crate::panel_sessions::PanelSessions;
use crate::passwords::Passwords;
use crate::plans::Hourly;
use crate::public::credentials::signed::Nonces;
use crate::public::transfer::anonymous::AnonymousUploads;
use crate::rates::RateLimits;
use crate::receipts::copies::Copies;
use crate::sessions::Sessions;
use crate::settings::Payload;
use crate::setup_code::AdminAccess;
use crate::transfer::Transfers;
use crate::unattended::Unattended;
use crate::webhooks::Webhooks;

/// Where the three kinds of things are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Rows.
    pub meta: Meta,
    /// Payload keys.
    pub keys: Arc<KeySlots>,
    /// Sealed payloads.
    pub payloads: Arc<dyn BlobStore>,
}

/// Everything below the handlers that outlives a request.
#[derive(Debug)]
pub struct Store {
    vault: Vault,
    unattended: Unattended,
    /// Users and their API keys.
    pub accounts: Accounts,
    /// Device keys.
    pub devices: Devices,
    /// What account holders see of what happened.
    pub views: AccountViews,
    /// Who is told of uploads by calls.
    pub webhooks: Webhooks,
    /// DIDs that sign requests.
    pub dids: Dids,
    /// Nonces of signed requests.
    pub nonces: Nonces,
    /// Who is admin.
    pub admin: AdminAccess,
    /// Uploads, claims, burns.
    pub transfers: Transfers,
    /// What the licence grants.
    pub licenses: Licenses,
    /// The online check.
    pub check_ins: CheckIns,
    /// What the vendor asked.
    pub actions: Actions,
    /// How often each caller may ask.
    pub rates: RateLimits,
    /// How often an address may try a code of the second factor.
    pub code_rates: RateLimits,
    /// How often an address may ask whether a key is valid.
    pub guess_rates: RateLimits,
    /// Wrong admin tokens on the page that takes them, per address.
    pub sign_in_rates: RateLimits,
    /// Downloads of this hour, while plans limit them.
    pub hourly: Hourly,
    /// Passwords of blobs.
    pub passwords: Passwords,
    /// How often each address uploads without a key.
    pub anonymous: AnonymousUploads,
    /// Two devices that share a secret meet here.
    pub sessions: Sessions,
    /// Keys under the ids of invitations.
    pub invitations: Invitations,
    /// What the last receipts said.
    pub copies: Copies,
    /// Who is signed in to the admin's pages.
    pub panel: PanelSessions,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaOpenError),
    /// A file or directory.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Rows speak of entries that the log does not hold. Exit code 70.
    #[error(transparent)]
    Torn(#[from] Torn),
    /// The database is not there, and what stands beside it shows that it was.
    #[error(
        "{} is missing, though {} beside it shows that there was one: put it back, or restore the newest backup with \
         'paramant-relay restore' into another directory. Nothing was changed", meta.display(), slots.display()
    )]
    NoMeta {
        /// The database.
        meta: PathBuf,
        /// The key file.
        slots: PathBuf,
    },
    /// The key file is not whole.
    #[error(transparent)]
    ShortSlots(#[from] ShortSlots),
    /// What is known of the licence.
    #[error("what is known of the licence cannot be read: {0}")]
    License(#[from] CheckInError),
    /// What the vendor asked.
    #[error("what the vendor asked cannot be read: {0}")]
    Actions(#[from] ActionError),
    /// What a crash left could not be put right.
    #[error("what the last run left could not be put right: {0}")]
    Recovery(#[from] RecoveryError),
    /// Who is admin could not be told.
    #[error("admin access: {0}")]
    Admin(#[from] crate::setup_code::SetupError),
}

/// Rows of payloads that are there name slots that are not. Only a key file that was cut or lost leaves this: it grows before
/// a row speaks of what is in it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} ends after {held} slots, and {rows} payloads that nobody has read have their keys behind its end. Put the whole file back. \
     If it is lost, so are they: 'truncate -s {bytes} {}' makes room for empty slots, and the next start burns these payloads, \
     in the log, as lost", path.display(), path.display()
)]
pub struct ShortSlots {
    path: PathBuf,
    held: u32,
    rows: u64,
    bytes: u64,
}

impl From<CompareError> for OpenError {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::Torn(torn) => torn.into(),
            CompareError::Read(error) => error.into(),
        }
    }
}

/// Why the pass at start stopped.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The key file.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The payload files.
    #[error("payload files: {0}")]
    Files(#[from] io::Error),
    /// The log.
    #[error("the log: {0}")]
    Log(#[from] crate::log_service::LogError),
    /// The system has no randomness, or an entry could not be written.
    #[error("{0}")]
    Entry(#[from] crate::entries::EntryError),
}

impl From<rusqlite::Error> for RecoveryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl Store {
    /// Opens or creates the store, finishes what a crash left half done, and starts its writers and its sweep.
    ///
    /// # Errors
    /// When a file cannot be opened or holds something that this release cannot read.
    pub async fn open(core: &Core) -> Result<Self, OpenError> {
        let vault = Vault::open(core).await?;
        let licenses = open_licenses(core, &vault.meta).await?;
        let unattended = Unattended::default();
        let (meta, log) = (|| vault.meta.clone(), || core.log.clone());
        let accounts = Accounts::load(meta(), log(), licenses.clone(), unattended.clone());
        let accounts = accounts.await.map_err(RecoveryError::from)?;
        let actions = Actions::new(core, vault.meta.clone(), licenses.clone());
        let check_ins =
            CheckIns::new(core, vault.meta.clone(), licenses.clone(), accounts.clone(), actions.clone());
        check_ins.recall().await?;
        let devices = Devices::new(meta(), log(), unattended.clone());
        let dids = Dids::new(meta(), log(), unattended.clone());
        let admin = AdminAccess::open(meta(), log(), core.settings.clone(), unattended.clone()).await?;
        let transfers = Transfers::open(core.clone(), vault.clone(), unattended.clone()).await?;
        devices.recover().await?;
        dids.recover().await?;
        let contradictions = vault.meta.read(|c| Ok::<_, RecoveryError>(evidence_rows::count(c)?)).await?;
        core.metrics.contradictions(contradictions);
        let (views, webhooks) = (AccountViews::new(meta()), Webhooks::new(core, meta()));
        Ok(Self {
            vault,
            unattended,
            accounts,
            devices,
            views,
            webhooks,
            dids,
            nonces: Nonces::default(),
            admin,
            transfers,
            licenses,
            check_ins,
            actions,
            rates: RateLimits::default(),
            code_rates: RateLimits::default(),
            guess_rates: RateLimits::default(),
            sign_in_rates: RateLimits::default(),
            hourly: Hourly::default(),
            passwords: Passwords::default(),
            anonymous: AnonymousUploads::default(),
            sessions: Sessions::default(),
            invitations: Invitations::default(),
            copies: Copies::default(),
            panel: PanelSessions::default(),
        })
    }

    /// Waits for its writers to finish; called once, after the last request.
    pub async fn close(&self) {
        self.transfers.end_sweep().await;
        self.unattended.close().await;
        let vault = self.vault.clone();
        let closing = tokio::task::spawn_blocking(move || {
            vault.keys.close();
            vault.meta.close();
        });
        drop(closing.await);
    }

    /// The entry that a log receipt is for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn receipt(&self, id: ReceiptId) -> Result<Option<Receipted>, MetaError> {
        self.vault.meta.read(move |c| Ok(receipt_rows::find(c, &id)?)).await
    }

    /// Keeps a document that contradicts the log; answers how many there are.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn keep_evidence(&self, sha256: Digest, evidence: Evidence) -> Result<i64, MetaError> {
        let keep = move |c: &rusqlite::Connection| {
            evidence_rows::insert(c, sha256, &evidence)?;
            Ok::<_, MetaError>(evidence_rows::count(c)?)
        };
        self.vault.meta.write(keep).await
    }

    /// Every document that contradicts the log.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn evidence(&self) -> Result<Vec<Evidence>, MetaError> {
        self.vault.meta.read(|c| Ok(evidence_rows::all(c)?)).await
    }

    /// Uploads of each account in a month.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn usage(&self, month: String) -> Result<Vec<(AccountId, u32)>, MetaError> {
        self.vault.meta.read(move |c| Ok(usage_rows::in_month(c, &month)?)).await
    }

    /// How many of what there are, over all accounts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn holdings(&self) -> Result<Holdings, MetaError> {
        self.vault.meta.read(|c| Ok(holdings::count(c)?)).await
    }

    /// Which releases can read the data, and how far they may be used.
    #[must_use]
    pub fn data_report(&self) -> DataReport {
        self.vault.meta.schema().report()
    }

    /// `commit-upgrade`. Blocks.
    ///
    /// # Errors
    /// When it cannot be made durable; then nothing more is committed.
    pub fn commit_schema(&self, asked: u32) -> Result<(), MetaError> {
        self.vault.meta.commit_schema(asked)
    }

    /// Reads a blob's row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reads_blobs(&self) -> Result<(), MetaError> {
        self.vault.meta.read(|c| Ok(holdings::read_blobs(c)?)).await
    }

    /// Reads a row of an audit chain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reads_audit(&self) -> Result<(), MetaError> {
        self.vault.meta.read(|c| Ok(holdings::read_audit(c)?)).await
    }

    /// Accounts with at least one active key.
    #[must_use]
    pub fn active_users(&self) -> u64 {
        self.accounts.active()
    }

    /// Bytes that may still be written where payloads are, if the volume says so.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.vault.payloads.free_bytes().ok()
    }

    /// Blobs nobody has read yet.
    #[must_use]
    pub fn unclaimed_blobs(&self) -> u64 {
        self.transfers.in_flight().blobs
    }

    /// How a person who just started this relay gets a first API key. Holds no secret.
    #[must_use]
    pub fn first_key_hint(&self, url: &str) -> String {
        let make = format!("curl -X POST -H 'X-Admin-Token: …' {url}/v2/admin/keys");
        if self.admin.awaits_setup() {
            format!(
                "curl {url}/v3/setup -d '{{\"code\":\"…\"}}' with the setup_code in the log below, then {make}"
            )
        } else {
            make
        }
    }

    /// Calls that the log has no entry of yet.
    pub(crate) async fn calls(&self, caller: Caller) -> Result<Vec<Calls>, MetaError> {
        self.vault.meta.read(move |c| Ok::<_, MetaError>(call_rows::sums(c, caller)?)).await
    }

    /// What the licence grants now.
    #[must_use]
    pub fn license_report(&self) -> LicenseReport {
        let license = self.licenses.current();
        LicenseReport {
            tier: license.state.tier().into(),
            source: license.state.source(),
            max_users: license.state.cap().limit(),
            active_users: self.accounts.active(),
            capabilities: license.state.capabilities(),
            valid_until: license.state.valid_until(),
            grace_until: license.state.grace_until(),
            problems: license.problems,
            issued_to: license.state.issued_to().map(str::to_owned),
            check_in: self.check_ins.report(),
        }
    }
}

/// The licences, with the clock's floor as it was kept.
async fn open_licenses(core: &Core, meta: &Meta) -> Result<Licenses, OpenError> {
    let kept = meta.read(|c| Ok::<_, RecoveryError>(license_rows::floor(c)?)).await?;
    let kept = kept.and_then(|floor| Timestamp::from_millisecond(floor).ok());
    let signed = core.log.published().and_then(|published| Timestamp::try_from(published.at).ok());
    Ok(Licenses::new(core.settings.clone(), core.world.clone(), kept, signed))
}

impl Vault {
    /// Opens the three parts; slots that belong to no row are zeroed, once it is certain that the rows are those of this log.
    async fn open(core: &Core) -> Result<Self, OpenError> {
        let settings = core.settings.current();
        let (data, payload, log) = (core.data.clone(), settings.payload, core.log.clone());
        let (release, alone) = (core.release, settings.control.is_none());
        let opening = tokio::task::spawn_blocking(move || {
            // A new database would make orphans of all payloads, and forget every account.
            if data.key_slots().exists() && !data.meta_db().exists() {
                return Err(OpenError::NoMeta { meta: data.meta_db(), slots: data.key_slots() });
            }
            let meta = Meta::open_as(release, &data.meta_db())?;
            if alone {
                // Nobody else ever will.
                meta.commit_schema(release.schema()).map_err(RecoveryError::from)?;
            }
            rows_and_log::compare(&meta, &log)?;
            if payload == Payload::Disk {
                slots_are_there(&meta, &data.key_slots(), &data.blobs())?;
            }
            let used = match payload {
                Payload::Disk => used_slots(&meta)?,
                // What a relay with payloads on disk left is destroyed: this one could not serve it.
                Payload::Memory => HashSet::new(),
            };
            let file = |path: PathBuf| move |source| OpenError::File { path, source };
            let keys = KeySlots::open(&data.key_slots(), &used).map_err(file(data.key_slots()))?;
            let payloads = BlobFiles::open(&data.blobs()).map_err(file(data.blobs()))?;
            Ok(match payload {
                Payload::Disk => Self { meta, keys: Arc::new(keys), payloads: Arc::new(payloads) },
                Payload::Memory => {
                    payloads.sweep(&mut |_| false).map_err(file(data.blobs()))?;
                    let keys = KeySlots::in_memory().map_err(file(data.key_slots()))?;
                    Self { meta, keys: Arc::new(keys), payloads: Arc::new(MemoryBlobs::default()) }
                }
            })
        });
        opening.await.unwrap_or_else(|_| Err(OpenError::Recovery(MetaError::Closed.into())))
    }
}

/// Whether the key file reaches as far as the rows of payloads whose files are there. Those of a relay that kept payloads in
/// memory have neither.
fn slots_are_there(meta: &Meta, slots: &Path, blobs: &Path) -> Result<(), OpenError> {
    let held = match std::fs::metadata(slots) {
        Ok(file) => slots::slots_in(file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(OpenError::File { path: slots.to_owned(), source }),
    };
    let beyond = meta.read_blocking(|c| {
        let mut query = c.prepare(
            "SELECT b.slot, coalesce(f.file, b.id) FROM blobs b LEFT JOIN chunks f ON f.upload = b.id
             WHERE b.state < 3 AND b.slot >= ?1
             UNION ALL SELECT u.slot, f.file FROM uploads u JOIN chunks f ON f.upload = u.id
             WHERE u.state = 0 AND u.slot >= ?1",
        )?;
        let rows = query.query_map([held], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, BlobId>(1)?)))?;
        Ok::<_, RecoveryError>(rows.collect::<Result<Vec<_>, _>>()?)
    })?;
    let kept = beyond.into_iter().filter(|(_, file)| blobs::path_below(blobs, *file).exists());
    let lost: std::collections::BTreeSet<u32> = kept.map(|(slot, _)| slot).collect();
    let Some(last) = lost.last() else { return Ok(()) };
    let bytes = slots::bytes_for(*last);
    Err(ShortSlots { path: slots.to_owned(), held, rows: lost.len() as u64, bytes }.into())
}

fn used_slots(meta: &Meta) -> Result<HashSet<(Slot, BlobId)>, RecoveryError> {
    meta.read_blocking(|c| {
        let mut query = c.prepare(
            "SELECT slot, id FROM blobs WHERE state < 3 UNION SELECT slot, id FROM uploads WHERE state = 0",
        )?;
        Ok(query.query_map([], |row| Ok((Slot(row.get(0)?), row.get(1)?)))?.collect::<Result<_, _>>()?)
    })
}

/// The schemas of this release, for the labels of its image: JSON, one line.
#[must_use]
pub fn data_schema() -> String {
    let release = Release::THIS;
    format!("{{\"schema\":{},\"minReader\":{}}}", release.schema(), release.min_reader())
}

/// Unix milliseconds, as rows hold them.
#[must_use]
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
