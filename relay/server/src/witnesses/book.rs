//! What must outlive the process: the size each witness cosigned last, the candidate with its cosignatures, the newest checkpoint
//! with a quorum, and the pushes that no entry covers yet.
//!
//! One small file, replaced whole and durably at each change. A cosignature is in it before anybody sees it, and a push is
//! counted in it before it is made. A damaged file is told and replaced: what witnesses signed can be had again, and pushes without an
//! entry are still lines of the relay's own log file.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use paramant_tlog::Checkpoint;
use paramant_tlog::cosignature;
use paramant_tlog::note::{Note, Signature};
use paramant_tlog::vkey::VerifierKey;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::data_dir::durable;
use crate::outbound::calls::Calls;
use crate::settings::{WitnessMember, WitnessSettings};

/// A checkpoint that witnesses were asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cosigned {
    /// The log's own note, as it was published.
    pub(super) note: String,
    /// Lines of witnesses, each verified when it came.
    pub(super) lines: Vec<String>,
    /// When the last of them came, in seconds since 1970.
    pub(super) at: i64,
}

/// The whole content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Book {
    /// By verifier key: the size it cosigned last, as far as we know, and when.
    pub(super) known: BTreeMap<String, Known>,
    /// What witnesses are asked about.
    pub(super) candidate: Option<Cosigned>,
    /// The newest checkpoint that had its quorum.
    pub(super) witnessed: Option<Cosigned>,
    /// Pushes without an entry.
    pub(super) calls: Vec<Calls>,
}

/// What one witness cosigned last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Entries under it.
    pub(super) size: u64,
    /// When it came, in seconds since 1970; zero when the witness only told its size.
    pub(super) at: i64,
}

impl Cosigned {
    /// A checkpoint nobody cosigned yet.
    pub(super) fn new(note: String) -> Self {
        Self { note, lines: Vec::new(), at: 0 }
    }

    /// Its size, and its text.
    pub(super) fn checkpoint(&self) -> Option<(u64, String)> {
        let note = Note::parse(self.note.as_bytes()).ok()?;
        Some((Checkpoint::parse(&note.text).ok()?.size, note.text))
    }

    /// The note with the witnesses' lines.
    pub(super) fn whole(&self) -> String {
        with_lines(&self.note, &self.lines)
    }

    /// Whether the log's own lines are those of all these keys.
    pub(super) fn is_signed_by(&self, keys: &[VerifierKey]) -> bool {
        let Ok(note) = Note::parse(self.note.as_bytes()) else { return false };
        let lines = &note.signatures;
        keys.iter().all(|key| lines.iter().any(|line| line.name == key.name() && line.key_id == key.key_id()))
    }

    /// Whether there is a line under this key's name and id. It was verified when it came.
    pub(super) fn has_line_of(&self, key: &VerifierKey) -> bool {
        self.signatures().iter().any(|line| line.name == key.name() && line.key_id == key.key_id())
    }

    /// How many of these witnesses cosigned it: each line is verified.
    pub(super) fn votes(&self, members: &[WitnessMember]) -> usize {
        let Some((_, text)) = self.checkpoint() else { return 0 };
        let lines = self.signatures();
        let cosigned = |member: &&WitnessMember| cosignature::verified(&text, &lines, &member.key).is_ok();
        members.iter().filter(cosigned).count()
    }

    fn signatures(&self) -> Vec<Signature> {
        cosignature::parse_answer(self.lines.concat().as_bytes()).unwrap_or_default()
    }

    /// Adds a line that was verified, in place of an earlier one of the same key.
    pub(super) fn add(&mut self, line: &Signature, at: i64) {
        let same = |other: &String| {
            cosignature::parse_answer(other.as_bytes())
                .is_ok_and(|lines| lines.iter().any(|it| (&it.name, it.key_id) == (&line.name, line.key_id)))
        };
        self.lines.retain(|other| !same(other));
        self.lines.push(line.to_line());
        self.at = at;
    }
}

/// A note with further signature lines.
pub(super) fn with_lines(note: &str, lines: &[String]) -> String {
    let mut whole = note.to_owned();
    lines.iter().for_each(|line| whole.push_str(line));
    whole
}

impl Book {
    /// What is known of one witness.
    pub(super) fn known(&self, key: &VerifierKey) -> Known {
        self.known.get(&key.to_string()).copied().unwrap_or_default()
    }

    /// Makes this note the candidate, unless it says the same.
    pub(super) fn choose(&mut self, note: String) {
        let fresh = Cosigned::new(note);
        let text = |it: &Cosigned| it.checkpoint();
        if self.candidate.as_ref().and_then(text) != text(&fresh) {
            self.candidate = Some(fresh);
        }
    }

    /// Takes a cosignature over the checkpoint with this text.
    pub(super) fn cosign(&mut self, key: &VerifierKey, size: u64, text: &str, line: &Signature, at: i64) {
        self.known.insert(key.to_string(), Known { size, at });
        for place in [&mut self.candidate, &mut self.witnessed].into_iter().flatten() {
            if place.checkpoint().is_some_and(|(_, own)| own == text) {
                place.add(line, at);
            }
        }
    }

    /// Notes the size a witness told.
    pub(super) fn correct(&mut self, key: &VerifierKey, size: u64) {
        self.known.insert(key.to_string(), Known { size, at: 0 });
    }

    /// Brings `witnessed` up to date: the candidate once it has its quorum; nothing that falls short of the quorum asked for now.
    pub(super) fn settle(&mut self, quorum: usize, members: &[WitnessMember]) {
        if self.witnessed.as_ref().is_some_and(|old| old.votes(members) < quorum) {
            self.witnessed = None;
        }
        let Some(candidate) = &self.candidate else { return };
        let size = |it: &Cosigned| it.checkpoint().map(|(size, _)| size);
        let newer = self.witnessed.as_ref().is_none_or(|old| size(old) <= size(candidate));
        if newer && quorum > 0 && candidate.votes(members) >= quorum {
            self.witnessed = Some(candidate.clone());
        }
    }

    /// Forgets witnesses that are not asked any more.
    pub(super) fn keep(&mut self, members: &[WitnessMember]) {
        self.known.retain(|key, _| members.iter().any(|member| member.key.to_string() == *key));
    }
}

/// The file, and the book as it is in it; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Serialises changes.
    turn: Mutex<()>,
    book: watch::Sender<Arc<Book>>,
}

impl Shelf {
    /// Reads the file; one that is not there is an empty book. What it calls witnessed is settled by the settings.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn open(path: PathBuf, config: Option<&WitnessSettings>) -> io::Result<Self> {
        let mut book = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::error!(file = %path.display(), %error, "what witnesses said cannot be read; they are asked again");
                Book::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Book::default(),
            Err(error) => return Err(error),
        };
        if let Some(config) = config {
            book.settle(config.quorum(), &config.members);
        }
        let book = watch::Sender::new(Arc::new(book));
        Ok(Self(Arc::new(Inner { path, turn: Mutex::new(()), book })))
    }

    /// As it is on disk.
    pub(super) fn read(&self) -> Arc<Book> {
        self.0.book.borrow().clone()
    }

    /// Changes the book: durable first, then seen. A change that changes nothing writes nothing.
    ///
    /// # Errors
    /// When it cannot be written; then nothing has changed.
    pub(super) async fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> io::Result<T> {
        let _turn = self.0.turn.lock().await;
        let before = self.read();
        let mut book = (*before).clone();
        let outcome = change(&mut book);
        if book == *before {
            return Ok(outcome);
        }
        let bytes = serde_json::to_vec(&book).map_err(io::Error::other)?;
        let path = self.0.path.clone();
        let written = tokio::task::spawn_blocking(move || durable::write(&path, &bytes)).await;
        written.map_err(io::Error::other)??;
        self.0.book.send_replace(Arc::new(book));
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use paramant_tlog::keys::{CosignatureKey, Seed, Signer};

    use super::*;

    fn witness(n: u8) -> CosignatureKey {
        CosignatureKey::from_seed(&format!("witness.example/{n}"), &Seed::new([n; 32])).unwrap()
    }

    fn members(of: &[u8]) -> Vec<WitnessMember> {
        let member = |n: &u8| WitnessMember {
            name: n.to_string(),
            key: witness(*n).verifier().clone(),
            url: "https://witness.example".parse().unwrap(),
        };
        of.iter().map(member).collect()
    }

    fn text(size: u64) -> String {
        Checkpoint::new("relay.example/log", size, [7; 32]).to_text()
    }

    fn note(size: u64) -> String {
        format!("{}\n— relay.example/log AAAAAAEC\n", text(size))
    }

    fn cosign(book: &mut Book, n: u8, size: u64) {
        let keys: [&dyn Signer; 1] = [&witness(n)];
        let line = Note::sign(&text(size), &keys, 5).unwrap().signatures.remove(0);
        book.cosign(witness(n).verifier(), size, &text(size), &line, 9);
    }

    #[test]
    fn a_candidate_becomes_the_witnessed_checkpoint_with_its_quorum_and_gathers_late_lines() {
        let mut book = Book::default();
        let three = members(&[1, 2, 3]);
        book.choose(note(4));
        cosign(&mut book, 1, 4);
        book.settle(2, &three);
        assert_eq!(book.witnessed, None);
        cosign(&mut book, 2, 4);
        book.settle(2, &three);
        assert_eq!(book.witnessed.as_ref().unwrap().votes(&three), 2);
        cosign(&mut book, 3, 4);
        cosign(&mut book, 3, 4);
        let whole = book.witnessed.as_ref().unwrap().whole();
        assert_eq!(whole.matches("— witness.example/").count(), 3, "one line of each: {whole}");
        assert!(whole.starts_with(&note(4)));
    }

    #[test]
    fn the_last_quorum_stays_while_the_next_one_gathers_and_goes_when_it_is_not_enough_any_more() {
        let mut book = Book::default();
        let two = members(&[1, 2]);
        book.choose(note(4));
        cosign(&mut book, 1, 4);
        book.settle(1, &two);
        book.choose(note(9));
        book.settle(1, &two);
        assert_eq!(book.witnessed.as_ref().unwrap().checkpoint().unwrap().0, 4);
        book.settle(2, &two);
        assert_eq!(book.witnessed, None, "two are asked for now");
        cosign(&mut book, 2, 9);
        book.settle(1, &members(&[1]));
        assert_eq!(book.witnessed, None, "the one that signed is no witness of ours any more");
    }

    #[test]
    fn choosing_the_same_checkpoint_keeps_its_lines() {
        let mut book = Book::default();
        book.choose(note(4));
        cosign(&mut book, 1, 4);
        book.choose(format!("{}— relay.example/log AAAAAAED\n", note(4)));
        assert_eq!(book.candidate.as_ref().unwrap().votes(&members(&[1])), 1);
        book.choose(note(5));
        assert_eq!(book.candidate.as_ref().unwrap().votes(&members(&[1])), 0);
    }

    #[tokio::test]
    async fn what_was_noted_is_there_after_a_restart_and_a_damaged_file_is_no_obstacle() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("witnesses.json");
        let shelf = Shelf::open(path.clone(), None).unwrap();
        shelf
            .change(|book| {
                book.choose(note(4));
                cosign(book, 1, 4);
            })
            .await
            .unwrap();
        let read = Shelf::open(path.clone(), None).unwrap().read();
        assert_eq!(read, shelf.read());
        assert_eq!(read.known(witness(1).verifier()), Known { size: 4, at: 9 });
        std::fs::write(&path, "{half").unwrap();
        assert_eq!(*Shelf::open(path, None).unwrap().read(), Book::default());
    }

    #[tokio::test]
    async fn what_cannot_be_written_has_not_happened() {
        let temp = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(temp.path().join("nowhere/witnesses.json"), None).unwrap();
        assert!(shelf.change(|book| book.choose(note(4))).await.is_err());
        assert_eq!(shelf.read().candidate, None);
    }
}
