//! Users and their API keys, and the cap on active accounts.
//!
//! Only the SHA-256 of a key is kept; the key is shown once, when it is made. Active keys are held in memory as well, so that
//! a request costs no query; every change goes to the database first and is seen by the next request after its answer. The
//! cap counts accounts with an active key and refuses only the making of one more: an existing key is never blocked.

mod rows;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use paramant_protocol::entry::body::AdminChange;
use paramant_protocol::id::ApiKey;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use self::rows::{active_keys, insert, key_row, read_active, within_cap};
use crate::entries;
use crate::license::Licenses;
use crate::log_service::LogService;
use crate::store::meta::{Meta, MetaError};
use crate::store::{AccountId, Digest, now_ms};
use crate::unattended::Unattended;
use crate::unrecorded::Unrecorded;

/// Plans an admin may give; the first when none is named.
const PLANS: [&str; 7] = ["community", "free", "dev", "pro", "business", "licensed", "enterprise"];
/// Keys of one account, far above any use: with one of them more can be made, and that must not fill the disk.
const KEYS_PER_ACCOUNT: u32 = 1000;
/// Scopes as published; none restricts anything yet.
const SCOPES: [&str; 5] = ["full", "send-only", "sign-only", "read-only", "parasign"];

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose blobs and devices it may touch.
    pub account: AccountId,
    /// Which key it carried.
    pub kid: String,
    /// The plan of that key.
    pub plan: String,
    /// The first key of its account.
    pub is_primary: bool,
}

/// One key as the admin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The public id.
    pub kid: String,
    /// First 8 characters, an ellipsis, last 4.
    pub masked: String,
    /// The account it acts for.
    pub account: AccountId,
    /// The plan.
    pub plan: String,
    /// What the admin calls it.
    pub label: String,
    /// An address the admin noted.
    pub email: Option<String>,
    /// As published.
    pub scope: String,
    /// The first key of its account.
    pub is_primary: bool,
    /// When it was made.
    pub created_ms: i64,
    /// Whether requests may carry it.
    pub active: bool,
}

/// What an admin asks for when making a key. Everything is optional.
#[derive(Debug, Default, Clone)]
pub struct NewKey {
    /// A key of the admin's own choice: `pgp_` and 32 to 64 hex digits.
    pub key: Option<String>,
    /// One of the published plans.
    pub plan: Option<String>,
    /// At most 128 characters.
    pub label: Option<String>,
    /// At most 254 characters.
    pub email: Option<String>,
    /// An account that exists; without it a new one is made.
    pub account: Option<String>,
    /// As published.
    pub scope: Option<String>,
    /// Active keys that one account may have, while its plan limits them.
    pub keys_per_account: Option<u32>,
}

/// Why an account or key could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The cap on active accounts is reached.
    #[error("this relay may have {max} active users and has {current}; revoke one, or install a licence")]
    Cap {
        /// Active accounts now.
        current: u64,
        /// The cap.
        max: u64,
    },
    /// The account has as many keys as it may.
    #[error("this account may have {max} active keys and has them; revoke one")]
    Keys {
        /// How many it may have.
        max: u32,
    },
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such key.
    #[error("there is no such key")]
    UnknownKey,
    /// Database, log or randomness.
    #[error(transparent)]
    Unrecorded(Unrecorded),
}

/// A handle on the accounts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meta: Meta,
    log: LogService,
    licenses: Licenses,
    unattended: Unattended,
    active: RwLock<Active>,
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Active {
    /// By SHA-256 of the key.
    keys: HashMap<[u8; 32], Arc<Principal>>,
    accounts: u64,
}

impl Accounts {
    /// Reads the active keys.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load(
        meta: Meta,
        log: LogService,
        licenses: Licenses,
        unattended: Unattended,
    ) -> Result<Self, MetaError> {
        let (active, news) = (RwLock::default(), watch::Sender::default());
        let this = Self(Arc::new(Inner { meta, log, licenses, unattended, active, news }));
        this.refresh().await?;
        Ok(this)
    }

    /// Who this key belongs to, if it is active.
    #[must_use]
    pub fn authenticate(&self, key: &str) -> Option<Arc<Principal>> {
        let key: ApiKey = key.parse().ok()?;
        // The lookup compares digests, not keys: its timing tells nothing about a key.
        self.0.active.read().unwrap_or_else(PoisonError::into_inner).keys.get(&key.digest()).cloned()
    }

    /// Who an active key of this public id belongs to. Looks at all of them: for DIDs, whose requests are few.
    #[must_use]
    pub fn by_kid(&self, kid: &str) -> Option<Arc<Principal>> {
        let active = self.0.active.read().unwrap_or_else(PoisonError::into_inner);
        active.keys.values().find(|principal| principal.kid == kid).cloned()
    }

    /// Accounts with an active key.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.0.active.read().unwrap_or_else(PoisonError::into_inner).accounts
    }

    /// News of any change to keys, once it is in force.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// The public ids of all active keys.
    #[must_use]
    pub fn active_kids(&self) -> HashSet<String> {
        let active = self.0.active.read().unwrap_or_else(PoisonError::into_inner);
        active.keys.values().map(|principal| principal.kid.clone()).collect()
    }

    /// Whether a key that was accepted before still is.
    #[must_use]
    pub fn is_active(&self, kid: &str) -> bool {
        let active = self.0.active.read().unwrap_or_else(PoisonError::into_inner);
        active.keys.values().any(|principal| principal.kid == kid)
    }

    /// How many accounts may be active; `None` is without limit.
    #[must_use]
    pub fn cap(&self) -> Option<u64> {
        self.0.licenses.current().state.cap().limit()
    }

    /// Makes a key, in a new account unless one is named. The key in the answer is shown this once.
    ///
    /// # Errors
    /// [`AccountError::Cap`] when a new account would be one too many; [`AccountError::Invalid`] for what cannot be.
    pub async fn create(&self, wanted: NewKey) -> Result<(ApiKey, KeyRow), AccountError> {
        let this = self.clone();
        self.0.unattended.finish(async move { this.make(wanted).await }).await
    }

    async fn make(&self, wanted: NewKey) -> Result<(ApiKey, KeyRow), AccountError> {
        let key = match &wanted.key {
            Some(chosen) => chosen_key(chosen)?,
            None => ApiKey::generate(Digest::random()?.0),
        };
        let named = match wanted.account.as_deref() {
            Some(text) => Some(
                AccountId::parse(text).ok_or(AccountError::Invalid("account_id is not one of this relay"))?,
            ),
            None => None,
        };
        let row = KeyRow {
            kid: key.kid(),
            masked: key.masked(),
            account: named.map_or_else(AccountId::random, Ok)?,
            plan: named_plan(wanted.plan.as_deref())?,
            label: bounded(wanted.label.unwrap_or_default(), 128, "label is longer than 128 characters")?,
            email: wanted.email.map(email).transpose()?,
            scope: one_of(&SCOPES, wanted.scope.as_deref()),
            is_primary: named.is_none(),
            created_ms: now_ms(),
            active: true,
        };
        let cap = self.cap();
        let max_keys = wanted.keys_per_account.unwrap_or(KEYS_PER_ACCOUNT);
        let refuse_above_cap = move |c: &Connection, account: AccountId| {
            within_cap(c, account, cap)?;
            let keys = active_keys(c, account)?;
            if keys < max_keys { Ok(()) } else { Err(AccountError::Keys { max: max_keys }) }
        };
        // Asked twice: once so that a refused request leaves no entry, once where nobody can come between.
        let account = row.account;
        self.0.meta.read(move |c| refuse_above_cap(c, account)).await?;
        self.0.log.append(entries::admin_changed(AdminChange::KeyCreated)?).await?;
        let (sha256, inserted) = (Digest(key.digest()), row.clone());
        self.0
            .meta
            .write(move |c| {
                refuse_above_cap(c, inserted.account)?;
                insert(c, sha256, inserted, named.is_some())
            })
            .await
            .map(|row| (key, row))
            .and_then(|made| Ok((self.refreshed()?, made).1))
    }

    /// Every key, in the order they were made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self) -> Result<Vec<KeyRow>, MetaError> {
        self.0
            .meta
            .read(|c| {
                Ok(c.prepare("SELECT * FROM api_keys ORDER BY position")?
                    .query_map([], key_row)?
                    .collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Ends a key, given itself or its `kid`. From the answer on no request may carry it.
    ///
    /// # Errors
    /// [`AccountError::UnknownKey`] when there is none.
    pub async fn revoke(&self, key_or_kid: &str) -> Result<(), AccountError> {
        let kid = self.existing(key_or_kid).await?;
        let sql = "UPDATE api_keys SET revoked_ms = ? WHERE kid = ? AND revoked_ms IS NULL";
        self.change(AdminChange::KeyRevoked, move |c| c.execute(sql, params![now_ms(), kid])).await
    }

    /// Ends every key of an account.
    ///
    /// # Errors
    /// [`AccountError::UnknownKey`] when it has none.
    pub async fn revoke_account(&self, account: &str) -> Result<(), AccountError> {
        let account = AccountId::parse(account).ok_or(AccountError::UnknownKey)?;
        let known = self.0.meta.read::<_, MetaError, _>(move |c| Ok(active_keys(c, account)? > 0)).await?;
        if !known {
            return Err(AccountError::UnknownKey);
        }
        let sql = "UPDATE api_keys SET revoked_ms = ? WHERE account = ? AND revoked_ms IS NULL";
        self.change(AdminChange::KeyRevoked, move |c| c.execute(sql, params![now_ms(), account])).await
    }

    /// Gives a key another plan.
    ///
    /// # Errors
    /// [`AccountError::UnknownKey`]; [`AccountError::Invalid`] for a plan that does not exist.
    pub async fn change_plan(&self, key_or_kid: &str, plan: &str) -> Result<(), AccountError> {
        let plan =
            PLANS.iter().find(|known| **known == plan).ok_or(AccountError::Invalid("invalid_params"))?;
        let kid = self.existing(key_or_kid).await?;
        let sql = "UPDATE api_keys SET plan = ? WHERE kid = ?";
        self.change(AdminChange::KeyChanged, move |c| c.execute(sql, params![plan, kid])).await
    }

    /// Logs a change, makes it, and puts it in force: all three, though the admin hang up after the first.
    async fn change(
        &self,
        what: AdminChange,
        change: impl FnOnce(&Connection) -> Result<usize, rusqlite::Error> + Send + 'static,
    ) -> Result<(), AccountError> {
        let this = self.clone();
        let changing = async move {
            this.0.log.append(entries::admin_changed(what)?).await?;
            this.0.meta.write::<_, AccountError, _>(move |c| Ok(change(c)?)).await?;
            this.refreshed()
        };
        self.0.unattended.finish(changing).await
    }

    /// Reads the keys again; answers how many are active and how many were.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn refresh(&self) -> Result<(usize, usize), MetaError> {
        let this = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let before = this.0.active.read().unwrap_or_else(PoisonError::into_inner).keys.len();
            this.reread()?;
            let after = this.0.active.read().unwrap_or_else(PoisonError::into_inner).keys.len();
            Ok((after, before))
        });
        reading.await.unwrap_or(Err(MetaError::Closed))
    }

    fn refreshed(&self) -> Result<(), AccountError> {
        Ok(self.reread()?)
    }

    fn reread(&self) -> Result<(), MetaError> {
        // Under the write lock, so that of two changes the later one is read last.
        let mut active = self.0.active.write().unwrap_or_else(PoisonError::into_inner);
        *active = self.0.meta.read_blocking(|c| Ok::<_, MetaError>(read_active(c)?))?;
        drop(active);
        self.0.news.send_replace(());
        Ok(())
    }

    async fn existing(&self, key_or_kid: &str) -> Result<String, AccountError> {
        // By the key itself where it is given: of two keys whose public ids collide only one has the plain id.
        let digest = key_or_kid.parse::<ApiKey>().ok().map(|key| Digest(key.digest()));
        let kid = key_or_kid.to_owned();
        self.0
            .meta
            .read(move |c| {
                let kid: Option<String> = match digest {
                    Some(digest) => {
                        c.query_row("SELECT kid FROM api_keys WHERE sha256 = ?", [digest], |row| row.get(0))
                    }
                    None => c.query_row("SELECT kid FROM api_keys WHERE kid = ?", [kid], |row| row.get(0)),
                }
                .optional()?;
                kid.ok_or(AccountError::UnknownKey)
            })
            .await
    }
}

fn chosen_key(text: &str) -> Result<ApiKey, AccountError> {
    let digits = text.strip_prefix("pgp_").unwrap_or_default();
    let hex =
        (32..=64).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let refused = AccountError::Invalid("key must be pgp_ and 32 to 64 lower-case hex digits");
    if hex { text.parse().map_err(|_| refused) } else { Err(refused) }
}

/// None is the first; an unknown one is refused: a key must not have fewer rights than its admin believes.
fn named_plan(wanted: Option<&str>) -> Result<String, AccountError> {
    let Some(wanted) = wanted else { return Ok(one_of(&PLANS, None)) };
    let known = PLANS.iter().find(|plan| **plan == wanted);
    known.map(|plan| (*plan).to_owned()).ok_or(AccountError::Invalid(
        "plan must be community, free, dev, pro, business, licensed or enterprise",
    ))
}

fn one_of(known: &[&str], wanted: Option<&str>) -> String {
    let first = known.first().copied().unwrap_or_default();
    known.iter().find(|name| Some(**name) == wanted).map_or(first, |name| name).to_owned()
}

fn bounded(text: String, characters: usize, refusal: &'static str) -> Result<String, AccountError> {
    if text.chars().count() > characters { Err(AccountError::Invalid(refusal)) } else { Ok(text) }
}

fn email(text: String) -> Result<String, AccountError> {
    let text = bounded(text, 254, "email is longer than 254 characters")?;
    let shaped = text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'))
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if shaped { Ok(text) } else { Err(AccountError::Invalid("email is not an address")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
