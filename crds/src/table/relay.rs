//! Rows about ParamantRelay.

use super::{Kind, Row, change, named, row};
use crate::clause::{self, Clause};

const MINIMAL: &str = "{ image: 'registry.example/paramant/relay:1.0.0' }";

/// A certificate authority that whoever reads it can read, as a double-quoted scalar. It signs nothing: its key is nowhere.
macro_rules! authority {
    () => {
        "\"-----BEGIN CERTIFICATE-----\\n\
     MIIBcTCCARegAwIBAgIUKSCqclSfLFSSJvS9UK3RjVRNk8owCgYIKoZIzj0EAwIw\\n\
     DTELMAkGA1UEAwwCQ0EwIBcNMjYxMTI2MTkxMTExWhgPMjEyNjExMDIxOTExMTFa\\n\
     MA0xCzAJBgNVBAMMAkNBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPgQMAgAU\\n\
     BaoP0yNlzv/J/yT7XP7Qo7Cq4JPEnltGAgwsy1N7VPs+5LEr1oq+f8LJqj5+pDg8\\n\
     DP36ko9ALGRWW6NTMFEwHQYDVR0OBBYEFL4pDtKhOo/65e2X3H5HY9KErhG5MB8G\\n\
     A1UdIwQYMBaAFL4pDtKhOo/65e2X3H5HY9KErhG5MA8GA1UdEwEB/wQFMAMBAf8w\\n\
     CgYIKoZIzj0EAwIDSAAwRQIhAKDxQ4F+mYr5HNZuWs6sdL7GpSz4W5QEmmxBGZln\\n\
     PT5NAiBU+roXPEupJfA4nAOLaxAgwIjlXQ1qSnE3vNCMgrxCag==\\n\
     -----END CERTIFICATE-----\\n\""
    };
}

const fn relay(at: &'static str, clause: Clause, refused: &'static str, accepted: &'static str) -> Row {
    row(Kind::Relay, at, clause, refused, accepted)
}

pub(super) const ROWS: &[Row] = &[
    named(
        Kind::Relay,
        clause::RELAY_NAME,
        MINIMAL,
        "a123456789012345678901234567890123456789x",
        "a12345678901234567890123456789012345678z",
    ),
    named(Kind::Relay, clause::RELAY_NAME, MINIMAL, "dotted.name", "dotted-name"),
    named(Kind::Relay, clause::RELAY_NAME, MINIMAL, "0-first", "a0-first"),
    change(
        "",
        clause::LOG_ORIGIN_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'a.example/log' } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'b.example/log' } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'a.example/log' } }",
    ),
    change(
        "",
        clause::LOG_ORIGIN_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'a.example/log' } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', sector: health }",
        "{ image: 'registry.example/paramant/relay:1.0.0', sector: health, log: { origin: a.example/log } }",
    ),
    Row {
        reported: Some("{ log: { origin: c.example/log } }"),
        ..change(
            "",
            clause::LOG_ORIGIN_STAYS,
            "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'a.example/log' } }",
            "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'b.example/log' } }",
            "{ image: 'registry.example/paramant/relay:1.0.0', log: { origin: 'c.example/log' } }",
        )
    },
    change(
        "spec",
        clause::STORAGE_PRESENCE_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', sector: health }",
        "{ image: 'registry.example/paramant/relay:1.0.0', sector: health, storage: { size: 1Gi } }",
    ),
    change(
        "spec",
        clause::STORAGE_PRESENCE_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', sector: relay }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 20Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', sector: health }",
    ),
    change(
        "spec",
        clause::STORAGE_CLASS_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi, className: slow } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi, className: fast } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 2Gi, className: slow } }",
    ),
    change(
        "spec",
        clause::STORAGE_CLASS_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi, className: slow } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi, className: slow, retention: Delete } }",
    ),
    change(
        "spec",
        clause::STORAGE_ACCESS_STAYS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi, accessMode: ReadWriteOnce } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 1Gi, accessMode: ReadWriteOncePod } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 2Gi, accessMode: ReadWriteOnce } }",
    ),
    change(
        "spec",
        clause::STORAGE_GROWS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 2Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 2000Mi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 2049Mi } }",
    ),
    change(
        "spec",
        clause::STORAGE_GROWS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { retention: Retain } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 9Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 10Gi } }",
    ),
    change(
        "spec",
        clause::STORAGE_GROWS,
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 20Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { retention: Retain } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', storage: { size: 20Gi, retention: Retain } }",
    ),
    relay(
        "spec.image",
        clause::IMAGE_IS_COMPLETE,
        "{ image: 'registry.example/paramant/relay' }",
        "{ image: 'registry.example/paramant/relay:1.0.0' }",
    ),
    relay(
        "spec.image",
        clause::IMAGE_IS_COMPLETE,
        "{ image: 'paramant/relay:1.0.0' }",
        "{ image: 'registry:5000/relay:1.0.0' }",
    ),
    relay(
        "spec.image",
        clause::IMAGE_IS_COMPLETE,
        "{ image: 'registry.example:5000/relay' }",
        "{ image: 'registry.example:5000/relay@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' }",
    ),
    relay(
        "spec.image",
        clause::IMAGE_IS_COMPLETE,
        "{ image: 'registry.example/Relay:1.0.0' }",
        "{ image: 'registry.example/re__lay:1.0.0' }",
    ),
    relay(
        "spec.limits.maxBlob",
        clause::MAX_BLOB_RANGE,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: '65535' } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 64Ki } }",
    ),
    relay(
        "spec.limits.maxBlob",
        clause::MAX_BLOB_RANGE,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 1025Gi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 1Ti } }",
    ),
    relay(
        "spec.limits.maxTtl",
        clause::MAX_TTL_RANGE,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxTtl: 59s } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxTtl: 60s } }",
    ),
    relay(
        "spec.limits.maxTtl",
        clause::MAX_TTL_RANGE,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxTtl: 8760h1s } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxTtl: 8760h } }",
    ),
    relay(
        "spec.limits",
        clause::BLOB_FITS_IN_FLIGHT,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 16Mi, maxInFlight: 15Mi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 16Mi, maxInFlight: 16Mi } }",
    ),
    relay(
        "spec.limits",
        clause::BLOB_FITS_IN_FLIGHT,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxInFlight: 4Mi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxInFlight: 5Mi } }",
    ),
    relay(
        "spec.limits",
        clause::BLOB_FITS_OPEN,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 16Mi, maxOpenPerAccount: 15Mi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxBlob: 16Mi, maxOpenPerAccount: 16Mi } }",
    ),
    relay(
        "spec.limits",
        clause::BLOB_FITS_OPEN,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxOpenPerAccount: 4Mi } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { maxOpenPerAccount: 5Mi } }",
    ),
    relay(
        "spec.limits.trustedProxies",
        clause::CIDRS,
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { trustedProxies: ['10.0.0.0/33'] } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', limits: { trustedProxies: ['10.0.0.0/32', 'fd00::/8'] } }",
    ),
    relay(
        "spec.log.witnesses",
        clause::QUORUM_REACHABLE,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 2, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { cidrs: ['192.0.2.0/24'] } } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { cidrs: ['192.0.2.0/24'] } } } }",
    ),
    relay(
        "spec.log.witnesses.caBundle",
        clause::CA_BUNDLE_IS_PEM,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], caBundle: '-----BEGIN PRIVATE KEY-----', egress: { cidrs: ['192.0.2.0/24'] } } } }",
        concat!(
            "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], caBundle: ",
            authority!(),
            ", egress: { cidrs: ['192.0.2.0/24'] } } } }"
        ),
    ),
    relay(
        "spec.log.witnesses.egress",
        clause::EGRESS_NAMES_A_WAY,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: {} } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { proxy: 'http://proxy.example:3128' } } } }",
    ),
    relay(
        "spec.log.witnesses.egress",
        clause::EGRESS_NAMES_A_WAY,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { cidrs: [] } } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { cidrs: ['192.0.2.0/24'] } } } }",
    ),
    relay(
        "spec.log.witnesses.egress.cidrs",
        clause::CIDRS,
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { cidrs: ['192.0.2.0.1/24'] } } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', log: { witnesses: { quorum: 1, members: [{ name: w, publicKey: 'witness.example+82bca4dd+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea', url: 'https://witness.example' }], egress: { cidrs: ['192.0.2.1/24'] } } } }",
    ),
    relay(
        "spec.webhooks.caBundle",
        clause::CA_BUNDLE_IS_PEM,
        "{ image: 'registry.example/paramant/relay:1.0.0', webhooks: { hosts: [hooks.example], caBundle: '-----BEGIN PRIVATE KEY-----', egress: { cidrs: ['192.0.2.0/24'] } } }",
        concat!(
            "{ image: 'registry.example/paramant/relay:1.0.0', webhooks: { hosts: [hooks.example], caBundle: ",
            authority!(),
            ", egress: { cidrs: ['192.0.2.0/24'] } } }"
        ),
    ),
    relay(
        "spec.webhooks.egress",
        clause::EGRESS_NAMES_A_WAY,
        "{ image: 'registry.example/paramant/relay:1.0.0', webhooks: { hosts: [hooks.example], egress: {} } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', webhooks: { hosts: [hooks.example], egress: { cidrs: ['192.0.2.0/24'] } } }",
    ),
    relay(
        "spec.webhooks.egress.cidrs",
        clause::CIDRS,
        "{ image: 'registry.example/paramant/relay:1.0.0', webhooks: { hosts: [hooks.example], egress: { cidrs: ['::1/129'] } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', webhooks: { hosts: [hooks.example], egress: { cidrs: ['::1/128'] } } }",
    ),
    relay(
        "spec.expose",
        clause::EXPOSE_ONE_WAY,
        "{ image: 'registry.example/paramant/relay:1.0.0', expose: { host: relay.example } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', expose: { host: relay.example, ingressClassName: nginx } }",
    ),
    relay(
        "spec.expose",
        clause::EXPOSE_ONE_WAY,
        "{ image: 'registry.example/paramant/relay:1.0.0', expose: { host: relay.example, ingressClassName: nginx, gateway: { name: public } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', expose: { host: relay.example, gateway: { name: public } } }",
    ),
    relay(
        "spec.pod.labels",
        clause::POD_LABELS_ARE_FREE,
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { labels: { app.kubernetes.io/name: mine } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { labels: { app.kubernetes.io/part-of: mine } } }",
    ),
    relay(
        "spec.pod.labels",
        clause::POD_LABELS_ARE_FREE,
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { labels: { paramant.app/relay: mine } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { labels: { team: mine } } }",
    ),
    relay(
        "spec.pod.annotations",
        clause::POD_ANNOTATIONS_ARE_FREE,
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { annotations: { paramant.app/paused: 'true' } } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { annotations: { example.org/paused: 'true' } } }",
    ),
    relay(
        "spec.pod.terminationGracePeriod",
        clause::GRACE_RANGE,
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { terminationGracePeriod: 29s } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { terminationGracePeriod: 30s } }",
    ),
    relay(
        "spec.pod.terminationGracePeriod",
        clause::GRACE_RANGE,
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { terminationGracePeriod: 24h1s } }",
        "{ image: 'registry.example/paramant/relay:1.0.0', pod: { terminationGracePeriod: 24h } }",
    ),
];
