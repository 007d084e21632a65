//! `/v3/uploads`: an upload that arrives in chunks, in any order, over as many connections and days as it takes.
//!
//! A chunk that is not there yet is not counted against the key's rate: the upload was, and it has only so many. One that comes
//! again is. Unknown, foreign, expired and given up are one 404.

use axum::extract::{FromRequestParts as _, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use paramant_protocol::chunks::{
    CHUNK_HASH_HEADER, ChunkKept, CompleteUpload, DEFAULT_CHUNK, Disclosure, Division, OpenUpload,
    UploadProgress, UploadState,
};
use paramant_protocol::id::BlobHash;
use paramant_protocol::leaf;
use paramant_protocol::path::parse_hash;
use paramant_protocol::refusal::{HASH_MISMATCH, SIGNATURE_REQUIRED};
use paramant_protocol::upload::{Done, UploadAnswer, is_enc_meta};
use serde_json::json;

use super::inbound::{
    broke_off, lifetime, no_enc_meta, quota, sender_patience, too_large, views, wire_fault,
};
use crate::accounts::Principal;
use crate::app::{App, Shared};
use crate::passwords::Password;
use crate::public::body::{self, Broken, Stream};
use crate::public::credentials::{Key, principal};
use crate::public::errors::Refused;
use crate::receipts;
use crate::store::upload_rows::UploadPhase;
use crate::store::{BlobId, Digest, random_download_token};
use crate::transfer::{ChunkError, CompleteError, Completed, Completion, Opening, Upload};

/// The routes of this module.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v3/uploads", post(open))
        .route("/v3/uploads/{id}", axum::routing::get(progress).delete(abort))
        .route("/v3/uploads/{id}/chunks/{number}", put(chunk))
        .route("/v3/uploads/{id}/complete", post(complete))
}

async fn open(
    State(app): State<Shared>,
    Key(who): Key,
    body: body::Json<OpenUpload>,
) -> Result<Response, Refused> {
    let _guard = app.core.drain.begin_upload()?;
    let asked = body.0;
    let (settings, max) = (app.core.settings.current(), app.max_blob());
    if asked.size > max {
        return Err(too_large(max));
    }
    let division = Division::new(asked.size, asked.chunk_size.unwrap_or(DEFAULT_CHUNK));
    let division = division.map_err(|error| Refused::bad(error.to_string()))?;
    if asked.enc_meta.as_deref().is_some_and(|name| !is_enc_meta(name)) {
        return Err(no_enc_meta());
    }
    let password = match asked.password.filter(|password| !password.is_empty()) {
        Some(password) => Some(app.store.passwords.seal(Password::new(password.as_bytes())?).await?),
        None => None,
    };
    let opening = Opening {
        account: who.account,
        division,
        expected: asked.hash.map(|hash| Digest(*hash.as_bytes())),
        ttl: lifetime(asked.ttl_ms, app.plan(&who), &app),
        views: views(asked.max_views, app.plan(&who)),
        device: asked.device_id.map(|device| device.to_string()),
        strict: asked.disclosure.unwrap_or(settings.disclosure) == Disclosure::Strict,
        password,
        enc_meta: asked.enc_meta.filter(|name| !name.is_empty()),
        file_id: asked.file_id.map(|id| Digest(leaf::sha256(id.as_bytes()))),
    };
    let upload = app.store.transfers.open_upload(opening).await?;
    let place = format!("/v3/uploads/{}", upload.row.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(shown(&upload))).into_response())
}

async fn progress(
    State(app): State<Shared>,
    Key(who): Key,
    Path(id): Path<String>,
) -> Result<Json<UploadProgress>, Refused> {
    Ok(Json(shown(&find(&app, &who, &id).await?)))
}

async fn abort(
    State(app): State<Shared>,
    Key(who): Key,
    Path(id): Path<String>,
) -> Result<Json<Done>, Refused> {
    let upload = find(&app, &who, &id).await?;
    let given_up =
        app.store.transfers.abort_upload(who.account, upload.row.id).await.map_err(Refused::internal)?;
    if given_up { Ok(Json(Done { ok: true })) } else { Err(ChunkError::NotOpen.into()) }
}

async fn chunk(
    State(app): State<Shared>,
    Path((id, number)): Path<(String, u64)>,
    request: Request,
) -> Result<Json<ChunkKept>, Refused> {
    let (mut parts, body) = request.into_parts();
    let begun = async {
        let who = match principal(&parts.headers, &app) {
            Some(who) => who,
            None => Key::from_request_parts(&mut parts, &app).await?.0,
        };
        let guard = app.core.drain.continue_upload();
        let upload = find_with(&app, &who, &id, number).await;
        if !upload.as_ref().is_ok_and(|upload| !shown(upload).has(number)) {
            Key::from_request_parts(&mut parts, &app).await?; // counted
        }
        let expected = chunk_hash(&parts.headers)?;
        let upload = upload?;
        let (chunk, length) = app.store.transfers.receive_chunk(&upload, number).await?;
        Ok::<_, Refused>((guard, expected, upload, chunk, length))
    };
    let begun = begun.await;
    let mut stream = Stream::new(body, begun.as_ref().map_or(0, |(.., length)| *length));
    let (_guard, expected, upload, mut chunk, length) = match begun {
        Ok(begun) => begun,
        Err(refused) => return Err(stream.refuse(refused).await),
    };
    if stream.announced().is_some_and(|announced| announced != length) {
        return Err(stream.refuse(wrong_length(number, length)).await);
    }
    loop {
        match stream.next().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                if let Err(error) = chunk.push(&piece).await {
                    return Err(stream.refuse(error.into()).await);
                }
            }
            Err(Broken::TooLong) => return Err(stream.refuse(wrong_length(number, length)).await),
            Err(Broken::Gone) => return Err(broke_off()),
        }
    }
    let only = shown(&upload).chunks == 1;
    chunk
        .keep(|received| {
            if received.size != length {
                return Err(wrong_length(number, length));
            }
            if received.hash != expected {
                return Err(Refused::bad(HASH_MISMATCH));
            }
            if number == 0 && received.unsigned && app.store.licenses.grant().signatures_required {
                return Err(Refused::bad(SIGNATURE_REQUIRED));
            }
            match &received.wire {
                // What the first chunk announces may lie in those after it.
                Err(fault) if number == 0 && (only || fault.status() != 400) => Err(wire_fault(fault)),
                _ => Ok(()),
            }
        })
        .await?;
    Ok(Json(ChunkKept { ok: true, number, hash: BlobHash::from_bytes(expected.0) }))
}

async fn complete(
    State(app): State<Shared>,
    Key(who): Key,
    Path(id): Path<String>,
    body: body::Json<CompleteUpload>,
) -> Result<Json<UploadAnswer>, Refused> {
    let _guard = app.core.drain.continue_upload();
    let id = BlobId::parse(&id).ok_or_else(Refused::gone)?;
    let token = random_download_token().map_err(Refused::internal)?;
    let asked = Completion {
        expected: body.0.hash.map(|hash| Digest(*hash.as_bytes())),
        quota: quota(app.plan(&who), None),
        link: Some(Digest(token.digest())),
    };
    let completed = app.store.transfers.complete_upload(who.account, id, asked).await?;
    if completed.first {
        app.core.metrics.received(completed.blob.size);
        app.core.counts.uploaded();
    }
    // Asked again once the blob is gone: there is nothing that a link would read.
    let token = if completed.linked { token.to_string() } else { String::new() };
    Ok(Json(answer(&app, completed, token).await))
}

async fn answer(app: &App, completed: Completed, download_token: String) -> UploadAnswer {
    let Completed { blob, receipt, .. } = completed;
    let proof = receipts::inclusion(&app.core, blob.leaf, blob.log_index, sender_patience(app)).await;
    if let Err(error) = &proof {
        tracing::error!(%error, "the proof of an accepted upload could not be made");
    }
    UploadAnswer {
        ok: true,
        hash: BlobHash::from_bytes(blob.hash.0),
        ttl_ms: blob.ttl_ms.cast_unsigned(),
        size: blob.size,
        sig_verified: blob.sig_valid,
        download_token,
        merkle_proof: proof.ok(),
        log_receipt: Some(receipt),
    }
}

async fn find(app: &App, who: &Principal, id: &str) -> Result<Upload, Refused> {
    let id = BlobId::parse(id).ok_or_else(Refused::gone)?;
    app.store.transfers.upload(who.account, id).await?.ok_or_else(Refused::gone)
}

/// As [`find`], with this chunk at most.
async fn find_with(app: &App, who: &Principal, id: &str, number: u64) -> Result<Upload, Refused> {
    let id = BlobId::parse(id).ok_or_else(Refused::gone)?;
    app.store.transfers.upload_with(who.account, id, number).await?.ok_or_else(Refused::gone)
}

fn shown(upload: &Upload) -> UploadProgress {
    let row = &upload.row;
    UploadProgress {
        ok: true,
        upload: row.id.to_string(),
        state: match row.phase {
            UploadPhase::Open if upload.completing => UploadState::Completing,
            UploadPhase::Open => UploadState::Open,
            UploadPhase::Done(_) | UploadPhase::GivenUp => UploadState::Done,
        },
        size: row.size,
        chunk_size: row.chunk_size,
        chunks: row.size.div_ceil(row.chunk_size.max(1)),
        present: upload.present.clone(),
        expires_ms: upload.expires_ms,
    }
}

fn chunk_hash(headers: &HeaderMap) -> Result<Digest, Refused> {
    let hash = headers.get(CHUNK_HASH_HEADER).and_then(|hash| parse_hash(hash.to_str().ok()?));
    let missing = || {
        Refused::bad(
            "the header X-Paramant-Chunk-Sha256 must carry the chunk's SHA-256: 64 lower-case hex digits",
        )
    };
    hash.map(Digest).ok_or_else(missing)
}

fn wrong_length(number: u64, length: u64) -> Refused {
    Refused::bad(format!("chunk {number} of this upload has {length} bytes"))
}

impl From<ChunkError> for Refused {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Gone => Self::gone(),
            ChunkError::NotOpen => Self::new(StatusCode::CONFLICT, error.to_string()),
            ChunkError::Beyond { .. } => Self::bad(error.to_string()),
            ChunkError::Upload(error) => error.into(),
        }
    }
}

impl From<CompleteError> for Refused {
    fn from(error: CompleteError) -> Self {
        match error {
            CompleteError::Gone => Self::gone(),
            CompleteError::Missing(missing) => Self::with_body(
                StatusCode::CONFLICT,
                json!({ "error": "chunks_missing", "missing": missing, "hint": "send these chunks, then ask again" }),
            ),
            CompleteError::HashMismatch { found } => Self::with_body(
                StatusCode::BAD_REQUEST,
                json!({ "error": HASH_MISMATCH, "found": found.to_string() }),
            ),
            CompleteError::OtherPassword => Self::new(StatusCode::CONFLICT, error.to_string()),
            CompleteError::Upload(error) => error.into(),
        }
    }
}
