//! An upload from its first byte to its answer, in both forms.
//!
//! The checks come in the published order, after the body has arrived, so that a client is told the same first fault whoever
//! serves it. A drop (`meta.drop` is true) names itself: its hash is a lookup id, compared with nothing, in a space of its
//! own, and its log entry speaks of the payload's real hash all the same.

use std::time::Duration;

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use axum::extract::Request;
use axum::http::StatusCode;
use paramant_protocol::chunks::Disclosure;
use paramant_protocol::id::BlobHash;
use paramant_protocol::leaf;
use paramant_protocol::path::parse_hash;
use paramant_protocol::pqhb::HeaderError;
use paramant_protocol::refusal::{HASH_MISMATCH, SIGNATURE_REQUIRED};
use paramant_protocol::upload::base64_stream::{Base64Stream, NotBase64};
use paramant_protocol::upload::json_body::{BodyError, JsonBody};
use paramant_protocol::upload::{DEFAULT_TTL_MS, MAX_ENC_META, MIN_TTL_MS, UploadAnswer, is_enc_meta};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::accounts::Principal;
use crate::app::{App, Shared};
use crate::passwords::Password;
use crate::plans::{self, Plan};
use crate::public::body::{Broken, Stream};
use crate::public::errors::Refused;
use crate::receipts;
use crate::store::blob_rows::Space;
use crate::store::usage_rows::Quota;
use crate::store::{AccountId, Digest, random_download_token};
use crate::transfer::{Access, Received, Receiving, Terms, Unfinished, UploadError};

/// Every relay takes JSON bodies of this size at least, whatever its blob limit.
const JSON_BODY: u64 = 10 * 1024 * 1024;
/// What JSON may hold besides the payload.
const JSON_REST: u64 = 128 * 1024;
/// Pieces of a body are handled in slices of this size, so that what is decoded from one stays small.
const SLICE: usize = 64 * 1024;
/// What a sender waits for a signed tree head when few are uploading; when many are, none waits.
const SENDER_PATIENCE: Duration = Duration::from_millis(40);
const FEW_UPLOADS: u64 = 4;

/// Uploads without a key: never larger, and never for longer (protocol §4.1).
const NOBODY_BLOB: u64 = 5 * 1024 * 1024;
const NOBODY_TTL: Duration = Duration::from_secs(24 * 3600);

/// Who uploads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender<'w> {
    /// The holder of a key.
    Key(&'w Principal),
    /// Somebody without one: what is sent is read once, by any active key or through its link.
    Nobody,
}

impl Sender<'_> {
    fn account(self) -> AccountId {
        match self {
            Self::Key(who) => who.account,
            Self::Nobody => AccountId::NOBODY,
        }
    }

    fn plan(self, app: &App) -> &'static Plan {
        match self {
            Self::Key(who) => app.plan(who),
            // What nobody may do is bounded by constants here, not by a plan.
            Self::Nobody => plans::in_force("", false),
        }
    }

    fn max_blob(self, app: &App) -> u64 {
        let max = app.max_blob();
        match self {
            Self::Key(_) => max,
            Self::Nobody => max.min(NOBODY_BLOB),
        }
    }
}

/// Terms of a raw upload, in the query.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawTerms {
    ttl_ms: Option<u64>,
    max_views: Option<u64>,
    device_id: Option<String>,
    disclosure: Option<Disclosure>,
}

/// What the JSON says besides the payload.
struct Fields {
    lookup: Digest,
    drop: bool,
    ttl: Duration,
    views: u32,
    device: Option<String>,
    /// SHA-256 of the name by which the sender tells that it sends a file again.
    file_id: Option<Digest>,
    signature: Option<String>,
    password: Option<Password>,
    enc_meta: Option<String>,
    strict: bool,
}

impl Fields {
    /// What an upload without a key may ask for. A drop it is not: its hash is compared with the payload.
    fn of_nobody(self) -> Self {
        Self { drop: false, ttl: self.ttl.min(NOBODY_TTL), views: 1, device: None, signature: None, ..self }
    }
}

pub(super) async fn from_bytes(
    app: &Shared,
    who: &Principal,
    hash: &str,
    terms: RawTerms,
    request: Request,
) -> Result<UploadAnswer, Refused> {
    let max = app.max_blob();
    let mut stream = Stream::new(request.into_body(), max.saturating_add(1));
    let announced = stream.announced();
    if announced.is_some_and(|announced| announced > max) {
        return Err(stream.refuse(too_large(max)).await);
    }
    let Some(lookup) = parse_hash(hash).map(Digest) else {
        return Err(stream
            .refuse(Refused::bad("the path must end in the payload's SHA-256: 64 lower-case hex digits"))
            .await);
    };
    let mut receiving = match app.store.transfers.receive(announced.unwrap_or_default(), max) {
        Ok(receiving) => receiving,
        Err(error) => return Err(stream.refuse(error.into()).await),
    };
    loop {
        match stream.next().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                if let Err(error) = receiving.push(&piece).await {
                    return Err(stream.refuse(error.into()).await);
                }
            }
            Err(Broken::TooLong) => return Err(stream.refuse(too_large(max)).await),
            Err(Broken::Gone) => return Err(broke_off()),
        }
    }
    let plan = app.plan(who);
    let fields = Fields {
        lookup,
        drop: false,
        ttl: lifetime(terms.ttl_ms, plan, app),
        views: views(terms.max_views, plan),
        device: terms.device_id,
        file_id: None,
        signature: None,
        password: None,
        enc_meta: None,
        strict: strict(terms.disclosure, app),
    };
    let (received, unfinished) = receiving.end()?;
    if received.size == 0 {
        return Err(Refused::bad("the payload is empty"));
    }
    finish(app, Sender::Key(who), fields, received, unfinished, max).await
}

pub(super) async fn from_json(
    app: &Shared,
    who: Sender<'_>,
    request: Request,
) -> Result<UploadAnswer, Refused> {
    let max = who.max_blob(app);
    let body_limit = JSON_BODY.max(max.div_ceil(3).saturating_mul(4).saturating_add(JSON_REST));
    let mut stream = Stream::new(request.into_body(), body_limit);
    let announced = stream.announced();
    if announced.is_some_and(|announced| announced > body_limit) {
        return Err(stream.refuse(too_large(max)).await);
    }
    let expected = announced.map_or(0, |announced| announced / 4 * 3);
    let mut upload = match app.store.transfers.receive(expected, max) {
        Ok(receiving) => JsonUpload::new(receiving),
        Err(error) => return Err(stream.refuse(error.into()).await),
    };
    loop {
        match stream.next().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                for slice in piece.chunks(SLICE) {
                    if let Err(refused) = upload.push(slice).await {
                        return Err(stream.refuse(refused).await);
                    }
                }
            }
            Err(Broken::TooLong) => return Err(stream.refuse(too_large(max)).await),
            Err(Broken::Gone) => return Err(broke_off()),
        }
    }
    let JsonUpload { scanner, base64, mut decoded, mut payload_fault, mut receiving } = upload;
    let (fields, has_payload) = scanner.finish::<NotBase64>().map_err(json_fault)?;
    decoded.clear();
    match base64.finish(&mut decoded) {
        Ok(()) => receiving.push(&decoded).await?,
        Err(fault) => payload_fault = payload_fault.or(Some(fault)),
    }
    let (received, unfinished) = receiving.end()?;
    let nothing = received.size == 0 && payload_fault.is_none();
    let mut fields = read_fields(&fields, has_payload && !nothing, who.plan(app), app)?;
    if matches!(who, Sender::Nobody) {
        fields = fields.of_nobody();
    }
    if let Some(fault) = payload_fault {
        return Err(Refused::bad(fault.to_string()));
    }
    finish(app, who, fields, received, unfinished, max).await
}

/// A JSON upload in progress.
struct JsonUpload {
    scanner: JsonBody,
    base64: Base64Stream,
    decoded: Vec<u8>,
    /// The first fault of the payload's text; the rest of the body is still read, for the faults that come before it.
    payload_fault: Option<NotBase64>,
    receiving: Receiving,
}

impl JsonUpload {
    fn new(receiving: Receiving) -> Self {
        let (scanner, base64) = (JsonBody::default(), Base64Stream::default());
        Self { scanner, base64, decoded: Vec::new(), payload_fault: None, receiving }
    }

    async fn push(&mut self, slice: &[u8]) -> Result<(), Refused> {
        self.decoded.clear();
        let Self { scanner, base64, decoded, payload_fault, .. } = self;
        let scanned = scanner.push(slice, |text| {
            if payload_fault.is_none() {
                *payload_fault = base64.push(text, decoded).err();
            }
            Ok::<_, NotBase64>(())
        });
        scanned.map_err(json_fault)?;
        self.receiving.push(&self.decoded).await.map_err(UploadError::into)
    }
}

/// The checks that need the whole payload, then the keeping, then the answer.
async fn finish(
    app: &Shared,
    who: Sender<'_>,
    fields: Fields,
    received: Received,
    unfinished: Unfinished,
    max: u64,
) -> Result<UploadAnswer, Refused> {
    if !fields.drop && !received.too_large && received.hash != fields.lookup {
        return Err(Refused::bad(HASH_MISMATCH));
    }
    if received.too_large {
        return Err(too_large(max));
    }
    if !fields.drop
        && let Err(header) = &received.wire
    {
        return Err(wire_fault(header));
    }
    if received.unsigned && app.store.licenses.grant().signatures_required {
        return Err(Refused::bad(SIGNATURE_REQUIRED));
    }
    let sig_valid = match &fields.signature {
        Some(signature) => signed_by_device(app, who, &fields, signature).await,
        None => false,
    };
    let token = random_download_token().map_err(Refused::internal)?;
    let (given, password) = match fields.password {
        Some(password) => (Some(password.clone()), Some(app.store.passwords.seal(password).await?)),
        None => (None, None),
    };
    let terms = Terms {
        account: who.account(),
        space: if fields.drop || matches!(who, Sender::Nobody) { Space::Drop } else { Space::Content },
        lookup: fields.lookup,
        hash: received.hash,
        ttl: fields.ttl,
        views: fields.views,
        device: fields.device,
        sig_valid,
        access: Access { password, enc_meta: fields.enc_meta, link: Some(Digest(token.digest())) },
        quota: quota(who.plan(app), fields.file_id),
        strict: fields.strict,
    };
    let sealed = terms.access.password.clone();
    let accepted = app.store.transfers.accept(terms, unfinished).await?;
    if accepted.blob.password != sealed {
        same_password(app, accepted.blob.password.clone(), given).await?;
    }
    app.core.metrics.received(accepted.blob.size);
    app.core.counts.uploaded();

    let proof =
        receipts::inclusion(&app.core, accepted.blob.leaf, accepted.log_index, sender_patience(app)).await;
    if let Err(error) = &proof {
        // The upload is kept and logged; the proof can be had from the log at any time.
        tracing::error!(%error, "the proof of an accepted upload could not be made");
    }
    Ok(UploadAnswer {
        ok: true,
        hash: BlobHash::from_bytes(accepted.blob.lookup.0),
        ttl_ms: accepted.blob.ttl_ms.cast_unsigned(),
        size: accepted.blob.size,
        sig_verified: accepted.blob.sig_valid,
        download_token: token.to_string(),
        merkle_proof: proof.ok(),
        log_receipt: Some(accepted.receipt),
    })
}

/// How long the answer to an upload waits for a signed tree head.
pub(super) fn sender_patience(app: &App) -> Duration {
    let uploads = app.store.transfers.in_flight().uploads + app.core.log.awaiting_sth();
    if uploads <= FEW_UPLOADS { SENDER_PATIENCE } else { Duration::ZERO }
}

fn read_fields(
    fields: &Map<String, Value>,
    has_payload: bool,
    plan: &Plan,
    app: &App,
) -> Result<Fields, Refused> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (Some(hash), true) = (text("hash").filter(|hash| !hash.is_empty()), has_payload) else {
        return Err(Refused::bad("hash and payload are required"));
    };
    let lookup =
        parse_hash(hash).map(Digest).ok_or_else(|| Refused::bad("hash must be 64 lower-case hex digits"))?;
    if let Some(enc_meta) = fields.get("enc_meta").filter(|value| !value.is_null())
        && !enc_meta.as_str().is_some_and(is_enc_meta)
    {
        return Err(no_enc_meta());
    }
    let password = match fields.get("password") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(Password::new(text.as_bytes())?),
        // Taken for none, it would leave what was to be protected without protection.
        Some(_) => return Err(Refused::bad("password must be a string")),
    };
    let disclosure = match text("disclosure") {
        None => None,
        Some("recoverable") => Some(Disclosure::Recoverable),
        Some("strict") => Some(Disclosure::Strict),
        Some(_) => return Err(Refused::bad("disclosure must be \"recoverable\" or \"strict\"")),
    };
    let meta = fields.get("meta");
    let drop = meta.and_then(|meta| meta.get("drop")) == Some(&Value::Bool(true));
    let device = meta.and_then(|meta| meta.get("device_id")).and_then(Value::as_str);
    Ok(Fields {
        lookup,
        drop,
        ttl: lifetime(whole_number(fields, "ttl_ms")?, plan, app),
        views: if drop { 1 } else { views(whole_number(fields, "max_views")?, plan) },
        device: device.map(|device| device.chars().take(256).collect()),
        file_id: meta
            .and_then(|meta| meta.get("file_id"))
            .and_then(Value::as_str)
            .map(|id| Digest(leaf::sha256(id.as_bytes()))),
        signature: text("dsa_signature").map(str::to_owned),
        password,
        enc_meta: text("enc_meta").filter(|text| !text.is_empty()).map(str::to_owned),
        strict: strict(disclosure, app),
    })
}

pub(super) fn no_enc_meta() -> Refused {
    Refused::bad(format!("enc_meta must be at most {MAX_ENC_META} characters of base64"))
}

/// A repeat of an unread upload stands for it only under the same password: otherwise its sender would believe in a protection
/// that is another, or none.
async fn same_password(app: &App, sealed: Option<String>, given: Option<Password>) -> Result<(), Refused> {
    let same = match (sealed, given) {
        (None, None) => true,
        (Some(sealed), Some(given)) => app.store.passwords.is_of(sealed, given).await?,
        _ => false,
    };
    let refused = "the same bytes wait to be read under another password, or none; cancel that upload first";
    if same { Ok(()) } else { Err(Refused::new(StatusCode::CONFLICT, refused)) }
}

/// Whether the device that is named signed the hash, with the key it registered. Reported, never enforced.
async fn signed_by_device(app: &App, who: Sender<'_>, fields: &Fields, signature: &str) -> bool {
    let Some(device) = &fields.device else { return false };
    let found = app.store.devices.keys(who.account(), device, who.plan(app)).await;
    let Ok(Some(keys)) = found else { return false };
    let key = keys.keys.sig_pub.and_then(|key| hex::decode(key).ok()).unwrap_or_default();
    let Ok(signature) = hex::decode(signature) else { return false };
    let message = fields.lookup.to_string();
    UnparsedPublicKey::new(&ML_DSA_65, key).verify(message.as_bytes(), &signature).is_ok()
}

/// A number that may be absent or null. A fraction is cut off, as published clients that multiply seconds may send one.
fn whole_number(fields: &Map<String, Value>, name: &str) -> Result<Option<u64>, Refused> {
    let refused = || Refused::bad(format!("{name} must be a whole number, not below 0"));
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let cut =
                || number.as_f64().filter(|value| (0.0..1e15).contains(value)).map(|value| value as u64);
            number.as_u64().or_else(cut).map(Some).ok_or_else(refused)
        }
        Some(_) => Err(refused()),
    }
}

pub(super) fn lifetime(asked_ms: Option<u64>, plan: &Plan, app: &App) -> Duration {
    let asked_ms = asked_ms.filter(|ms| *ms > 0).unwrap_or(DEFAULT_TTL_MS).max(MIN_TTL_MS);
    Duration::from_millis(asked_ms).min(plan.max_ttl).min(app.max_ttl())
}

/// Whether a view may be disclosed once only: as asked, else as the relay is set.
fn strict(asked: Option<Disclosure>, app: &App) -> bool {
    asked.unwrap_or(app.core.settings.current().disclosure) == Disclosure::Strict
}

/// What a plan says of how often, while plans limit that.
pub(super) fn quota(plan: &'static Plan, file: Option<Digest>) -> Option<Quota> {
    plan.uploads_per_month.map(|limit| Quota { limit, plan: plan.name, file })
}

pub(super) fn views(asked: Option<u64>, plan: &Plan) -> u32 {
    u32::try_from(asked.unwrap_or(1).max(1)).unwrap_or(u32::MAX).min(plan.max_views)
}

pub(super) fn too_large(max: u64) -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the blob is larger than this relay takes ({max} bytes)"),
    )
}

/// What the check of a PQHB header found.
pub(super) fn wire_fault(fault: &HeaderError) -> Refused {
    Refused::with_body(StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST), fault.body())
}

pub(super) fn broke_off() -> Refused {
    Refused::bad("the body broke off")
}

fn json_fault(error: BodyError<NotBase64>) -> Refused {
    Refused::bad(error.to_string())
}
