//! Who asks for a drain at a given instant. Pure.

use jiff::Timestamp;
use paramant_protocol::control::{DrainDirective, DrainSource};

/// Everything that was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// By the operator: spec, policy, update step.
    pub operator: DrainDirective,
    /// By the vendor, until then.
    pub vendor_until: Option<Timestamp>,
    /// By SIGTERM.
    pub shutting_down: bool,
}

impl Requests {
    /// Who asks at `now`, in a fixed order. Empty: uploads are taken.
    ///
    /// `spec.drain: false` overrides the vendor, and nobody else: policy and update step are the same team's own wishes.
    pub fn sources(&self, now: Timestamp) -> Vec<DrainSource> {
        self.asked(now).into_iter().filter_map(|(source, asks)| asks.then_some(source)).collect()
    }

    /// Whether anybody asks at `now`.
    pub fn draining(&self, now: Timestamp) -> bool {
        self.asked(now).into_iter().any(|(_, asks)| asks)
    }

    fn asked(&self, now: Timestamp) -> [(DrainSource, bool); 5] {
        let operator = &self.operator;
        let vendor = self.vendor_until.is_some_and(|until| now < until) && operator.spec != Some(false);
        [
            (DrainSource::Spec, operator.spec == Some(true)),
            (DrainSource::Policy, operator.policy),
            (DrainSource::Vendor, vendor),
            (DrainSource::Update, operator.update_until.is_some_and(|until| now < until)),
            (DrainSource::Shutdown, self.shutting_down),
        ]
    }

    /// The next instant after `now` at which a request ends by itself.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        [self.vendor_until, self.operator.update_until]
            .into_iter()
            .flatten()
            .filter(|until| *until > now)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn requests(
        spec: Option<bool>,
        policy: bool,
        update: Option<i64>,
        vendor: Option<i64>,
        term: bool,
    ) -> Requests {
        Requests {
            operator: DrainDirective {
                spec,
                policy,
                update_until: update.map(at),
                ..DrainDirective::default()
            },
            vendor_until: vendor.map(at),
            shutting_down: term,
        }
    }

    #[test]
    fn who_asks_follows_the_table() {
        use DrainSource::{Policy, Shutdown, Spec, Update, Vendor};
        let now = at(100);
        for (asked, expected) in [
            (requests(None, false, None, None, false), vec![]),
            (requests(Some(true), false, None, None, false), vec![Spec]),
            (requests(Some(false), false, None, None, false), vec![]),
            (requests(None, true, None, None, false), vec![Policy]),
            (requests(Some(false), true, None, None, false), vec![Policy]),
            (requests(None, false, Some(101), None, false), vec![Update]),
            (requests(Some(false), false, Some(101), None, false), vec![Update]),
            (requests(None, false, Some(100), None, false), vec![]),
            (requests(None, false, Some(99), None, false), vec![]),
            (requests(None, false, None, Some(101), false), vec![Vendor]),
            (requests(None, false, None, Some(100), false), vec![]),
            (requests(Some(false), false, None, Some(101), false), vec![]),
            (requests(Some(true), false, None, Some(101), false), vec![Spec, Vendor]),
            (requests(Some(false), false, None, Some(101), true), vec![Shutdown]),
            (
                requests(Some(true), true, Some(101), Some(101), true),
                vec![Spec, Policy, Vendor, Update, Shutdown],
            ),
        ] {
            assert_eq!(asked.sources(now), expected, "{asked:?}");
        }
    }

    proptest! {
        #[test]
        fn without_spec_policy_and_shutdown_every_drain_ends_by_itself(
            spec in prop_oneof![Just(None), Just(Some(false))],
            update in proptest::option::of(0i64..1000),
            vendor in proptest::option::of(0i64..1000),
        ) {
            prop_assert!(!requests(spec, false, update, vendor, false).draining(at(1000)));
        }

        #[test]
        fn nothing_changes_before_the_next_expiry(
            spec in proptest::option::of(any::<bool>()),
            policy in any::<bool>(),
            update in proptest::option::of(0i64..1000),
            vendor in proptest::option::of(0i64..1000),
            now in 0i64..1000,
            later in 0i64..1000,
        ) {
            let asked = requests(spec, policy, update, vendor, false);
            let edge = asked.next_expiry(at(now)).unwrap_or(at(i64::from(u32::MAX)));
            let then = at(now + later);
            if then < edge {
                prop_assert_eq!(asked.sources(at(now)), asked.sources(then));
            }
        }
    }
}
