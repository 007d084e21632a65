//! What each kind of entry says in public: one struct per kind, all fields closed.
//!
//! A body holds no secret, name, address, content hash, telemetry value or licence key. What must be provable later is a
//! salted commitment ([`crate::leaf::commit`]) that the admin, or the holder of a receipt, can open. Kinds and fields are
//! never reused with another meaning; a new one is a new name.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EntryError;
use crate::leaf::Hash;

/// Lower-case hex of a 32-byte commitment or hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub Hash);

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = crate::path::parse_hash(&text);
        hash.map(Self).ok_or_else(|| serde::de::Error::custom("expected 64 lower-case hex digits"))
    }
}

impl From<Hash> for Digest {
    fn from(hash: Hash) -> Self {
        Self(hash)
    }
}

/// A signed JSON document of somebody else, held whole. Its signature is what it is worth: readers of the log verify it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Document(Map<String, Value>);

impl Document {
    /// The document in these bytes; `None` unless they are its canonical form.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let document = Self(crate::strict::object(bytes).ok()?);
        (document.is_signed() && document.to_bytes().ok()? == bytes).then_some(document)
    }

    /// Its canonical form: the bytes that its digest is over.
    ///
    /// # Errors
    /// When it holds a number without a canonical form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, crate::canonical::CanonicalError> {
        crate::canonical::value_to_vec(&Value::Object(self.0.clone()))
    }

    fn is_signed(&self) -> bool {
        ["type", "signature"].iter().all(|name| self.0.get(*name).is_some_and(Value::is_string))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Self(Map::deserialize(deserializer)?);
        let wrong = || serde::de::Error::custom("expected a document with a type and a signature");
        if document.is_signed() { Ok(document) } else { Err(wrong()) }
    }
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $variant:ident($body:ty) = $name:literal,)*) => {
        /// What an entry records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            /// An upload. The only kind without a body.
            Transfer,
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[Kind::Transfer, $(Kind::$variant,)*];

            /// `k` of the entry.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Transfer => "transfer",
                    $(Self::$variant => $name,)*
                }
            }

            /// The kind of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }

        /// The body of an entry.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Body {
            $($(#[$doc])* $variant($body),)*
        }

        impl Body {
            /// The kind of entry it belongs to.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant,)* }
            }

            pub(super) fn to_value(&self) -> Result<Value, crate::canonical::CanonicalError> {
                Ok(match self { $(Self::$variant(body) => serde_json::to_value(body)?,)* })
            }

            pub(super) fn read(kind: Kind, value: &Value) -> Result<Self, EntryError> {
                match kind {
                    Kind::Transfer => Err(EntryError::Body { kind: kind.name(), reason: "it has none".into() }),
                    $(Kind::$variant => typed(kind, value).map(Self::$variant),)*
                }
            }
        }
    };
}

impl Body {
    /// What the fields' types do not say.
    pub(super) fn check(&self) -> Result<(), EntryError> {
        match self {
            Self::SupportKeyIssued(body) if !crate::moment::is_hour(&body.until) => {
                let reason = format!("until is {:?}, expected an hour as in t", body.until);
                Err(EntryError::Body { kind: self.kind().name(), reason })
            }
            Self::LogKeyRotated(body) if body.added.is_some() == body.retired.is_some() => {
                let reason = "expected a key in either added or retired, and null in the other".to_owned();
                Err(EntryError::Body { kind: self.kind().name(), reason })
            }
            _ => Ok(()),
        }
    }
}

bodies! {
    /// A reader was given the right to read; made durable before the first byte leaves.
    TransferClaimed(TransferClaimed) = "transfer_claimed",
    /// A payload's key was destroyed.
    TransferBurned(TransferBurned) = "transfer_burned",
    /// A device's keys were registered.
    KeyRegistered(KeyRegistered) = "key_registered",
    /// The process started.
    RelayStarted(RelayStarted) = "relay_started",
    /// A licence check-in ended.
    LicenseCheckin(LicenseCheckin) = "license_checkin",
    /// What the licence grants changed.
    LicenseChanged(LicenseChanged) = "license_changed",
    /// Telemetry was switched on or off.
    TelemetryChanged(TelemetryChanged) = "telemetry_changed",
    /// Calls that left the relay, summed per destination and hour where frequent.
    OutboundCall(OutboundCall) = "outbound_call",
    /// A vendor's support key was admitted.
    SupportKeyIssued(SupportKeyIssued) = "support_key_issued",
    /// A support key was revoked by the admin.
    SupportKeyRevoked(SupportKeyEnded) = "support_key_revoked",
    /// A support key ran out.
    SupportKeyExpired(SupportKeyEnded) = "support_key_expired",
    /// Uses of a support key, summed per key and hour.
    SupportKeyUsed(SupportKeyUsed) = "support_key_used",
    /// A vendor offered an update.
    UpdateOffered(UpdateOffered) = "update_offered",
    /// The admin approved an offer.
    UpdateApproved(UpdateStep) = "update_approved",
    /// The replacement began.
    UpdateStarted(UpdateStep) = "update_started",
    /// The new version is healthy.
    UpdateFinished(UpdateStep) = "update_finished",
    /// The old version came back.
    UpdateRolledBack(UpdateStep) = "update_rolled_back",
    /// Uploads are refused from now on, or taken again.
    DrainChanged(DrainChanged) = "drain_changed",
    /// A verified vendor message asked for something that is not allowed.
    RemoteActionRefused(RemoteActionRefused) = "remote_action_refused",
    /// A vendor's request came, verified and next in its chain.
    VendorRequest(VendorRequest) = "vendor_request",
    /// A vendor's silence statement came, verified.
    VendorSilence(VendorSilence) = "vendor_silence",
    /// A vendor's request that waited was answered, or nobody answered in time.
    VendorRequestDecided(VendorRequestDecided) = "vendor_request_decided",
    /// What an accepted capability set grants, in place of what was granted before.
    CapabilityChanged(CapabilityChanged) = "capability_changed",
    /// An admin credential or setting changed.
    AdminChanged(AdminChanged) = "admin_changed",
    /// The licence clock's floor was moved, or the machine's clock was set back.
    ClockCorrected(ClockCorrected) = "clock_corrected",
    /// A log signing key came or went.
    LogKeyRotated(LogKeyRotated) = "log_key_rotated",
    /// All tree heads signed so far, chained.
    SthAnchor(SthAnchor) = "sth_anchor",
    /// The last entry of this log.
    LogClosed(LogClosed) = "log_closed",
    /// The first entry of a log that was adopted in place of another.
    LogAdopted(LogAdopted) = "log_adopted",
    /// A DID was revoked by its account.
    DidRevoked(DidRevoked) = "did_revoked",
}

fn typed<T: DeserializeOwned + Serialize>(kind: Kind, value: &Value) -> Result<T, EntryError> {
    let wrong = |reason: String| EntryError::Body { kind: kind.name(), reason };
    let body = T::deserialize(value).map_err(|error| wrong(error.to_string()))?;
    // A field that may be null may still not be absent: each body is written in one way only.
    if serde_json::to_value(&body).ok().as_ref() == Some(value) {
        Ok(body)
    } else {
        Err(wrong("a field that may be null is missing".into()))
    }
}

macro_rules! body_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    )*};
}

body_structs! {
    /// Body of `transfer_claimed`.
    TransferClaimed {
        /// The blinded id: commitment to the transfer's leaf under [`crate::leaf::Purpose::Claimed`].
        id: Digest,
        /// 1 for the first lease of this view, counted up by each re-lease.
        generation: u32,
    }
    /// Body of `transfer_burned`.
    TransferBurned {
        /// The blinded id: commitment to the transfer's leaf under [`crate::leaf::Purpose::Burned`].
        id: Digest,
        /// Why.
        cause: BurnCause,
    }
    /// Body of `key_registered`.
    KeyRegistered {
        /// Commitment to SHA3-256(KEM key ‖ signing key) under [`crate::leaf::Purpose::DeviceKey`], or to a DID's digest under
        /// [`crate::leaf::Purpose::Did`].
        key: Digest,
    }
    /// Body of `relay_started`.
    RelayStarted {
        /// SHA3-256 of the relay's ML-DSA-65 identity key, which is public.
        identity: Digest,
        /// The release.
        version: String,
    }
    /// Body of `license_checkin`.
    LicenseCheckin {
        /// Commitment to the request's bytes.
        request: Digest,
        /// Commitment to the reply's bytes, if one came.
        reply: Option<Digest>,
        /// How it ended.
        result: CheckinResult,
    }
    /// Body of `license_changed`.
    LicenseChanged {
        /// Where the entitlement comes from now.
        source: LicenseOrigin,
        /// Commitment to the document in force, if one is.
        document: Option<Digest>,
    }
    /// Body of `telemetry_changed`.
    TelemetryChanged {
        /// On or off.
        enabled: bool,
        /// The schema version the consent is for.
        schema: u32,
        /// Commitment to the preview that was served.
        preview: Option<Digest>,
    }
    /// Body of `outbound_call`.
    OutboundCall {
        /// What for.
        purpose: OutboundPurpose,
        /// Commitment to the destination.
        destination: Digest,
        /// How many calls this entry covers.
        count: u64,
        /// SHA-256 chain over the digests of the requests.
        chain: Digest,
    }
    /// Body of `support_key_issued`.
    SupportKeyIssued {
        /// Commitment to the key's id.
        key: Digest,
        /// Who asked.
        role: Role,
        /// Until when it works, at most 24 hours on: an hour in the fixed form.
        until: String,
    }
    /// Body of `support_key_revoked` and `support_key_expired`.
    SupportKeyEnded {
        /// The commitment of `support_key_issued`.
        key: Digest,
    }
    /// Body of `support_key_used`.
    SupportKeyUsed {
        /// The commitment of `support_key_issued`.
        key: Digest,
        /// How many requests this entry covers.
        count: u64,
        /// SHA-256 chain over the digests of the requests.
        chain: Digest,
    }
    /// Body of `update_offered`.
    UpdateOffered {
        /// The release offered.
        version: String,
        /// Who offers.
        role: Role,
    }
    /// Body of the other `update_*` kinds.
    UpdateStep {
        /// The release.
        version: String,
        /// Commitment to the image digest.
        image: Digest,
    }
    /// Body of `drain_changed`.
    DrainChanged {
        /// Whether uploads are refused from now on.
        draining: bool,
        /// Who asks for it: `Spec`, `Policy`, `Vendor`, `Update`, `Shutdown`.
        by: Vec<crate::control::DrainSource>,
    }
    /// Body of `remote_action_refused`.
    RemoteActionRefused {
        /// Commitment to the request.
        action: Digest,
        /// Who asked.
        role: Role,
        /// Why.
        reason: RefusalReason,
    }
    /// Body of `vendor_request`.
    VendorRequest {
        /// The signed request, whole: it proves itself.
        request: Document,
    }
    /// Body of `vendor_silence`.
    VendorSilence {
        /// The signed statement, whole.
        statement: Document,
    }
    /// Body of `vendor_request_decided`.
    VendorRequestDecided {
        /// SHA-256 of the canonical JSON of the request in its `vendor_request`.
        request: Digest,
        /// What became of it.
        decision: Decision,
    }
    /// Body of `capability_changed`.
    CapabilityChanged {
        /// SHA-256 of the canonical JSON of the request that announced it.
        request: Digest,
        /// SHA-256 of the canonical JSON of `tier` and `capabilities` before.
        before: Digest,
        /// The same of what follows, as `set_sha256` of the request says.
        after: Digest,
    }
    /// Body of `admin_changed`.
    AdminChanged {
        /// What.
        what: AdminChange,
    }
    /// Body of `clock_corrected`.
    ClockCorrected {
        /// By what.
        by: ClockAuthority,
    }
    /// Body of `log_key_rotated`: one of the two, never both.
    LogKeyRotated {
        /// The verifier key (`name+id+key`) that is valid from here on.
        added: Option<String>,
        /// The verifier key that is no longer used from here on.
        retired: Option<String>,
    }
    /// Body of `sth_anchor`.
    SthAnchor {
        /// How many tree heads were signed so far.
        count: u64,
        /// SHA-256 chain over the canonical bytes of all of them, in order.
        chain: Digest,
    }
    /// Body of `log_closed`.
    LogClosed {
        /// Why.
        cause: CloseCause,
    }
    /// Body of `log_adopted`.
    LogAdopted {
        /// The name of the log that ended.
        origin: String,
        /// Entries under the last checkpoint that is known of it; 0 when none is.
        size: u64,
        /// SHA-256 root of that checkpoint.
        root: Digest,
    }
    /// Body of `did_revoked`.
    DidRevoked {
        /// The commitment of the `key_registered` that registered it.
        key: Digest,
    }
}

macro_rules! closed_words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word,)* }
    )*};
}

closed_words! {
    /// Why a payload is gone.
    BurnCause {
        /// The last view was read.
        Read,
        /// Its time ran out.
        Expired,
        /// The sender withdrew it.
        Cancelled,
        /// A restart or restore found it could not be served any more.
        Lost,
    }
    /// How a check-in ended.
    CheckinResult {
        /// The request is made and from now on may leave; it is sent again, byte for byte, until a verified reply comes.
        Sent,
        /// A verified set was accepted.
        Accepted,
        /// A verified refusal was accepted.
        Refused,
        /// A reply came and failed a check.
        Rejected,
        /// No reply came.
        Unreachable,
    }
    /// Where an entitlement comes from.
    LicenseOrigin {
        /// None: Community Edition.
        Community,
        /// A signed offline licence.
        Offline,
        /// A check-in.
        Online,
        /// The last verified set, while the endpoint is away.
        Grace,
    }
    /// What an outbound call is for.
    OutboundPurpose {
        /// The licence check.
        License,
        /// A push to a witness.
        Witness,
        /// A webhook.
        Webhook,
    }
    /// The role behind a vendor's request; the person is never recorded.
    Role {
        /// The vendor's owner.
        Owner,
        /// The vendor's support.
        Support,
    }
    /// Why a vendor's request was refused.
    RefusalReason {
        /// Not one of the four actions.
        UnknownAction,
        /// An action without a valid record.
        NotRecorded,
        /// More than the action may ask.
        NotAllowed,
        /// For another relay.
        WrongRelay,
        /// Too old or seen before.
        Stale,
        /// A request before it is missing.
        Gap,
        /// It does not follow from the requests before.
        Fork,
        /// Its time is over.
        Expired,
    }
    /// What became of a request that waited.
    Decision {
        /// The admin agreed.
        Approved,
        /// The admin refused.
        Denied,
        /// Nobody answered in time.
        Lapsed,
    }
    /// What changed for admins.
    AdminChange {
        /// The set-up code was redeemed.
        SetUp,
        /// The admin token changed.
        Token,
        /// The second factor changed.
        SecondFactor,
        /// A user's key was created.
        KeyCreated,
        /// A user's key was revoked.
        KeyRevoked,
        /// A user's key was given another plan.
        KeyChanged,
    }
    /// What moved the clock floor.
    ClockAuthority {
        /// A verified reply to our nonce.
        Reply,
        /// The admin.
        Admin,
        /// The machine's own clock was set back by more than an hour.
        Machine,
    }
    /// Why a log ended.
    CloseCause {
        /// The relay was deleted.
        Deleted,
        /// A new log was adopted in its place.
        Adopted,
    }
}
