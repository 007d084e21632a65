//! Users and their API keys, and the cap on active accounts.
//!
//! Only the SHA-256 of a key is kept; the key is shown once, when it is made. Active keys are held in memory as well, so that
//! a request costs no query; every change goes to the database first and is seen by the next request after its answer. The
//! cap counts accounts with an active key and refuses only the making of one more: an existing key is never blocked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use paramant_protocol::entry::body::AdminChange;
use paramant_protocol::id::ApiKey;
use rusqlite::{Connection, OptionalExtension, params};

use crate::entries::{self, EntryError};
use crate::license::Licenses;
use crate::log_service::{LogError, LogService};
use crate::store::meta::{Meta, MetaError};
use crate::store::{AccountId, Digest, now_ms};
use crate::unattended::Unattended;

/// Plans an admin may give; anything else becomes the first.
const PLANS: [&str; 7] = ["community", "free", "dev", "pro", "business", "licensed", "enterprise"];
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
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such key.
    #[error("there is no such key")]
    UnknownKey,
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log, which must show every change by an admin.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No randomness.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl From<rusqlite::Error> for AccountError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl From<getrandom::Error> for AccountError {
    fn from(error: getrandom::Error) -> Self {
        Self::Entry(error.into())
    }
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
        let this = Self(Arc::new(Inner { meta, log, licenses, unattended, active: RwLock::default() }));
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
            plan: one_of(&PLANS, wanted.plan.as_deref()),
            label: bounded(wanted.label.unwrap_or_default(), 128, "label is longer than 128 characters")?,
            email: wanted.email.map(email).transpose()?,
            scope: one_of(&SCOPES, wanted.scope.as_deref()),
            is_primary: named.is_none(),
            created_ms: now_ms(),
            active: true,
        };
        let cap = self.cap();
        let refuse_above_cap = move |c: &Connection, account: AccountId| match cap {
            Some(max) => within_cap(c, account, max),
            None => Ok(()),
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
        Ok(())
    }

    async fn existing(&self, key_or_kid: &str) -> Result<String, AccountError> {
        let kid = match key_or_kid.parse::<ApiKey>() {
            Ok(key) => key.kid(),
            Err(_) => key_or_kid.to_owned(),
        };
        let sql = "SELECT kid FROM api_keys WHERE kid = ?";
        self.0
            .meta
            .read(move |c| {
                c.query_row(sql, [kid], |row| row.get(0)).optional()?.ok_or(AccountError::UnknownKey)
            })
            .await
    }
}

fn read_active(c: &Connection) -> Result<Active, rusqlite::Error> {
    let mut query = c.prepare("SELECT sha256, account, kid, plan FROM api_keys WHERE revoked_ms IS NULL")?;
    let rows = query.query_map([], |row| {
        let digest: Digest = row.get(0)?;
        Ok((digest.0, Arc::new(Principal { account: row.get(1)?, kid: row.get(2)?, plan: row.get(3)? })))
    })?;
    let keys: HashMap<_, _> = rows.collect::<Result<_, _>>()?;
    let accounts = keys.values().map(|principal| principal.account).collect::<HashSet<_>>().len() as u64;
    Ok(Active { keys, accounts })
}

/// Refuses when `account` is not active yet and would be one too many.
fn within_cap(c: &Connection, account: AccountId, max: u64) -> Result<(), AccountError> {
    let (current, counted): (i64, bool) = c.query_row(
        "SELECT count(DISTINCT account), coalesce(max(account = ?), 0) FROM api_keys WHERE revoked_ms IS NULL",
        [account],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let current = current.cast_unsigned();
    if counted || current < max { Ok(()) } else { Err(AccountError::Cap { current, max }) }
}

fn insert(
    c: &Connection,
    sha256: Digest,
    row: KeyRow,
    existing_account: bool,
) -> Result<KeyRow, AccountError> {
    if existing_account {
        c.query_row("SELECT 1 FROM accounts WHERE id = ?", [row.account], |_| Ok(()))
            .optional()?
            .ok_or(AccountError::Invalid("account_id is not one of this relay"))?;
    } else {
        c.execute(
            "INSERT INTO accounts (id, created_ms) VALUES (?, ?)",
            params![row.account, row.created_ms],
        )?;
    }
    let taken: bool =
        c.query_row("SELECT EXISTS (SELECT 1 FROM api_keys WHERE sha256 = ?)", [sha256], |taken| {
            taken.get(0)
        })?;
    if taken {
        return Err(AccountError::Invalid("this key exists already"));
    }
    // Two keys whose public ids collide keep their own, as published: a `_n` behind the later one.
    let same: i64 = c.query_row(
        "SELECT count(*) FROM api_keys WHERE kid = ?1 OR kid LIKE ?1 || '\\_%' ESCAPE '\\'",
        [&row.kid],
        |n| n.get(0),
    )?;
    let kid = if same == 0 { row.kid.clone() } else { format!("{}_{same}", row.kid) };
    c.execute(
        "INSERT INTO api_keys (kid, sha256, account, masked, plan, label, email, scope, is_primary, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![kid, sha256, row.account, row.masked, row.plan, row.label, row.email, row.scope, row.is_primary, row.created_ms],
    )?;
    Ok(KeyRow { kid, ..row })
}

fn key_row(row: &rusqlite::Row<'_>) -> Result<KeyRow, rusqlite::Error> {
    Ok(KeyRow {
        kid: row.get("kid")?,
        masked: row.get("masked")?,
        account: row.get("account")?,
        plan: row.get("plan")?,
        label: row.get("label")?,
        email: row.get("email")?,
        scope: row.get("scope")?,
        is_primary: row.get("is_primary")?,
        created_ms: row.get("created_ms")?,
        active: row.get::<_, Option<i64>>("revoked_ms")?.is_none(),
    })
}

fn chosen_key(text: &str) -> Result<ApiKey, AccountError> {
    let digits = text.strip_prefix("pgp_").unwrap_or_default();
    let hex =
        (32..=64).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let refused = AccountError::Invalid("key must be pgp_ and 32 to 64 lower-case hex digits");
    if hex { text.parse().map_err(|_| refused) } else { Err(refused) }
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
