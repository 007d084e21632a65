//! The rules of [`clause`], in Rust, with the same messages.
//!
//! The operator runs them on every object it reads (one may be older than a rule), the plugin before it patches. Pure.
//! Beyond the clauses they say when a size or a span cannot be read, which the API server's patterns refuse as well.

mod change;
mod license;
mod policy;
mod relay;

use std::{net::IpAddr, time::Duration};

pub use change::relay_change;
pub use license::license;
pub use policy::policy;
pub use relay::relay;

use crate::{
    clause::{self, Clause},
    network::{CaBundle, Cidr, Egress},
    size::{ByteSize, Size},
    span::Span,
};

/// Something in a manifest that must be written differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Violation {
    /// Where, as in the manifest: `spec.limits.maxBlob`.
    pub path: String,
    /// What to write instead.
    pub message: &'static str,
}

const SIZE_SHAPE: &str =
    "write a number of bytes with an optional unit (k, M, G, T, Ki, Mi, Gi, Ti), such as 20Gi";
const SPAN_SHAPE: &str = "write hours, minutes and seconds in that order, such as 168h, 1h30m or 600s";

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn require(&mut self, path: &str, clause: Clause, holds: bool) {
        if !holds {
            self.add(path, clause.message);
        }
    }

    fn add(&mut self, path: &str, message: &'static str) {
        self.0.push(Violation { path: path.to_owned(), message });
    }

    /// The bytes of a size that is there and can be read.
    fn size(&mut self, path: &str, size: Option<&Size>) -> Option<ByteSize> {
        let bytes = size?.bytes();
        if bytes.is_none() {
            self.add(path, SIZE_SHAPE);
        }
        bytes
    }

    /// The length of a span that is there and can be read.
    fn span(&mut self, path: &str, span: Option<&Span>) -> Option<Duration> {
        let duration = span?.duration();
        if duration.is_none() {
            self.add(path, SPAN_SHAPE);
        }
        duration
    }

    /// A span that must lie between two lengths, both allowed.
    fn span_in(&mut self, path: &str, clause: Clause, span: Option<&Span>, least: Duration, most: Duration) {
        if let Some(duration) = self.span(path, span) {
            self.require(path, clause, (least..=most).contains(&duration));
        }
    }

    fn cidrs(&mut self, path: &str, cidrs: &[Cidr]) {
        self.require(path, clause::CIDRS, cidrs.iter().all(is_cidr));
    }

    fn egress(&mut self, path: &str, egress: &Egress) {
        self.require(path, clause::EGRESS_NAMES_A_WAY, !egress.cidrs.is_empty() || egress.proxy.is_some());
        self.cidrs(&format!("{path}.cidrs"), &egress.cidrs);
    }

    fn ca_bundle(&mut self, path: &str, bundle: Option<&CaBundle>) {
        if let Some(bundle) = bundle {
            let pem = bundle.as_str().contains("-----BEGIN CERTIFICATE-----");
            let public = !bundle.as_str().contains("PRIVATE KEY");
            self.require(path, clause::CA_BUNDLE_IS_PEM, pem && public);
        }
    }

    fn name(&mut self, clause: Clause, name: Option<&String>, longest: usize) {
        let name = name.map_or("", String::as_str);
        let shape = name.len() <= longest
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        self.require("metadata.name", clause, shape);
    }
}

/// As the API server's `isCIDR`: no zone, no leading zero, no IPv4 inside IPv6.
fn is_cidr(cidr: &Cidr) -> bool {
    let Some((address, prefix)) = cidr.as_str().split_once('/') else { return false };
    let plain = prefix == "0"
        || (prefix.bytes().all(|b| b.is_ascii_digit()) && !prefix.starts_with('0') && prefix.len() <= 3);
    let Ok(bits) = prefix.parse::<u16>() else { return false };
    plain
        && match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => bits <= 32,
            Ok(IpAddr::V6(address)) => bits <= 128 && address.to_ipv4_mapped().is_none(),
            Err(_) => false,
        }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn address_ranges_are_read_as_the_api_server_reads_them() {
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("10.1.2.3/8", true),
            ("0.0.0.0/0", true),
            ("2001:db8::/32", true),
            ("::/0", true),
            ("10.0.0.0/33", false),
            ("10.0.0.0/08", false),
            ("10.0.0.0", false),
            ("10.0.0/8", false),
            ("010.0.0.0/8", false),
            ("::ffff:10.0.0.0/104", false),
            ("2001:db8::/129", false),
            ("10.0.0.0/", false),
            ("10.0.0.0/+8", false),
        ] {
            assert_eq!(is_cidr(&Cidr::from(text)), good, "{text}");
        }
    }
}
