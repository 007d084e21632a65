//! Whether the keys of a policy could verify anything: the schema sees the marks of PEM, not what is between them.
//!
//! A key that cannot be read would count for nobody, and each update would be refused for a reason that names no key.

use paramant_crds::policy::Verification;

use crate::signature::key;

/// What a person must write differently in the keys.
pub(super) fn problem(verification: &Verification) -> Option<String> {
    verification.keys.iter().enumerate().find_map(|(index, one)| {
        let why = key::check(one.pem.as_str()).err()?;
        Some(format!("spec.verification.keys[{index}].pem ({}): {why}", one.name))
    })
}
