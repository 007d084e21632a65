//! What this log says of a head that somebody saw: is it a head of this log, or is there a second history?
//!
//! Judging reads the log and changes nothing. Only a document that our own keys signed can accuse us; everything else is
//! `unverifiable`, whatever it claims. Used by `POST /log/gossip`, which keeps what contradicts us.

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use paramant_log::ReadError;
use paramant_protocol::gossip::{Document, Malformed};
use paramant_protocol::transparency::{GossipAnswer, GossipHead, GossipVerdict};
use paramant_tlog::{Hash, Tree};

use crate::log_service::LogService;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GossipError {
    /// Neither form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The log.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A verdict, and whether the document accuses this log.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) answer: GossipAnswer,
    /// Our own keys signed it, and it is no head of this log as it is now.
    pub(crate) accuses: bool,
}

/// A head that our keys signed.
struct Claimed {
    tree: Tree,
    size: u64,
    root: Hash,
}

/// Judges a document. Blocks.
pub(crate) fn judge(log: &LogService, identity: &[u8], document: &[u8]) -> Result<Judged, GossipError> {
    match Document::parse(document)? {
        Document::TreeHead(head) => {
            let key = UnparsedPublicKey::new(&ML_DSA_65, identity);
            match head.verify(&|message, signature| key.verify(message, signature).is_ok()) {
                Ok(sth) => match sth.root() {
                    Ok(root) => compare(log, &Claimed { tree: Tree::Sha3, size: sth.tree_size, root }),
                    Err(error) => Ok(unverifiable(log, Tree::Sha3, error.to_string())),
                },
                Err(error) => Ok(unverifiable(log, Tree::Sha3, error.to_string())),
            }
        }
        Document::Checkpoint(_, checkpoint) if checkpoint.origin != log.origin() => {
            let why = format!("this log is {}, the checkpoint is of another", log.origin());
            Ok(unverifiable(log, Tree::Sha256, why))
        }
        Document::Checkpoint(note, checkpoint) => match note.open(&log.all_verifiers()) {
            Ok(_) => {
                compare(log, &Claimed { tree: Tree::Sha256, size: checkpoint.size, root: checkpoint.root })
            }
            Err(error) => Ok(unverifiable(log, Tree::Sha256, error.to_string())),
        },
    }
}

fn compare(log: &LogService, claimed: &Claimed) -> Result<Judged, GossipError> {
    let Claimed { tree, size, root } = *claimed;
    // Asked before what is compared with: it may have grown since, which changes nothing.
    let ours = newest(log, tree);
    if size > log.head().size {
        let why = format!(
            "our keys signed {size} entries, this log has {}: it lost some, or there are two",
            log.head().size
        );
        return Ok(judged(GossipVerdict::Ahead, why, ours, &[]));
    }
    if log.engine().root(tree, size)? != root {
        let why = format!("our keys signed another root over {size} entries: there are two histories");
        return Ok(judged(GossipVerdict::Inconsistent, why, ours, &[]));
    }
    let proof = if size > 0 && size < ours.size {
        log.engine().consistency(tree, size, ours.size)?
    } else {
        Vec::new()
    };
    Ok(judged(GossipVerdict::Consistent, "it is a head of this log".to_owned(), ours, &proof))
}

fn judged(verdict: GossipVerdict, detail: String, ours: GossipHead, proof: &[Hash]) -> Judged {
    let accuses = matches!(verdict, GossipVerdict::Ahead | GossipVerdict::Inconsistent);
    Judged {
        answer: GossipAnswer { verdict, detail, ours, proof: proof.iter().map(hex::encode).collect() },
        accuses,
    }
}

fn unverifiable(log: &LogService, tree: Tree, detail: String) -> Judged {
    judged(GossipVerdict::Unverifiable, detail, newest(log, tree), &[])
}

/// The newest head of the tree that may be shown: the published checkpoint, or the newest signed tree head.
fn newest(log: &LogService, tree: Tree) -> GossipHead {
    let shown = match tree {
        Tree::Sha256 => {
            log.published().map(|published| (published.head.size, hex::encode(published.head.sha256_root)))
        }
        Tree::Sha3 => log.tree_heads().newest().map(|head| (head.tree_size, head.sha3_root.clone())),
    };
    let (size, root) = shown.unwrap_or_else(|| (0, hex::encode(tree.empty_root())));
    GossipHead { size, root }
}
