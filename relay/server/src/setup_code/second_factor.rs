//! The admin's second factor: a code of an authenticator that holds the secret from the set-up, each used once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{AdminAccess, TOTP};
use crate::store::meta::MetaError;
use crate::totp;

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

fn spend(c: &Connection, code: &str, unix_seconds: u64) -> Result<SecondFactor, rusqlite::Error> {
    let sql = "SELECT value FROM settings WHERE name = ?";
    let secret: Option<String> = c.query_row(sql, [TOTP], |row| row.get(0)).optional()?;
    let Some(secret) = secret.as_deref().and_then(totp::from_base32) else {
        return Ok(SecondFactor::NotSetUp);
    };
    let used: Option<i64> = c.query_row(sql, [STEP], |row| row.get(0)).optional()?;
    let step = totp::step_of(code, &secret, unix_seconds, used.map(i64::cast_unsigned));
    let Some(step) = step else { return Ok(SecondFactor::Wrong) };
    c.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (STEP, step.cast_signed()))?;
    Ok(SecondFactor::Right)
}
