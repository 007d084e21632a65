//! The rules the API server checks (CEL), each with the message a person reads when it refuses.
//!
//! One constant a rule: the resource types hang them on fields, `validation` repeats them in Rust with the same
//! message, and `table` shows each refusing and accepting. A message says what to write instead.
//! Absent and null are the same here: the schema has no `nullable`, so the API server drops nulls.

use kube::core::{Message, Rule};

/// A CEL rule and its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clause {
    /// The expression; `self` is the value it hangs on.
    pub cel: &'static str,
    /// What to write instead.
    pub message: &'static str,
}

impl From<Clause> for Rule {
    fn from(clause: Clause) -> Self {
        Rule::new(clause.cel).message(Message::Message(clause.message.to_owned()))
    }
}

macro_rules! clauses {
    ($($(#[$doc:meta])* $name:ident: $cel:expr, $message:expr;)*) => {
        $($(#[$doc])* pub const $name: Clause = Clause { cel: $cel, message: $message };)*

        /// Every clause, by the name of its constant.
        pub const ALL: &[(&str, Clause)] = &[$((stringify!($name), $name)),*];
    };
}

clauses! {
    /// Pods, Services and label values are named after the relay.
    RELAY_NAME: "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "use a name of at most 40 characters: lower-case letters, digits and '-', beginning with a letter and ending with a letter or digit";
    /// Label values are named after the licence.
    LICENSE_NAME: "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "use a name of at most 63 characters: lower-case letters, digits and '-', beginning with a letter and ending with a letter or digit";
    /// Label values are named after the policy.
    POLICY_NAME: LICENSE_NAME.cel, LICENSE_NAME.message;

    /// The log's name is in every checkpoint it ever signed.
    LOG_ORIGIN_STAYS: "(has(oldSelf.spec.log) && has(oldSelf.spec.log.origin)) == (has(self.spec.log) && has(self.spec.log.origin)) && (!has(self.spec.log) || !has(self.spec.log.origin) || self.spec.log.origin == oldSelf.spec.log.origin) || has(self.spec.log) && has(self.spec.log.origin) && has(self.status) && has(self.status.log) && has(self.status.log.origin) && self.spec.log.origin == self.status.log.origin",
        "spec.log.origin is fixed at first boot: keep it as it was, or write the origin the relay reports in status.log.origin (after 'paramant-relay log adopt')";
    /// A StatefulSet's claims cannot come or go.
    STORAGE_PRESENCE_STAYS: "has(oldSelf.storage) == has(self.storage)",
        "spec.storage can be neither added nor removed later: keep it as it was, or create another relay";
    /// A claim's class cannot change.
    STORAGE_CLASS_STAYS: "!has(self.storage) || !has(oldSelf.storage) || (has(oldSelf.storage.className) == has(self.storage.className) && (!has(self.storage.className) || self.storage.className == oldSelf.storage.className))",
        "spec.storage.className cannot change: keep the old class, or create another relay";
    /// A claim's access mode cannot change.
    STORAGE_ACCESS_STAYS: "!has(self.storage) || !has(oldSelf.storage) || (has(oldSelf.storage.accessMode) == has(self.storage.accessMode) && (!has(self.storage.accessMode) || self.storage.accessMode == oldSelf.storage.accessMode))",
        "spec.storage.accessMode cannot change: keep the old mode, or create another relay";
    /// A claim cannot shrink.
    STORAGE_GROWS: "!has(self.storage) || !has(oldSelf.storage) || quantity(has(self.storage.size) ? self.storage.size : '10Gi').compareTo(quantity(has(oldSelf.storage.size) ? oldSelf.storage.size : '10Gi')) >= 0",
        "spec.storage.size may grow, not shrink (absent means 10Gi): write the old size or a larger one";
    /// The operator asks the registry itself: no search path, no implied `latest`.
    IMAGE_IS_COMPLETE: "self.matches('^[a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)+(:[A-Za-z0-9_][-.A-Za-z0-9_]{0,127})?(@sha256:[a-f0-9]{64})?$') && self.split('/')[0].matches('[.:]') && self.substring(self.lastIndexOf('/')).matches('[:@]')",
        "write the whole image: registry/repository with a tag or a digest, such as registry.example/paramant/relay:3.1.0";

    /// A protocol limit: a receiver must be able to hold one file.
    MAX_BLOB_RANGE: "quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('1Ti')) <= 0",
        "write a maxBlob from 64Ki to 1Ti";
    /// A file cannot wait for ever.
    MAX_TTL_RANGE: "duration(self) >= duration('1m') && duration(self) <= duration('8760h')",
        "write a maxTtl from 1m to 8760h";
    /// One file must fit.
    BLOB_FITS_IN_FLIGHT: "!has(self.maxInFlight) || quantity(self.maxInFlight).compareTo(quantity(has(self.maxBlob) ? self.maxBlob : '5Mi')) >= 0",
        "maxInFlight is smaller than one file: write at least maxBlob (5Mi when absent)";
    /// An account that may hold less than one file could send none in chunks.
    BLOB_FITS_OPEN: "!has(self.maxOpenPerAccount) || quantity(self.maxOpenPerAccount).compareTo(quantity(has(self.maxBlob) ? self.maxBlob : '5Mi')) >= 0",
        "maxOpenPerAccount is smaller than one file: write at least maxBlob (5Mi when absent)";
    /// Address ranges are parsed by the API server's own library.
    CIDRS: "self.all(c, isCIDR(c))",
        "write address ranges such as 10.0.0.0/8 or 2001:db8::/32";
    /// An egress that allows nothing would be a courier that can only fail.
    EGRESS_NAMES_A_WAY: "has(self.cidrs) && self.cidrs.size() > 0 || has(self.proxy)",
        "say where it may connect to: write cidrs, a proxy, or both";
    /// More signatures than witnesses can never be had.
    QUORUM_REACHABLE: "self.quorum <= self.members.size()",
        "quorum is larger than the number of members: lower it or add members";
    /// A private key here would be a leak.
    CA_BUNDLE_IS_PEM: "self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')",
        "write CA certificates in PEM, beginning with -----BEGIN CERTIFICATE-----";
    /// One front door.
    EXPOSE_ONE_WAY: "has(self.gateway) != has(self.ingressClassName)",
        "write either gateway or ingressClassName; leave expose out to be reached by the Service only";
    /// Selectors hang on these labels.
    POD_LABELS_ARE_FREE: "self.all(k, !k.startsWith('paramant.app/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by']))",
        "use labels of your own: paramant.app/… and app.kubernetes.io/name, /instance and /managed-by belong to the operator";
    /// The operator's own annotations steer rolls.
    POD_ANNOTATIONS_ARE_FREE: "self.all(k, !k.startsWith('paramant.app/'))",
        "use annotations of your own: paramant.app/… belongs to the operator";
    /// Ending is draining.
    GRACE_RANGE: "duration(self) >= duration('30s') && duration(self) <= duration('24h')",
        "write a terminationGracePeriod from 30s to 24h";

    /// Telemetry rides on the check-in, there is no other call.
    TELEMETRY_TRAVELS_WITH_CHECKS: "!has(self.telemetry) || !self.telemetry.enabled || has(self.online)",
        "telemetry is sent along with a check-in only: add spec.online, or set telemetry.enabled to false";
    /// Two sources of the same truth.
    AIR_GAP_OR_ONLINE: "!has(self.airGap) || !has(self.online)",
        "write either online or airGap: a set carried in by hand and a check-in would contradict each other";
    /// Often enough to notice a revocation, seldom enough not to be a beacon.
    CHECK_IN_RANGE: "duration(self) >= duration('15m') && duration(self) <= duration('6h')",
        "write an interval from 15m to 6h";
    /// Nothing is sent that was not shown.
    TELEMETRY_NEEDS_CONSENT: "!self.enabled || has(self.consent)",
        "telemetry needs a consent: look at the preview ('paramant license preview'), then write consent.schema and consent.previewSha256, or set enabled to false";

    /// Settling for longer than the deadline would never end.
    SETTLE_WITHIN_DEADLINE: "duration(has(self.settle) ? self.settle : '10s') <= duration(has(self.deadline) ? self.deadline : '30m')",
        "settle is longer than deadline (10s and 30m when absent): shorten settle or lengthen deadline";
    /// A drain that lasts a week is a pause.
    DEADLINE_RANGE: "duration(self) >= duration('10s') && duration(self) <= duration('168h')",
        "write a deadline from 10s to 168h";
    /// A window mode without a window never updates.
    WINDOW_MODE_HAS_WINDOWS: "!has(self.mode) || self.mode != 'Window' || has(self.windows) && self.windows.size() > 0",
        "mode Window needs at least one entry in windows: add one, or choose another mode";
    /// Shorter cannot fit a start, longer overlaps itself.
    WINDOW_RANGE: "duration(self) >= duration('5m') && duration(self) <= duration('168h')",
        "write a duration from 5m to 168h";
    /// A pod needs some seconds, and a window some end.
    HEALTH_TIMEOUT_RANGE: "duration(self) >= duration('10s') && duration(self) <= duration('1h')",
        "write a healthTimeout from 10s to 1h";
    /// Settling is watching, not waiting for ever.
    SETTLE_RANGE: "duration(self) <= duration('24h')",
        "write a settle of at most 24h";
    /// An empty exclusion is a mistake.
    EXCLUSION_ENDS_AFTER_START: "self.from < self.to",
        "to must be later than from: swap them or move to";
    /// An attestation without a signature proves nothing.
    UNSIGNED_OR_ATTESTED: "!has(self.allowUnsigned) || !self.allowUnsigned || !has(self.minAttestations) || self.minAttestations == 0",
        "allowUnsigned and minAttestations contradict each other: set minAttestations to 0 or allowUnsigned to false";
    /// A private key here would be a leak.
    KEY_IS_PUBLIC_PEM: "self.startsWith('-----BEGIN PUBLIC KEY-----') && !self.contains('PRIVATE KEY')",
        "write the public key in PEM, beginning with -----BEGIN PUBLIC KEY-----";
    /// One word on one key.
    APPROVED_NOT_REVOKED: "!has(self.approved) || !has(self.revoked) || self.approved.all(k, !(k in self.revoked))",
        "a key id is both approved and revoked: remove it from approved (a revocation cannot be taken back)";
    /// One word on one request.
    APPROVED_NOT_DENIED: "!has(self.approved) || !has(self.denied) || self.approved.all(r, !(r in self.denied))",
        "the id of a request is both approved and denied: remove it from one of the two";
    /// The protocol's own cap.
    SUPPORT_RANGE: "duration(self) >= duration('5m') && duration(self) <= duration('24h')",
        "write a maxDuration from 5m to 24h";
}
