//! `Logged<T>`: a document that this relay's log holds, under a checkpoint that is signed and durable.
//!
//! Nothing a vendor says takes effect before that (trust page R2). The proof is the one an outsider would check: entry, path,
//! checkpoint, the log's own keys:
//!
//! ```
//! # use paramant_licensing::logged::{Logged, NotLogged};
//! # use paramant_licensing::{Evidence, online::reply::Reply, verified::Verified};
//! # use paramant_tlog::{tlog_proof::TlogProof, vkey::VerifierKey};
//! fn the_way(
//!     evidence: &mut Evidence, reply: Verified<Reply>, salt: &[u8; 32], proof: &TlogProof, keys: &[VerifierKey],
//! ) -> Result<(), NotLogged> {
//!     evidence.hold(Logged::prove(reply, salt, proof, keys)?, false);
//!     Ok(())
//! }
//! ```
//! There is no other way to come by one:
//!
//! ```compile_fail
//! # use paramant_licensing::{logged::Logged, online::reply::Reply, verified::Verified};
//! fn shortcut(reply: Verified<Reply>) -> Logged<Verified<Reply>> {
//!     Logged { document: reply, index: 0 } // private fields
//! }
//! ```
//! ```compile_fail
//! # use paramant_licensing::{logged::Logged, online::reply::Reply, verified::Verified};
//! fn twice(logged: &Logged<Verified<Reply>>) -> Logged<Verified<Reply>> {
//!     logged.clone() // no Clone
//! }
//! ```
//! ```compile_fail
//! # use paramant_licensing::{logged::Logged, online::reply::Reply, verified::Verified};
//! fn from_disk() -> impl serde::de::DeserializeOwned {
//!     None::<Logged<Verified<Reply>>> // no Deserialize
//! }
//! ```
//! ```compile_fail
//! # use paramant_licensing::{Evidence, online::reply::Reply, verified::Verified};
//! fn unlogged(evidence: &mut Evidence, reply: Verified<Reply>) {
//!     evidence.hold(reply, false) // takes Logged only
//! }
//! ```
//! ```compile_fail
//! # use paramant_licensing::{actions::{Effect, Request}, verified::Verified};
//! fn unlogged_request(request: Verified<Request>, now: jiff::Timestamp) -> Effect {
//!     Effect::of(request, now, 3600) // takes Logged only
//! }
//! ```
//! ```compile_fail
//! # use paramant_licensing::actions::{Effect, Draining};
//! fn out_of_nothing(until: jiff::Timestamp) -> Effect {
//!     Effect::Drain(Draining { until: Some(until) }) // private fields
//! }
//! ```
//! ```compile_fail
//! # use paramant_licensing::{online::reply::Reply, verified::Verified};
//! fn unverified(reply: Reply) -> Verified<Reply> {
//!     Verified { document: reply, bytes: Vec::new() } // private fields
//! }
//! ```

use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::{Body, CheckinResult, Digest};
use paramant_protocol::leaf::{self, Purpose};
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Tree, entry_leaf, verify};

use crate::actions::Request;
use crate::online::reply::Reply;
use crate::verified::Verified;

/// A document with proof that the log holds it.
#[derive(Debug)]
pub struct Logged<T> {
    document: T,
    index: u64,
}

/// What the log can hold.
pub trait Recorded {
    /// Whether an entry with this body records this very document, under this salt.
    fn is_recorded_by(&self, body: &Body, salt: &[u8; 32]) -> bool;
}

/// Why a proof does not show that the log holds a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLogged {
    /// The checkpoint is not one, or lacks a signature of the log's keys.
    #[error("the checkpoint is not signed by the log's keys")]
    Checkpoint,
    /// The path does not lead to it.
    #[error("the entry is not under the checkpoint")]
    Inclusion,
    /// The entry is of another document.
    #[error("the entry does not record this document")]
    Entry,
}

impl<T: Recorded> Logged<T> {
    /// Takes a document that the log holds.
    ///
    /// # Errors
    /// [`NotLogged`]; the document is given up, and can be verified anew.
    pub fn prove(
        document: T,
        salt: &[u8; 32],
        proof: &TlogProof,
        keys: &[VerifierKey],
    ) -> Result<Self, NotLogged> {
        let note = Note::parse(proof.checkpoint.as_bytes()).map_err(|_| NotLogged::Checkpoint)?;
        let lines = note.open(keys).map_err(|_| NotLogged::Checkpoint)?;
        let all = (0..keys.len()).all(|key| lines.iter().any(|line| line.key == key));
        if keys.is_empty() || !all {
            return Err(NotLogged::Checkpoint);
        }
        let checkpoint = Checkpoint::parse(&note.text).map_err(|_| NotLogged::Checkpoint)?;
        let bytes = proof.extra.as_deref().ok_or(NotLogged::Entry)?;
        let (leaf, size, root) = (entry_leaf(bytes), checkpoint.size, checkpoint.root);
        verify::inclusion(Tree::Sha256, &leaf, proof.index, size, &proof.path, &root)
            .map_err(|_| NotLogged::Inclusion)?;
        let entry = Entry::parse(bytes).map_err(|_| NotLogged::Entry)?;
        let recorded = entry.body().is_some_and(|body| document.is_recorded_by(body, salt));
        if recorded { Ok(Self { document, index: proof.index }) } else { Err(NotLogged::Entry) }
    }
}

impl<T> Logged<T> {
    /// The document.
    pub fn get(&self) -> &T {
        &self.document
    }

    /// Gives the proof up for what it proved.
    pub(crate) fn into_inner(self) -> T {
        self.document
    }

    /// Where the log holds it.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// An entry holds a request whole, so there is no salt to open.
impl Recorded for Verified<Request> {
    fn is_recorded_by(&self, body: &Body, _: &[u8; 32]) -> bool {
        let Body::VendorRequest(body) = body else { return false };
        body.request.to_bytes().is_ok_and(|bytes| bytes == self.bytes())
    }
}

impl Recorded for Verified<Reply> {
    fn is_recorded_by(&self, body: &Body, salt: &[u8; 32]) -> bool {
        let Body::LicenseCheckin(body) = body else { return false };
        let result = match self.get() {
            Reply::Set(_) => CheckinResult::Accepted,
            Reply::Refusal(_) => CheckinResult::Refused,
        };
        let reply = leaf::commit(Purpose::LicenseReply, salt, self.bytes());
        body.result == result && body.reply == Some(Digest(reply))
    }
}
