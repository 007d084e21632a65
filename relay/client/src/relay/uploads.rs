//! Uploads in chunks, and downloads that go on (`/v3/uploads`, `Range`).

use bytes::Bytes;
use paramant_protocol::chunks::{CHUNK_HASH_HEADER, ChunkKept, CompleteUpload, OpenUpload, UploadProgress};
use paramant_protocol::download::BURNED_HEADER;
use paramant_protocol::id::BlobHash;
use paramant_protocol::receipt;
use paramant_protocol::upload::UploadAnswer;
use reqwest::{Method, Response, StatusCode, header};

use super::{Relay, accepted, parse};
use crate::error::ClientError;
use crate::password::Password;

/// A download that has begun.
pub struct Begun {
    response: Response,
    /// The first byte that comes.
    pub from: u64,
    /// Bytes of the whole.
    pub size: u64,
    /// Whether this read, if it ends whole, removes the blob.
    pub burned: bool,
    /// The receipt header, verbatim.
    pub receipt: Option<String>,
}

impl Begun {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let action = "download";
        let chunk = self.response.chunk().await;
        chunk.map_err(|source| ClientError::Transport { action, source: source.without_url() })
    }
}

impl Relay {
    /// Opens an upload in chunks; `None`: the relay does not take them.
    pub async fn open_upload(&self, upload: &OpenUpload) -> Result<Option<UploadProgress>, ClientError> {
        let action = "open an upload";
        let response = self.send(action, self.keyed(Method::POST, "/v3/uploads")?.json(upload)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        parse(action, accepted(action, response).await?).await.map(Some)
    }

    /// How far an upload is; `None`: there is no such upload (any more).
    pub async fn upload_progress(&self, id: &str) -> Result<Option<UploadProgress>, ClientError> {
        let action = "ask how far the upload is";
        let response = self.send(action, self.keyed(Method::GET, &format!("/v3/uploads/{id}"))?).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        parse(action, accepted(action, response).await?).await.map(Some)
    }

    /// Sends one chunk.
    pub async fn put_chunk(
        &self,
        id: &str,
        number: u64,
        chunk: Bytes,
        hash: &BlobHash,
    ) -> Result<(), ClientError> {
        let action = "upload a chunk";
        let request =
            self.keyed_with(&self.patient, Method::PUT, &format!("/v3/uploads/{id}/chunks/{number}"))?;
        let request = request.header(CHUNK_HASH_HEADER, hash.to_string()).body(chunk);
        let kept: ChunkKept = self.json(action, request).await?;
        if kept.hash != *hash || kept.number != number {
            let reason = format!("it acknowledges chunk {} with {}", kept.number, kept.hash);
            return Err(ClientError::Answer { action, reason });
        }
        Ok(())
    }

    /// Makes an upload whose chunks are all there a blob.
    pub async fn complete_upload(&self, id: &str, hash: BlobHash) -> Result<UploadAnswer, ClientError> {
        let action = "complete the upload";
        let request = self.keyed_with(&self.patient, Method::POST, &format!("/v3/uploads/{id}/complete"))?;
        let answer: UploadAnswer =
            self.json(action, request.json(&CompleteUpload { hash: Some(hash) })).await?;
        if answer.hash != hash {
            let reason = format!("it acknowledges {}, sent was {hash}", answer.hash);
            return Err(ClientError::Answer { action, reason });
        }
        Ok(answer)
    }

    /// What an upload that was completed before became.
    pub async fn completed_upload(&self, id: &str) -> Result<UploadAnswer, ClientError> {
        let request = self.keyed_with(&self.patient, Method::POST, &format!("/v3/uploads/{id}/complete"))?;
        self.json("complete the upload", request.json(&CompleteUpload::default())).await
    }

    /// Gives an upload up.
    pub async fn abort_upload(&self, id: &str) -> Result<(), ClientError> {
        let action = "give up the upload";
        let response = self.send(action, self.keyed(Method::DELETE, &format!("/v3/uploads/{id}"))?).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        accepted(action, response).await.map(drop)
    }

    /// Takes one view of a blob, or goes on with one whose read broke off, from some byte on. The relay may begin earlier.
    pub async fn download_from(
        &self,
        hash: &BlobHash,
        from: u64,
        password: Option<&Password>,
    ) -> Result<Begun, ClientError> {
        let action = "download";
        let mut request = self.outbound(hash, password)?;
        if from > 0 {
            request = request
                .header(header::RANGE, format!("bytes={from}-"))
                .header(header::IF_RANGE, format!("\"{hash}\""));
        }
        let response = self.send(action, request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(ClientError::Gone(*hash));
        }
        let response = accepted(action, response).await?;
        let text = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let place = if response.status() == StatusCode::PARTIAL_CONTENT {
            text(header::CONTENT_RANGE.as_str()).as_deref().and_then(content_range)
        } else {
            response.content_length().map(|size| (0, size))
        };
        let Some((begins, size)) = place.filter(|(begins, _)| *begins <= from) else {
            return Err(ClientError::Answer { action, reason: "it does not say which bytes come".into() });
        };
        let (burned, receipt) = (text(BURNED_HEADER).as_deref() == Some("true"), text(receipt::HEADER));
        Ok(Begun { response, from: begins, size, burned, receipt })
    }
}

/// The first byte, and bytes of the whole, of a part that goes to the end.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last.checked_add(1) == Some(size)).then_some((first, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_that_goes_to_the_end_is_taken() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        for other in
            ["bytes 5-8/10", "bytes 5-10/10", "bytes */10", "bytes 6-5/6", "5-9/10", "bytes 5-9/*", ""]
        {
            assert_eq!(content_range(other), None, "{other}");
        }
    }
}
