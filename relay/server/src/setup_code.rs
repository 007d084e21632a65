//! Who is admin: the token in a mounted file, or the one a one-time set-up code was redeemed for.
//!
//! When a token file is set and not empty, it alone counts, read again for each request so that a rotated Secret works at
//! once. Otherwise the relay prints a fresh set-up code to its log at start, until one was redeemed and its token used: an
//! answer may be lost on its way, and must not lock the admin out. Of several tokens the last counts; each is kept as its
//! SHA-256 only. Tokens are compared by digest in constant time. No message from outside can set, weaken or skip
//! any of this.

mod second_factor;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use paramant_protocol::control::AdminReport;
use paramant_protocol::entry::body::AdminChange;
use paramant_protocol::leaf;
use rusqlite::{Connection, OptionalExtension};
use subtle::ConstantTimeEq;

pub use self::second_factor::SecondFactor;
use crate::entries::{self, EntryError};
use crate::log_service::LogService;
use crate::settings::SettingsHandle;
use crate::store::Digest;
use crate::store::meta::{Meta, MetaError};
use crate::unattended::Unattended;
use crate::unrecorded::Unrecorded;

const TOKEN: &str = "admin_token_sha256";
const TOTP: &str = "admin_totp_secret";
/// There while the token was never used: the code, or the next one after a restart, may be redeemed again.
const UNUSED: &str = "admin_token_unused";
/// Base32 (RFC 4648), which authenticator programs expect of a secret.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A handle on the admin's credentials; cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminAccess(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meta: Meta,
    log: LogService,
    settings: SettingsHandle,
    unattended: Unattended,
    /// Held while the token changes or is used for the first time.
    changing: tokio::sync::Mutex<()>,
    /// SHA-256 of the code that may be redeemed.
    code: Mutex<Option<[u8; 32]>>,
    /// SHA-256 of the token a code was redeemed for.
    redeemed: RwLock<Option<[u8; 32]>>,
}

/// What a set-up code is redeemed for. Shown once.
#[derive(Clone)]
pub struct Credentials {
    /// For `X-Admin-Token`.
    pub token: String,
    /// For an authenticator, base32.
    pub totp_secret: String,
}

/// Why a set-up code was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is none to redeem, or this is not it. Both look alike.
    #[error(
        "this set-up code is not valid; the code is printed in the relay's log at start while no admin token exists"
    )]
    Refused,
    /// Database, log or randomness.
    #[error(transparent)]
    Unrecorded(Unrecorded),
}

impl AdminAccess {
    /// Reads what was redeemed; prints a set-up code when nobody can be admin yet.
    ///
    /// # Errors
    /// When the database cannot be read, or the system has no randomness.
    pub async fn open(
        meta: Meta,
        log: LogService,
        settings: SettingsHandle,
        unattended: Unattended,
    ) -> Result<Self, SetupError> {
        let stored = meta.read::<_, MetaError, _>(|c| Ok((stored_token(c)?, is_unused(c)?)));
        let (redeemed, unused) = stored.await?;
        let redeemed = redeemed.map(|digest| digest.0);
        let this = Self(Arc::new(Inner {
            meta,
            log,
            settings,
            unattended,
            changing: tokio::sync::Mutex::default(),
            code: Mutex::default(),
            redeemed: RwLock::new(redeemed),
        }));
        if (redeemed.is_none() || unused) && this.token_in_file().is_none() {
            let code = grouped(&base32(&random()?));
            *this.0.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaf::sha256(code.as_bytes()));
            tracing::warn!(setup_code = %code, "no admin token in use yet: redeem this code with POST /v3/setup {{\"code\":…}}; it is good until the token it gave is used, so use that at once");
        }
        Ok(this)
    }

    /// Whether this is the admin's token. The first use of a redeemed one ends its set-up code.
    #[must_use]
    pub fn is_admin(&self, presented: &str) -> bool {
        let presented = leaf::sha256(presented.as_bytes());
        let same = |valid: [u8; 32]| bool::from(valid.ct_eq(&presented));
        if let Some(token) = self.token_in_file() {
            return same(token);
        }
        let redeemed = *self.0.redeemed.read().unwrap_or_else(PoisonError::into_inner);
        let admin = redeemed.is_some_and(same);
        if admin && self.awaits_setup() {
            let this = self.clone();
            drop(self.0.unattended.spawn(async move { this.spend_code(presented).await }));
        }
        admin
    }

    /// Whether this is the digest of the admin's token: a session ends when the token changes.
    #[must_use]
    pub fn is_token(&self, digest: &[u8; 32]) -> bool {
        let redeemed = || *self.0.redeemed.read().unwrap_or_else(PoisonError::into_inner);
        self.token_in_file().or_else(redeemed).is_some_and(|valid| bool::from(valid.ct_eq(digest)))
    }

    /// How an admin signs in, for the operator.
    #[must_use]
    pub fn report(&self) -> AdminReport {
        if self.token_in_file().is_some() {
            AdminReport::TokenFile
        } else if self.awaits_setup() {
            AdminReport::SetupCode
        } else {
            AdminReport::Redeemed
        }
    }

    /// Whether a set-up code is waiting to be redeemed.
    #[must_use]
    pub fn awaits_setup(&self) -> bool {
        self.0.code.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Redeems the set-up code. From the answer on its token is the admin's; once that is used the code is spent.
    ///
    /// # Errors
    /// [`SetupError::Refused`] for any code but the one printed, and when an admin token exists.
    pub async fn redeem(&self, code: &str) -> Result<Credentials, SetupError> {
        let (this, presented) = (self.clone(), leaf::sha256(code.trim().as_bytes()));
        self.0.unattended.finish(async move { this.redeem_digest(presented).await }).await
    }

    async fn redeem_digest(&self, presented: [u8; 32]) -> Result<Credentials, SetupError> {
        let _changing = self.0.changing.lock().await;
        let code = *self.0.code.lock().unwrap_or_else(PoisonError::into_inner);
        let same = code.is_some_and(|code| bool::from(code.ct_eq(&presented)));
        if !same || self.token_in_file().is_some() {
            return Err(SetupError::Refused);
        }
        self.keep_new_credentials().await
    }

    /// The token with this digest was used: whoever redeemed the code has the answer.
    async fn spend_code(&self, used: [u8; 32]) {
        let _changing = self.0.changing.lock().await;
        // Another token may have been given meanwhile; then that one must be used.
        if *self.0.redeemed.read().unwrap_or_else(PoisonError::into_inner) != Some(used) {
            return;
        }
        let spending = self
            .0
            .meta
            .write::<_, MetaError, _>(|c| Ok(c.execute("DELETE FROM settings WHERE name = ?", [UNUSED])?));
        match spending.await {
            Ok(_) => *self.0.code.lock().unwrap_or_else(PoisonError::into_inner) = None,
            Err(error) => tracing::warn!(%error, "the set-up code stays valid until the token's next use"),
        }
    }

    async fn keep_new_credentials(&self) -> Result<Credentials, SetupError> {
        let token = hex::encode(Digest::random().map_err(EntryError::from)?.0);
        let totp_secret = base32(&random()?);
        let (digest, secret) = (leaf::sha256(token.as_bytes()), totp_secret.clone());
        self.0.log.append(entries::admin_changed(AdminChange::SetUp)?).await?;
        self.0
            .meta
            .write::<_, MetaError, _>(move |c| {
                let sql = "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)";
                c.execute(sql, (TOKEN, Digest(digest)))?;
                c.execute(sql, (TOTP, secret))?;
                c.execute(sql, (UNUSED, true))?;
                Ok(())
            })
            .await?;
        *self.0.redeemed.write().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Ok(Credentials { token, totp_secret })
    }

    /// SHA-256 of the token in the file, if there is one.
    fn token_in_file(&self) -> Option<[u8; 32]> {
        let path = self.0.settings.current().admin_token_file.clone()?;
        token_in(&path).map(|token| leaf::sha256(token.as_bytes()))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// SHA-256 of the token a code was redeemed for.
fn stored_token(c: &Connection) -> Result<Option<Digest>, rusqlite::Error> {
    c.query_row("SELECT value FROM settings WHERE name = ?", [TOKEN], |row| row.get(0)).optional()
}

/// Whether the stored token was never used.
fn is_unused(c: &Connection) -> Result<bool, rusqlite::Error> {
    c.query_row("SELECT EXISTS (SELECT 1 FROM settings WHERE name = ?)", [UNUSED], |row| row.get(0))
}

fn token_in(path: &Path) -> Option<String> {
    let token = std::fs::read_to_string(path).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// 160 bits, as RFC 4226 asks of a second factor's secret; nobody guesses as many in a code.
fn random() -> Result<[u8; 20], SetupError> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(EntryError::from)?;
    Ok(bytes)
}

/// A secret for an authenticator, base32.
///
/// # Errors
/// When the system has no randomness to give.
pub fn fresh_secret() -> Result<String, SetupError> {
    Ok(base32(&random()?))
}

fn base32(bytes: &[u8; 20]) -> String {
    let (chunks, _) = bytes.as_chunks::<5>();
    let letter = |bits: u64, n: u32| char::from(BASE32[(bits >> (35 - 5 * n) & 31) as usize]); // total: 5 bits index 32 letters
    chunks
        .iter()
        .flat_map(|[a, b, c, d, e]| {
            let bits = u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]);
            (0..8).map(move |n| letter(bits, n))
        })
        .collect()
}

fn grouped(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
