//! Rows about ParamantLicense.

use super::{Kind, Row, named, row};
use crate::clause::{self, Clause};

const MINIMAL: &str = "{ secretRef: { name: acme-license } }";

const fn license(at: &'static str, clause: Clause, refused: &'static str, accepted: &'static str) -> Row {
    row(Kind::License, at, clause, refused, accepted)
}

pub(super) const ROWS: &[Row] = &[
    named(
        Kind::License,
        clause::LICENSE_NAME,
        MINIMAL,
        "abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    ),
    named(Kind::License, clause::LICENSE_NAME, MINIMAL, "acme-", "acme-x"),
    license(
        "spec",
        clause::TELEMETRY_TRAVELS_WITH_CHECKS,
        "{ secretRef: { name: acme-license }, telemetry: { enabled: true, consent: { schema: 1, previewSha256: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' } } }",
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/24'] } }, telemetry: { enabled: true, consent: { schema: 1, previewSha256: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' } } }",
    ),
    license(
        "spec",
        clause::TELEMETRY_TRAVELS_WITH_CHECKS,
        "{ secretRef: { name: acme-license }, telemetry: { enabled: true, consent: { schema: 1, previewSha256: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' } } }",
        "{ secretRef: { name: acme-license }, telemetry: { enabled: false, consent: { schema: 1, previewSha256: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' } } }",
    ),
    license(
        "spec",
        clause::AIR_GAP_OR_ONLINE,
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/24'] } }, airGap: { capabilitySetRef: { name: set } } }",
        "{ secretRef: { name: acme-license }, airGap: { capabilitySetRef: { name: set } } }",
    ),
    license(
        "spec.telemetry",
        clause::TELEMETRY_NEEDS_CONSENT,
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/24'] } }, telemetry: { enabled: true } }",
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/24'] } }, telemetry: { enabled: false } }",
    ),
    license(
        "spec.online.interval",
        clause::CHECK_IN_RANGE,
        "{ secretRef: { name: acme-license }, online: { interval: 14m59s, egress: { cidrs: ['203.0.113.0/24'] } } }",
        "{ secretRef: { name: acme-license }, online: { interval: 15m, egress: { cidrs: ['203.0.113.0/24'] } } }",
    ),
    license(
        "spec.online.interval",
        clause::CHECK_IN_RANGE,
        "{ secretRef: { name: acme-license }, online: { interval: 6h1s, egress: { cidrs: ['203.0.113.0/24'] } } }",
        "{ secretRef: { name: acme-license }, online: { interval: 360m, egress: { cidrs: ['203.0.113.0/24'] } } }",
    ),
    license(
        "spec.online.egress",
        clause::EGRESS_NAMES_A_WAY,
        "{ secretRef: { name: acme-license }, online: { egress: {} } }",
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/24'] } } }",
    ),
    license(
        "spec.online.egress.cidrs",
        clause::CIDRS,
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/024'] } } }",
        "{ secretRef: { name: acme-license }, online: { egress: { cidrs: ['203.0.113.0/24'] } } }",
    ),
];
