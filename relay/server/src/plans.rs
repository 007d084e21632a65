//! What each published plan allows (protocol section 1.4), while `limits.planQuotas` is on.
//!
//! Off, which is the default, every plan allows what the relay's own limits allow: a plan is then a name and nothing more.
//! Pure but for [`Hourly`], which counts downloads in memory: a restart may let an hour's worth pass twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Views a blob may have at most, whatever the plan.
const MAX_VIEWS: u32 = 100;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a plan allows. `None` is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Its name after normalisation, or as given where plans mean nothing.
    pub name: &'static str,
    /// How long a blob may wait to be read.
    pub max_ttl: Duration,
    /// How often a blob may be read.
    pub max_views: u32,
    /// Devices an account may register.
    pub devices: Option<u32>,
    /// How long a device's registration holds.
    pub device_lifetime: Option<Duration>,
    /// Uploads an account may make in a calendar month (UTC).
    pub uploads_per_month: Option<u32>,
    /// Downloads a key may begin in an hour.
    pub downloads_per_hour: Option<u32>,
    /// Active keys of one account.
    pub keys_per_account: Option<u32>,
    /// Whether webhooks and the history of an account are offered.
    pub extras: bool,
}

const COMMUNITY: Plan = Plan {
    name: "community",
    max_ttl: HOUR,
    max_views: 1,
    devices: Some(5),
    device_lifetime: Some(DAY.saturating_mul(7)),
    uploads_per_month: Some(10),
    downloads_per_hour: Some(50),
    keys_per_account: Some(5),
    extras: false,
};

const PRO: Plan = Plan {
    name: "pro",
    max_ttl: DAY,
    max_views: 10,
    devices: Some(50),
    device_lifetime: Some(DAY.saturating_mul(30)),
    uploads_per_month: Some(500),
    downloads_per_hour: Some(500),
    keys_per_account: None,
    extras: true,
};

/// The published relay forgot this plan in several of its tables; here it lies between its neighbours in all of them.
const BUSINESS: Plan = Plan {
    name: "business",
    max_ttl: DAY.saturating_mul(7),
    max_views: 25,
    devices: Some(100),
    device_lifetime: Some(DAY.saturating_mul(365)),
    uploads_per_month: Some(1_000_000),
    downloads_per_hour: Some(5_000),
    keys_per_account: None,
    extras: true,
};

const ENTERPRISE: Plan = Plan {
    name: "enterprise",
    max_ttl: DAY.saturating_mul(7),
    max_views: MAX_VIEWS,
    devices: None,
    device_lifetime: Some(DAY.saturating_mul(365)),
    uploads_per_month: Some(1_000_000),
    downloads_per_hour: None,
    keys_per_account: None,
    extras: true,
};

const WITHOUT_QUOTAS: Plan = Plan {
    name: "without quotas",
    max_ttl: Duration::MAX,
    max_views: MAX_VIEWS,
    devices: None,
    device_lifetime: None,
    uploads_per_month: None,
    downloads_per_hour: None,
    keys_per_account: None,
    extras: true,
};

/// What a key of this plan may do.
#[must_use]
pub fn in_force(plan: &str, quotas: bool) -> &'static Plan {
    match plan {
        _ if !quotas => &WITHOUT_QUOTAS,
        "pro" => &PRO,
        "business" => &BUSINESS,
        "licensed" | "enterprise" => &ENTERPRISE,
        _ => &COMMUNITY,
    }
}

/// The calendar month that uploads are counted in, such as `2026-11`.
#[must_use]
pub fn month(at: Timestamp) -> String {
    at.strftime("%Y-%m").to_string()
}

/// Downloads begun in this hour, by key.
#[derive(Debug, Default)]
pub struct Hourly(Mutex<(i64, HashMap<String, u32>)>);

impl Hourly {
    /// Counts one download of a key that may begin so many in an hour.
    ///
    /// # Errors
    /// When it has none left: how long until the next hour.
    pub fn admit(&self, kid: &str, limit: u32, at: Timestamp) -> Result<(), Duration> {
        let (hour, into) = (at.as_second().div_euclid(3600), at.as_second().rem_euclid(3600));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.0 != hour {
            *counts = (hour, HashMap::new());
        }
        let count = counts.1.entry(kid.to_owned()).or_default();
        if *count >= limit {
            return Err(Duration::from_secs(3600_u64.saturating_sub(into.unsigned_abs())));
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_and_unknown_names_get_the_published_limits_and_none_while_quotas_are_off() {
        for (name, views, uploads) in [
            ("community", 1, 10),
            ("free", 1, 10),
            ("dev", 1, 10),
            ("something else", 1, 10),
            ("pro", 10, 500),
            ("business", 25, 1_000_000),
            ("licensed", 100, 1_000_000),
            ("enterprise", 100, 1_000_000),
        ] {
            let plan = in_force(name, true);
            assert_eq!((plan.max_views, plan.uploads_per_month), (views, Some(uploads)), "{name}");
            assert_eq!(in_force(name, false), &WITHOUT_QUOTAS);
        }
    }

    #[test]
    fn an_hour_ends_with_the_clocks_hour_and_each_key_has_its_own() {
        let hourly = Hourly::default();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let late = at("2026-11-26T10:59:50Z");
        assert_eq!((0..5).filter(|_| hourly.admit("a", 3, late).is_ok()).count(), 3);
        assert_eq!(hourly.admit("a", 3, late), Err(Duration::from_secs(10)));
        assert!(hourly.admit("b", 3, late).is_ok());
        assert!(hourly.admit("a", 3, at("2026-11-26T11:00:00Z")).is_ok());
    }

    #[test]
    fn uploads_are_counted_by_the_month_of_utc() {
        assert_eq!(month("2026-12-31T23:59:59Z".parse().unwrap()), "2026-12");
        assert_eq!(month("2027-01-01T00:00:00Z".parse().unwrap()), "2027-01");
    }
}
