//! In which role somebody asks, why, and who it is.

use anyhow::ensure;
use paramant_licensing::actions::{Role, Why};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A name is kept, never sent.
const MAX_ACTOR: usize = 200;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// In which role; relays see it.
    pub role: Role,
    /// Why; relays see it.
    pub why: Why,
    /// Who; relays see a commitment.
    pub actor: String,
}

impl By {
    /// # Errors
    /// When the name is no name.
    pub fn new(role: Role, why: Why, actor: &str) -> anyhow::Result<Self> {
        let plain = !actor.trim().is_empty() && actor.len() <= MAX_ACTOR && !actor.contains(char::is_control);
        ensure!(plain, "name the actor, in {MAX_ACTOR} bytes at most");
        Ok(Self { role, why, actor: actor.to_owned() })
    }

    /// Who sold what a licence grants.
    pub(crate) fn of(connection: &Connection, key: &[u8]) -> anyhow::Result<Self> {
        let row = connection
            .query_row("SELECT role, why, actor FROM sellers WHERE key = ?", [key], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .optional()?;
        let Some((role, why, actor)) = row else { return Ok(Self::default()) };
        Ok(Self { role: word(&role)?, why: word(&why)?, actor })
    }

    pub(crate) fn keep(&self, connection: &Connection, key: &[u8]) -> anyhow::Result<()> {
        connection.execute(
            "INSERT OR REPLACE INTO sellers VALUES (?, ?, ?, ?)",
            params![key, text(&self.role)?, text(&self.why)?, self.actor],
        )?;
        Ok(())
    }
}

/// A change of the contract, by nobody in particular.
impl Default for By {
    fn default() -> Self {
        Self { role: Role::Owner, why: Why::Contract, actor: "authority".to_owned() }
    }
}

fn word<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    Ok(serde_json::from_value(text.into())?)
}

fn text(word: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::from_value(serde_json::to_value(word)?)?)
}
