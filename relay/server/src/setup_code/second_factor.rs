//! The admin's second factor: a code of an authenticator that holds the secret from the set-up, each used once.

use jiff::Timestamp;
use paramant_protocol::entry::body::AdminChange;
use rusqlite::{Connection, OptionalExtension};

use super::{AdminAccess, TOTP};
use crate::entries;
use crate::store::meta::MetaError;
use crate::totp;
use crate::unrecorded::Unrecorded;

/// The newest step whose code was used: it and all before it are spent, also after a restart.
const STEP: &str = "admin_totp_step";

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// It is right, and now spent.
    Right,
    /// It is not, or was used before.
    Wrong,
    /// There is no second factor: the admin's token came from a file and no set-up code was ever redeemed.
    NotSetUp,
}

impl AdminAccess {
    /// Whether this is the authenticator's code of now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn second_factor(&self, code: &str, at: Timestamp) -> Result<SecondFactor, MetaError> {
        let (code, seconds) = (code.trim().to_owned(), at.as_second().max(0).unsigned_abs());
        self.0.meta.write(move |c| Ok::<_, MetaError>(spend(c, &code, seconds)?)).await
    }
}

impl AdminAccess {
    /// Whether there is a second factor.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_second_factor(&self) -> Result<bool, MetaError> {
        self.0.meta.read(|c| Ok::<_, MetaError>(secret(c)?.is_some())).await
    }

    /// Sets the second factor up: whoever holds this secret shows a code of it. Only where there is none; `false` for a wrong code, or
    /// when somebody was faster.
    ///
    /// # Errors
    /// When the entry or the row cannot be written.
    pub async fn enrol(&self, secret: &str, code: &str, at: Timestamp) -> Result<bool, Unrecorded> {
        let _changing = self.0.changing.lock().await;
        let seconds = at.as_second().max(0).unsigned_abs();
        let step = totp::from_base32(secret).and_then(|key| totp::step_of(code.trim(), &key, seconds, None));
        let Some(step) = step else { return Ok(false) };
        if self.has_second_factor().await? {
            return Ok(false);
        }
        self.0.log.append(entries::admin_changed(AdminChange::SecondFactor)?).await?;
        let secret = secret.to_owned();
        let keep = move |c: &Connection| {
            let sql = "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)";
            c.execute(sql, (TOTP, secret))?;
            c.execute(sql, (STEP, step.cast_signed()))
        };
        self.0.meta.write(move |c| Ok::<_, MetaError>(keep(c)?)).await?;
        Ok(true)
    }
}

/// The secret, if it can be read.
fn secret(c: &Connection) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    let sql = "SELECT value FROM settings WHERE name = ?";
    let secret: Option<String> = c.query_row(sql, [TOTP], |row| row.get(0)).optional()?;
    Ok(secret.as_deref().and_then(totp::from_base32))
}

fn spend(c: &Connection, code: &str, unix_seconds: u64) -> Result<SecondFactor, rusqlite::Error> {
    let sql = "SELECT value FROM settings WHERE name = ?";
    let Some(secret) = secret(c)? else { return Ok(SecondFactor::NotSetUp) };
    let used: Option<i64> = c.query_row(sql, [STEP], |row| row.get(0)).optional()?;
    let step = totp::step_of(code, &secret, unix_seconds, used.map(i64::cast_unsigned));
    let Some(step) = step else { return Ok(SecondFactor::Wrong) };
    c.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (STEP, step.cast_signed()))?;
    Ok(SecondFactor::Right)
}
