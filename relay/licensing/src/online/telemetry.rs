//! The telemetry block of a request: numbers only, off by default, in a schema that consent is given to (trust page S1 to S4).
//!
//! The type is the schema: it has no map and no text, and unknown fields are refused. `docs/spec/telemetry.schema.json` is its
//! published form, held against this type by a test. Nothing here is an input of what a licence grants.

use serde::{Deserialize, Serialize};

/// The version that consent is given to. A new field is a new version.
pub const SCHEMA: u32 = 1;
/// Smaller counts are sent as this: who uses a relay of three people is nobody's business.
pub const SMALLEST_COUNT: u64 = 4;
/// Rates count of so many.
pub const RATE_OF: u64 = 10_000;

/// What a request says about use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Whether an admin has switched it on, after seeing the bytes.
    pub opted_in: bool,
    /// Active accounts.
    pub user_count: Option<u64>,
    /// Uploads acknowledged in the 24 hours before the request was made.
    pub transfer_count_24h: Option<u64>,
    /// Of 10,000 requests in those hours, how many were answered with 5xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate_5xx: Option<u64>,
    /// Of 10,000 requests with a credential in those hours, how many had a wrong one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_failure_rate: Option<u64>,
    /// Seconds since the process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Active accounts.
    pub users: u64,
    /// Uploads acknowledged in 24 hours.
    pub transfers: u64,
    /// Requests in 24 hours, and of those the ones answered with 5xx.
    pub requests: (u64, u64),
    /// Requests with a credential in 24 hours, and of those the ones whose credential was wrong.
    pub authentications: (u64, u64),
    /// Seconds since the process started.
    pub uptime_seconds: u64,
}

impl Telemetry {
    /// Nothing: what every request says until an admin switches it on.
    pub fn off() -> Self {
        Self {
            opted_in: false,
            user_count: None,
            transfer_count_24h: None,
            error_rate_5xx: None,
            auth_failure_rate: None,
            uptime_seconds: None,
        }
    }

    /// Schema 1.
    pub fn on(measured: &Measured) -> Self {
        Self {
            opted_in: true,
            user_count: Some(banded(measured.users)),
            transfer_count_24h: Some(banded(measured.transfers)),
            error_rate_5xx: Some(rate(measured.requests)),
            auth_failure_rate: Some(rate(measured.authentications)),
            uptime_seconds: Some(measured.uptime_seconds),
        }
    }
}

fn banded(count: u64) -> u64 {
    count.max(SMALLEST_COUNT)
}

/// Of 10,000, rounded down; of few requests nothing is said.
fn rate((of, some): (u64, u64)) -> u64 {
    if of < RATE_OF / 100 { 0 } else { some.min(of).saturating_mul(RATE_OF) / of }
}
