//! Rows about ParamantPolicy.

use super::{Kind, Row, named, row};
use crate::clause::{self, Clause};

const MINIMAL: &str = "{ updates: { mode: Manual } }";

const fn policy(at: &'static str, clause: Clause, refused: &'static str, accepted: &'static str) -> Row {
    row(Kind::Policy, at, clause, refused, accepted)
}

pub(super) const ROWS: &[Row] = &[
    named(
        Kind::Policy,
        clause::POLICY_NAME,
        MINIMAL,
        "abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    ),
    named(Kind::Policy, clause::POLICY_NAME, MINIMAL, "2026-policy", "policy-2026"),
    policy(
        "spec.drain",
        clause::SETTLE_WITHIN_DEADLINE,
        "{ drain: { deadline: 1m, settle: 61s } }",
        "{ drain: { deadline: 1m, settle: 60s } }",
    ),
    policy(
        "spec.drain",
        clause::SETTLE_WITHIN_DEADLINE,
        "{ drain: { settle: 31m } }",
        "{ drain: { settle: 30m } }",
    ),
    policy(
        "spec.drain.deadline",
        clause::DEADLINE_RANGE,
        "{ drain: { deadline: 9s, settle: 0s } }",
        "{ drain: { deadline: 10s, settle: 0s } }",
    ),
    policy(
        "spec.drain.deadline",
        clause::DEADLINE_RANGE,
        "{ drain: { deadline: 168h1s } }",
        "{ drain: { deadline: 168h } }",
    ),
    policy(
        "spec.updates",
        clause::WINDOW_MODE_HAS_WINDOWS,
        "{ updates: { mode: Window } }",
        "{ updates: { mode: Window, windows: [{ start: '02:00', duration: 4h }] } }",
    ),
    policy(
        "spec.updates",
        clause::WINDOW_MODE_HAS_WINDOWS,
        "{ updates: { mode: Window, windows: [] } }",
        "{ updates: { mode: Approval, windows: [] } }",
    ),
    policy(
        "spec.updates.windows[].duration",
        clause::WINDOW_RANGE,
        "{ updates: { windows: [{ start: '02:00', duration: 4m59s }] } }",
        "{ updates: { windows: [{ start: '02:00', duration: 5m }] } }",
    ),
    policy(
        "spec.updates.windows[].duration",
        clause::WINDOW_RANGE,
        "{ updates: { windows: [{ start: '02:00', duration: 169h }] } }",
        "{ updates: { windows: [{ start: '02:00', duration: 168h }] } }",
    ),
    policy(
        "spec.updates.exclusions[]",
        clause::EXCLUSION_ENDS_AFTER_START,
        "{ updates: { exclusions: [{ from: '2026-12-20T00:00:00Z', to: '2026-12-20T00:00:00Z', reason: year end }] } }",
        "{ updates: { exclusions: [{ from: '2026-12-20T00:00:00Z', to: '2026-12-20T00:00:01Z', reason: year end }] } }",
    ),
    policy(
        "spec.updates.healthTimeout",
        clause::HEALTH_TIMEOUT_RANGE,
        "{ updates: { healthTimeout: 9s } }",
        "{ updates: { healthTimeout: 10s } }",
    ),
    policy(
        "spec.updates.healthTimeout",
        clause::HEALTH_TIMEOUT_RANGE,
        "{ updates: { healthTimeout: 3601s } }",
        "{ updates: { healthTimeout: 3600s } }",
    ),
    policy(
        "spec.updates.settle",
        clause::SETTLE_RANGE,
        "{ updates: { settle: 25h } }",
        "{ updates: { settle: 24h } }",
    ),
    policy(
        "spec.verification",
        clause::UNSIGNED_OR_ATTESTED,
        "{ verification: { allowUnsigned: true, minAttestations: 1 } }",
        "{ verification: { allowUnsigned: true, minAttestations: 0 } }",
    ),
    policy(
        "spec.verification",
        clause::UNSIGNED_OR_ATTESTED,
        "{ verification: { allowUnsigned: true, minAttestations: 1 } }",
        "{ verification: { allowUnsigned: false, minAttestations: 1 } }",
    ),
    policy(
        "spec.verification.keys[].pem",
        clause::KEY_IS_PUBLIC_PEM,
        "{ verification: { keys: [{ name: release, pem: '-----BEGIN EC PRIVATE KEY----- …' }] } }",
        r#"{ verification: { keys: [{ name: release, pem: "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf2vGHN6ROvITHyXtosL17CIijOS8953OeXStl/UVrRRTN2Hk4HevDbTwPtNMzj7Zpr5bCsGYmQZ2LRyPwuJPoA==\n-----END PUBLIC KEY-----" }] } }"#,
    ),
    policy(
        "spec.verification.keys[].pem",
        clause::KEY_IS_PUBLIC_PEM,
        "{ verification: { keys: [{ name: release, pem: '-----BEGIN PUBLIC KEY----- -----BEGIN PRIVATE KEY-----' }] } }",
        r#"{ verification: { keys: [{ name: release, pem: "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf2vGHN6ROvITHyXtosL17CIijOS8953OeXStl/UVrRRTN2Hk4HevDbTwPtNMzj7Zpr5bCsGYmQZ2LRyPwuJPoA==\n-----END PUBLIC KEY-----" }] } }"#,
    ),
    policy(
        "spec.remoteActions",
        clause::APPROVED_NOT_DENIED,
        "{ remoteActions: { approved: [0123456789abcdef0123456789abcdef, 1123456789abcdef0123456789abcdef], denied: [1123456789abcdef0123456789abcdef] } }",
        "{ remoteActions: { approved: [0123456789abcdef0123456789abcdef], denied: [1123456789abcdef0123456789abcdef] } }",
    ),
    policy(
        "spec.supportAccess",
        clause::APPROVED_NOT_REVOKED,
        "{ supportAccess: { approved: [k1, k2], revoked: [k2] } }",
        "{ supportAccess: { approved: [k1], revoked: [k2] } }",
    ),
    policy(
        "spec.supportAccess.maxDuration",
        clause::SUPPORT_RANGE,
        "{ supportAccess: { maxDuration: 299s } }",
        "{ supportAccess: { maxDuration: 5m } }",
    ),
    policy(
        "spec.supportAccess.maxDuration",
        clause::SUPPORT_RANGE,
        "{ supportAccess: { maxDuration: 24h1m } }",
        "{ supportAccess: { maxDuration: 24h } }",
    ),
];
