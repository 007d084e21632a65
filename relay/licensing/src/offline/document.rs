//! The payload of an offline licence: three required fields, strict JSON, and what its dates mean.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use paramant_protocol::{canonical, strict};
use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value, json};

use super::OfflineError;

/// How many accounts may be active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserCap {
    /// So many.
    Users(u64),
    /// Any number.
    Unlimited,
}

/// What a licence says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The cap.
    pub max_keys: UserCap,
    /// RFC 3339, or a date, which means its first instant in UTC; kept verbatim, since `/health` shows it so.
    pub expires_at: String,
    /// The customer.
    pub issued_to: String,
    /// When, informational.
    pub issued_at: Option<String>,
}

impl UserCap {
    /// The number, if there is one.
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Users(users) => Some(users),
            Self::Unlimited => None,
        }
    }

    /// Whether one more account fits beside so many active ones.
    pub fn admits_beside(self, active: u64) -> bool {
        self.limit().is_none_or(|limit| active < limit)
    }
}

impl FromStr for UserCap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(users) if plain && users > 0 && users <= canonical::MAX_INTEGER => Ok(Self::Users(users)),
            _ => Err(format!("{text:?} is not a user cap: write \"unlimited\" or a whole number above 0")),
        }
    }
}

impl fmt::Display for UserCap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users(users) => write!(formatter, "{users}"),
            Self::Unlimited => formatter.write_str("unlimited"),
        }
    }
}

impl Terms {
    /// Reads a payload whose signature was checked.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, String> {
        let fields = strict::object(payload).map_err(|error| format!("its payload is {error}"))?;
        let max_keys = match fields.get("max_keys") {
            Some(Value::String(text)) => text.parse()?,
            Some(Value::Number(number)) => number.to_string().parse()?,
            _ => return Err("max_keys is missing".into()),
        };
        Ok(Self {
            max_keys,
            expires_at: text(&fields, "expires_at")?,
            issued_to: text(&fields, "issued_to")?,
            issued_at: text(&fields, "issued_at").ok(),
        })
    }

    /// What a licence says, whoever signed it: to show a person, never to act by.
    pub fn unverified(text: &str) -> Result<Self, String> {
        let encoded = text.trim().strip_prefix(super::PREFIX).ok_or("a licence starts with plk_")?;
        let bytes =
            BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| "it is not base64url without padding")?;
        let payload = bytes.get(..bytes.len().saturating_sub(super::SIGNATURE)).unwrap_or_default();
        Self::parse(payload)
    }

    /// The last instant the licence counts.
    pub(super) fn expiry(&self) -> Result<Timestamp, String> {
        instant(&self.expires_at).ok_or_else(|| {
            format!(
                "expires_at {:?} is neither a date (2027-01-31) nor RFC 3339 (2027-01-31T00:00:00Z)",
                self.expires_at
            )
        })
    }

    /// The payload to sign.
    pub(super) fn to_payload(&self) -> Result<Vec<u8>, OfflineError> {
        let max_keys = match self.max_keys {
            UserCap::Unlimited => json!("unlimited"),
            UserCap::Users(users) => json!(users),
        };
        if self.issued_to.trim().is_empty() {
            return Err(OfflineError::Content("issued_to is empty: name the customer".into()));
        }
        let mut payload =
            json!({"max_keys": max_keys, "expires_at": self.expires_at, "issued_to": self.issued_to});
        if let (Some(fields), Some(issued_at)) = (payload.as_object_mut(), &self.issued_at) {
            fields.insert("issued_at".into(), json!(issued_at));
        }
        canonical::value_to_vec(&payload).map_err(|error| OfflineError::Content(error.to_string()))
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(format!("{name} is missing")),
    }
}

/// RFC 3339 with `T` and `Z`, for fields of signed documents. Nothing looser: two readers must not see two times.
pub(crate) fn utc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    let at = instant(&text).filter(|_| text.ends_with('Z'));
    at.ok_or_else(|| serde::de::Error::custom("not RFC 3339 in UTC"))
}

/// RFC 3339 with `T` and an offset or `Z`, or `YYYY-MM-DD` for the first instant of that day in UTC. Nothing looser.
fn instant(text: &str) -> Option<Timestamp> {
    let shape =
        |at: usize, expected: &[u8]| text.as_bytes().get(at).is_some_and(|byte| expected.contains(byte));
    if !(shape(4, b"-") && shape(7, b"-")) {
        return None;
    }
    if text.len() == 10 {
        let date: Date = text.parse().ok()?;
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let allowed = |byte: u8| byte.is_ascii_digit() || b"-+:.TZ".contains(&byte);
    if shape(10, b"T") && shape(13, b":") && shape(16, b":") && text.bytes().all(allowed) {
        return text.parse().ok();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_means_its_first_instant_in_utc() {
        assert_eq!(instant("2027-01-01").unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(instant("2027-01-01T02:00:00+02:00").unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(instant("2027-01-01T00:00:00.500Z").unwrap(), "2027-01-01T00:00:00.5Z".parse().unwrap());
    }

    #[test]
    fn looser_dates_are_refused() {
        for text in [
            "",
            "2027",
            "2027-01",
            "20270101",
            "1 Jan 2027",
            "2027-02-30",
            "2027-01-01T00:00:00",
            "2027-01-01 00:00:00Z",
            "2027-01-01T00:00Z",
            "2027-01-01t00:00:00z",
            "2027-01-01T00:00:00Z[UTC]",
            "1800000000",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in any::<String>()) {
            let _ = (instant(&text), text.parse::<UserCap>(), Terms::parse(text.as_bytes()));
        }
    }
}
