//! What surrounds the entries of an archive: the checkpoint they lead to, keys, policy, and which tree heads belong in it.
//!
//! A complete archive keeps the frame it was first given, on disk, so that its bytes never change and a content network may
//! keep it for ever. The last archive, which grows, gets a new one from time to time.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ArchiveError, Span};
use crate::data_dir::durable;
use crate::log_service::{LogService, Published};
use crate::public::log_tiles::vkeys_text;

/// The texts of one archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Entries under the checkpoint.
    pub(super) size: u64,
    checkpoint: String,
    vkeys: String,
    policy: String,
    /// Numbers of the tree heads.
    pub(super) heads: Range<u64>,
}

impl Frame {
    /// Around the log as it is published now.
    pub(super) fn now(
        log: &LogService,
        policy: String,
        published: &Published,
        span: Span,
    ) -> Result<Self, ArchiveError> {
        let size = published.head.size;
        let heads = log.tree_heads();
        Ok(Self {
            size,
            checkpoint: published.note.clone(),
            vkeys: vkeys_text(log),
            policy,
            heads: heads.count_up_to(span.first)?..heads.count_up_to(span.end(size))?,
        })
    }

    /// The one on disk.
    pub(super) fn kept(folder: &Path, span: Span) -> Option<Self> {
        let text = std::fs::read(path(folder, span)).ok()?;
        // One that cannot be read is replaced: downloads that are broken off then begin anew.
        serde_json::from_slice(&text).ok()
    }

    pub(super) fn keep(&self, folder: &Path, span: Span) -> Result<(), ArchiveError> {
        let text = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        Ok(durable::write(&path(folder, span), &text)?)
    }

    /// Tells archives apart: the checkpoint commits to all entries and tiles, the rest stands here itself.
    pub(super) fn etag(&self) -> String {
        let mut digest = Sha256::new();
        for part in [&self.checkpoint, &self.vkeys, &self.policy] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.update(self.heads.start.to_be_bytes());
        digest.update(self.heads.end.to_be_bytes());
        format!("\"{}\"", hex::encode(digest.finalize().get(..16).unwrap_or_default()))
    }

    pub(super) fn texts(&self, span: Span) -> Vec<(&'static str, Bytes)> {
        vec![
            ("README.txt", readme(span, self.size).into()),
            ("checkpoint", self.checkpoint.clone().into()),
            ("vkeys", self.vkeys.clone().into()),
            ("policy", self.policy.clone().into()),
        ]
    }
}

fn path(folder: &Path, span: Span) -> std::path::PathBuf {
    folder.join(format!("{}.frame", span.number))
}

fn readme(span: Span, size: u64) -> String {
    let (first, end) = (span.first, span.end(size));
    format!(
        "Archive {} of a transparency log: entries {first} to {} of {size}.\n\n\
         Every file has the path it has under /log/ of the relay:\n\
         checkpoint         the signed tree head all this leads to (C2SP tlog-checkpoint, signed-note)\n\
         vkeys, policy      the keys that signed it (C2SP signed-note, tlog-policy); compare them with keys from elsewhere\n\
         tile/entries/...   the entries, 256 to a bundle (C2SP tlog-tiles)\n\
         tile/0/... and up  the SHA-256 tree over them; of the entries outside this archive only what the root needs\n\
         sth.ndjson         the signed heads of the SHA3-256 tree over these entries, one JSON a line\n\n\
         Nothing here is to be believed unchecked. `paramant audit FILE.zip` checks all of it offline; docs/audit.md\n\
         shows how to do it with programs from elsewhere.\n",
        span.number,
        end.saturating_sub(1),
    )
}
