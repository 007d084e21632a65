//! Device keys: registered once per account and name, looked up by their account, committed to in the log.
//!
//! A repeat with the same keys answers what the first answered and adds nothing to the log; other keys under a taken name
//! are refused. The row is written first, then its `key_registered` entry; a crash between the two is mended at start, a
//! refused entry by the next registration. Keys are shown only once they are known to be in the log.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use jiff::Timestamp;
use paramant_protocol::device::{
    DeviceKeys, FingerprintAnswer, KeysAnswer, RegisterAnswer, RegisterKeys, VerifyFingerprintAnswer,
};
use paramant_protocol::moment;
use paramant_protocol::named_keys::NamedKeys;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Mutex;

use crate::entries::{self, EntryError};
use crate::log_service::{Entry, LogError, LogService};
use crate::plans::Plan;
use crate::store::meta::{Meta, MetaError};
use crate::store::{AccountId, Digest, RecoveryError, now_ms};
use crate::unattended::Unattended;
use crate::unrecorded::Unrecorded;

/// Devices of one account, far above any use; a key must not be able to fill the disk.
const DEVICES_PER_ACCOUNT: u32 = 10_000;
/// Devices whose names share a turn may wait for each other's entry; with so many turns few do.
const TURNS: usize = 64;

/// A handle on the devices; cheap to clone.
#[derive(Debug, Clone)]
pub struct Devices {
    meta: Meta,
    log: LogService,
    unattended: Unattended,
    /// One registration of a device at a time, so that its entry is written once.
    turns: Arc<[Mutex<()>; TURNS]>,
}

/// Why keys were not registered.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The name is taken by other keys.
    #[error("other keys are registered for this device; choose another device id")]
    Taken,
    /// Too many devices.
    #[error("this account has {limit} devices, which is the limit")]
    TooMany {
        /// The limit.
        limit: u32,
        /// The plan that says so.
        plan: &'static str,
    },
    /// Database, log or randomness.
    #[error(transparent)]
    Unrecorded(Unrecorded),
}

/// A registered device.
#[derive(Debug, Clone)]
struct Registered {
    account: AccountId,
    keys: DeviceKeys,
    /// Exactly as it came.
    ecdh_text: String,
    registered_ms: i64,
    salt: Digest,
    entry: Entry,
    log_from: u64,
    log_index: Option<u64>,
}

impl Devices {
    /// The devices in this database.
    #[must_use]
    pub fn new(meta: Meta, log: LogService, unattended: Unattended) -> Self {
        Self { meta, log, unattended, turns: Arc::new(std::array::from_fn(|_| Mutex::default())) }
    }

    /// Registers a device's keys, or confirms that exactly these are registered.
    ///
    /// # Errors
    /// [`DeviceError::Taken`] when the name has other keys; [`DeviceError::TooMany`] above what the plan allows.
    pub async fn register(
        &self,
        account: AccountId,
        keys: DeviceKeys,
        ecdh_text: String,
        plan: &'static Plan,
    ) -> Result<RegisterAnswer, DeviceError> {
        let this = self.clone();
        self.unattended.finish(async move { this.keep(account, keys, ecdh_text, plan).await }).await
    }

    async fn keep(
        &self,
        account: AccountId,
        keys: DeviceKeys,
        ecdh_text: String,
        plan: &'static Plan,
    ) -> Result<RegisterAnswer, DeviceError> {
        let _turn = self.turn(account, keys.device.as_str()).lock().await;
        let salt = Digest::random().map_err(EntryError::from)?;
        let entry = entries::key_registered(&keys.kem_pub, &keys.sig_pub, salt)?;
        let log_from = self.log.head().size;
        let new = Registered {
            account,
            keys,
            ecdh_text,
            registered_ms: now_ms(),
            salt,
            entry,
            log_from,
            log_index: None,
        };
        let inserted = new.clone();
        let earlier = self.meta.write(move |c| insert(c, &inserted, plan)).await?;
        let mut device = match earlier {
            Some(earlier) if !earlier.keys.same_keys(&new.keys) => return Err(DeviceError::Taken),
            Some(earlier) => earlier,
            None => new,
        };
        if device.log_index.is_none() {
            device.log_index = Some(self.log_once::<DeviceError>(&device).await?);
        }
        let root = device.log_index.and_then(|index| self.log.legacy_inclusion(index, index + 1).ok());
        Ok(RegisterAnswer {
            ok: true,
            fingerprint: device.keys.fingerprint(),
            dsa_supported: !device.keys.sig_pub.is_empty(),
            ct_index: device.log_index,
            ct_tree_hash: root.map(|(_, root)| hex::encode(root)),
            attested: false,
            attestation_method: None,
        })
    }

    /// A device's keys, as its account sees them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(
        &self,
        account: AccountId,
        device: &str,
        plan: &Plan,
    ) -> Result<Option<KeysAnswer>, MetaError> {
        Ok(self.find(account, device, plan).await?.map(|device| {
            let mut answer = KeysAnswer::of(&device.keys, device.registered_at(), device.log_index);
            answer.keys.ecdh_pub = Some(device.ecdh_text);
            answer.ct_salt = Some(device.salt.to_string());
            answer
        }))
    }

    /// A device's fingerprint.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn fingerprint(
        &self,
        account: AccountId,
        device: &str,
        plan: &Plan,
    ) -> Result<Option<FingerprintAnswer>, MetaError> {
        Ok(self.find(account, device, plan).await?.map(|device| FingerprintAnswer {
            ok: true,
            device_id: device.keys.device.to_string(),
            fingerprint: device.keys.fingerprint(),
            registered_at: device.registered_at(),
            ct_index: device.log_index,
        }))
    }

    /// Whether a fingerprint is this device's, in either published form.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn verify(
        &self,
        account: AccountId,
        device: &str,
        provided: String,
        plan: &Plan,
    ) -> Result<Option<VerifyFingerprintAnswer>, MetaError> {
        Ok(self.find(account, device, plan).await?.map(|device| {
            let same = device.keys.matches(&provided);
            VerifyFingerprintAnswer {
                ok: same,
                r#match: same,
                stored: device.keys.fingerprint(),
                provided,
                registered_at: device.registered_at(),
            }
        }))
    }

    /// At start: every row whose entry is not known to be in the log gets its index, or its entry.
    ///
    /// # Errors
    /// When the database or the log fails.
    pub async fn recover(&self) -> Result<(), RecoveryError> {
        let unlogged = self
            .meta
            .read::<_, MetaError, _>(|c| {
                let mut query = c.prepare("SELECT * FROM devices WHERE log_index IS NULL")?;
                Ok(query.query_map([], registered)?.collect::<Result<Vec<_>, _>>()?)
            })
            .await?;
        for device in unlogged {
            self.log_once::<RecoveryError>(&device).await?;
        }
        Ok(())
    }

    /// Puts a device's entry in the log, unless it is there already, and notes its place.
    async fn log_once<E>(&self, device: &Registered) -> Result<u64, E>
    where
        E: From<LogError> + From<MetaError>,
    {
        let index = self.log.append_once(&device.entry, device.log_from).await?;
        self.remember_index(device, index).await?;
        Ok(index)
    }

    fn turn(&self, account: AccountId, device: &str) -> &Mutex<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((account, device));
        &self.turns[(hash % TURNS as u64) as usize] // total: below TURNS
    }

    /// A device that may be shown: in the log, and not run out.
    async fn find(
        &self,
        account: AccountId,
        device: &str,
        plan: &Plan,
    ) -> Result<Option<Registered>, MetaError> {
        let device = device.to_owned();
        let found = self.meta.read::<_, MetaError, _>(move |c| Ok(find(c, account, &device)?)).await?;
        let oldest = oldest(plan, now_ms());
        Ok(found.filter(|device| device.log_index.is_some() && device.registered_ms >= oldest))
    }

    async fn remember_index(&self, device: &Registered, index: u64) -> Result<(), MetaError> {
        let (account, name) = (device.account, device.keys.device.to_string());
        let sql = "UPDATE devices SET log_index = ? WHERE account = ? AND device = ? AND log_index IS NULL";
        self.meta
            .write::<_, MetaError, _>(move |c| {
                Ok(c.execute(sql, params![index.cast_signed(), account, name])?)
            })
            .await
            .map(drop)
    }
}

impl Registered {
    fn registered_at(&self) -> String {
        moment::millis(Timestamp::from_millisecond(self.registered_ms).unwrap_or_default())
    }
}

fn insert(c: &Connection, device: &Registered, plan: &Plan) -> Result<Option<Registered>, DeviceError> {
    let oldest = oldest(plan, device.registered_ms);
    if let Some(earlier) = find(c, device.account, device.keys.device.as_str())? {
        if earlier.registered_ms >= oldest {
            return Ok(Some(earlier));
        }
        let sql = "DELETE FROM devices WHERE account = ? AND device = ?";
        c.execute(sql, params![device.account, device.keys.device.as_str()])?;
    }
    let count: u32 = c.query_row(
        "SELECT count(*) FROM devices WHERE account = ? AND registered_ms >= ?",
        params![device.account, oldest],
        |row| row.get(0),
    )?;
    let limit = plan.devices.unwrap_or(DEVICES_PER_ACCOUNT);
    if count >= limit {
        return Err(DeviceError::TooMany { limit, plan: plan.name });
    }
    c.execute(
        "INSERT INTO devices (account, device, kem, sig, ecdh, registered_ms, salt, entry, leaf, log_from)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            device.account,
            device.keys.device.as_str(),
            device.keys.kem_pub,
            device.keys.sig_pub,
            device.ecdh_text,
            device.registered_ms,
            device.salt,
            device.entry.bytes,
            Digest(device.entry.legacy_leaf),
            device.log_from.cast_signed(),
        ],
    )?;
    Ok(None)
}

/// Registrations made before this moment have run out under the plan.
fn oldest(plan: &Plan, now_ms: i64) -> i64 {
    let lifetime =
        plan.device_lifetime.map(|lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
    lifetime.map_or(i64::MIN, |lifetime| now_ms.saturating_sub(lifetime))
}

fn find(c: &Connection, account: AccountId, device: &str) -> Result<Option<Registered>, rusqlite::Error> {
    let sql = "SELECT * FROM devices WHERE account = ? AND device = ?";
    c.prepare_cached(sql)?.query_row(params![account, device], registered).optional()
}

fn registered(row: &Row<'_>) -> Result<Registered, rusqlite::Error> {
    let ecdh_text: String = row.get("ecdh")?;
    let encoded = RegisterKeys {
        device_id: row.get("device")?,
        keys: NamedKeys {
            kem_pub: Some(hex::encode(row.get::<_, Vec<u8>>("kem")?)),
            sig_pub: Some(hex::encode(row.get::<_, Vec<u8>>("sig")?)),
            ecdh_pub: Some(ecdh_text.clone()),
            ..NamedKeys::default()
        },
    };
    let keys = encoded.keys().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    Ok(Registered {
        account: row.get("account")?,
        keys,
        ecdh_text,
        registered_ms: row.get("registered_ms")?,
        salt: row.get("salt")?,
        entry: Entry { bytes: row.get("entry")?, legacy_leaf: row.get::<_, Digest>("leaf")?.0 },
        log_from: row.get::<_, i64>("log_from")?.cast_unsigned(),
        log_index: row.get::<_, Option<i64>>("log_index")?.map(i64::cast_unsigned),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
