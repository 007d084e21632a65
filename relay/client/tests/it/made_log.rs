//! A log made by the real engine with real keys: entries, tree heads, anchors, rotations, witnesses, and a copy of it on disk.

use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use paramant_log::{CheckpointSigner, Head, Log, Options, SignError};
use paramant_protocol::canonical;
use paramant_protocol::entry::body::{Digest, LogKeyRotated, RelayStarted, SthAnchor};
use paramant_protocol::entry::{Body, Entry};
use paramant_protocol::sth::{self, SignedSth, Sth};
use paramant_tlog::keys::{CosignatureKey, Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::policy::{self, Policy, Witness};
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Hash};

pub(crate) const ORIGIN: &str = "relay.example/log";
/// When checkpoints are signed, and when the first entry is made.
pub(crate) const AT: u64 = 1_767_323_045;

pub(crate) fn seed(byte: u8) -> Seed {
    Seed::new([byte; 32])
}

/// The log's keys; they may change.
pub(crate) struct Keys(Mutex<Vec<Arc<dyn Signer>>>);

impl Keys {
    pub(crate) fn note(&self, checkpoint: &Checkpoint, at: u64) -> Note {
        let keys = self.0.lock().unwrap();
        let keys: Vec<&dyn Signer> = keys.iter().map(AsRef::as_ref).collect();
        Note::sign(&checkpoint.to_text(), &keys, at).unwrap()
    }

    pub(crate) fn verifiers(&self) -> Vec<VerifierKey> {
        self.0.lock().unwrap().iter().map(|key| key.verifier().clone()).collect()
    }
}

impl CheckpointSigner for Keys {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        Ok(self.note(&Checkpoint::new(ORIGIN, head.size, head.sha256_root), AT).to_text())
    }
}

pub(crate) struct MadeLog {
    _home: tempfile::TempDir,
    pub(crate) log: Log,
    pub(crate) keys: Arc<Keys>,
    pub(crate) identity: Arc<MlDsa65Key>,
    pub(crate) heads: Vec<SignedSth>,
    transfers: u64,
}

impl MadeLog {
    /// A log that begins with its relay's start.
    pub(crate) fn new() -> Self {
        Self::with_seed(1)
    }

    pub(crate) fn with_seed(byte: u8) -> Self {
        let home = tempfile::tempdir().unwrap();
        let identity = Arc::new(MlDsa65Key::from_seed(ORIGIN, &seed(byte + 2)).unwrap());
        let keys: Vec<Arc<dyn Signer>> = vec![
            Arc::new(Ed25519Key::from_seed(ORIGIN, &seed(byte)).unwrap()),
            Arc::new(MlDsa44Key::from_seed(ORIGIN, &seed(byte + 1)).unwrap()),
            identity.clone(),
        ];
        let keys = Arc::new(Keys(Mutex::new(keys)));
        let options =
            Options { checkpoint_every: std::time::Duration::from_secs(3600), ..Options::new(home.path()) };
        let log = Log::open(options, keys.clone()).unwrap();
        let mut made = Self { _home: home, log, keys, identity, heads: Vec::new(), transfers: 0 };
        let identity = Digest(paramant_protocol::leaf::sha3(made.identity.verifier().public_key()));
        made.body(Body::RelayStarted(RelayStarted { identity, version: "0.1.0".into() }));
        made
    }

    fn now(&self) -> Timestamp {
        let begin = Timestamp::from_second(AT as i64).unwrap();
        begin + SignedDuration::from_secs(self.log.head().size as i64)
    }

    pub(crate) fn append(&mut self, entry: &Entry) -> u64 {
        let entry = paramant_log::Entry { bytes: entry.bytes().to_vec(), legacy_leaf: entry.leaf() };
        self.log.append_blocking(entry).unwrap().index
    }

    pub(crate) fn body(&mut self, body: Body) -> u64 {
        self.append(&Entry::with_body(body, self.now()).unwrap())
    }

    /// Uploads; the leaves differ from those of any other log with another `salt`.
    pub(crate) fn transfers(&mut self, count: u64, salt: &str) -> &mut Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..count {
            let leaf = paramant_protocol::leaf::sha3(format!("{} {salt}", self.transfers).as_bytes());
            self.transfers += 1;
            let entry = Entry::transfer(leaf, Timestamp::from_second(AT as i64).unwrap());
            let entry = paramant_log::Entry { bytes: entry.bytes().to_vec(), legacy_leaf: leaf };
            let sender = sender.clone();
            self.log.append(entry, move |outcome| sender.send(outcome).unwrap());
        }
        for _ in 0..count {
            receiver.recv().unwrap().unwrap();
        }
        self
    }

    /// Signs a tree head over what is there.
    pub(crate) fn head(&mut self) -> &mut Self {
        let head = self.log.head();
        self.sign_head(head.size, &head.sha3_root)
    }

    pub(crate) fn sign_head(&mut self, size: u64, root: &Hash) -> &mut Self {
        let head = Sth::new("https://relay.example", root, size, AT as i64 * 1000 + self.heads.len() as i64);
        let signature = self.identity.sign_document(&head.sign_bytes().unwrap()).unwrap();
        self.heads.push(head.signed(&signature));
        self
    }

    pub(crate) fn chain(&self) -> Hash {
        self.heads.iter().fold(sth::CHAIN_START, |chain, head| sth::chain(chain, head).unwrap())
    }

    /// Appends an anchor over all tree heads, with this chain.
    pub(crate) fn anchor_with(&mut self, chain: Hash) -> &mut Self {
        let count = self.heads.len() as u64;
        self.body(Body::SthAnchor(SthAnchor { count, chain: Digest(chain) }));
        self
    }

    pub(crate) fn anchor(&mut self) -> &mut Self {
        self.anchor_with(self.chain())
    }

    /// Adds an Ed25519 key to those that sign, and says so in the log.
    pub(crate) fn add_key(&mut self, byte: u8) -> String {
        let key = Arc::new(Ed25519Key::from_seed(ORIGIN, &seed(byte)).unwrap());
        let text = key.verifier().to_string();
        self.body(Body::LogKeyRotated(LogKeyRotated { added: Some(text.clone()), retired: None }));
        self.keys.0.lock().unwrap().push(key);
        text
    }

    /// Takes the first key away, and says so in the log.
    pub(crate) fn retire_first_key(&mut self) -> String {
        let key = self.keys.0.lock().unwrap().remove(0);
        let text = key.verifier().to_string();
        self.body(Body::LogKeyRotated(LogKeyRotated { added: None, retired: Some(text.clone()) }));
        text
    }

    /// Swaps the first key without a word in the log.
    pub(crate) fn swap_first_key(&mut self, byte: u8) {
        self.keys.0.lock().unwrap()[0] = Arc::new(Ed25519Key::from_seed(ORIGIN, &seed(byte)).unwrap());
    }

    /// Writes what a relay would serve under `/log/` into a directory.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        self.copy_to(directory.path());
        directory
    }

    pub(crate) fn copy_to(&self, directory: &Path) {
        self.log.publish_now().unwrap();
        self.log.export(directory).unwrap();
        let vkeys: String = self.keys.verifiers().iter().map(|key| format!("{key}\n")).collect();
        std::fs::write(directory.join("vkeys"), vkeys).unwrap();
        write_heads(directory, &self.heads);
        std::fs::write(directory.join("policy"), self.policy().to_text()).unwrap();
    }

    /// Two of three witnesses, and the log's Ed25519 key.
    pub(crate) fn policy(&self) -> Policy {
        let log = policy::Log { key: self.keys.verifiers()[0].clone(), url: None };
        let witnesses = (0..3).map(|number| {
            let key = witness(number).verifier().clone();
            Witness { name: format!("w{number}"), key, url: None }
        });
        Policy::threshold([log], witnesses, 2).unwrap()
    }
}

pub(crate) fn write_heads(directory: &Path, heads: &[SignedSth]) {
    let mut lines = Vec::new();
    for head in heads {
        lines.extend(canonical::to_vec(head).unwrap());
        lines.push(b'\n');
    }
    std::fs::write(directory.join("sth.ndjson"), lines).unwrap();
}

pub(crate) fn witness(number: u8) -> CosignatureKey {
    CosignatureKey::from_seed(&format!("witness.example/{number}"), &seed(100 + number)).unwrap()
}

/// Adds witness lines to the checkpoint in a directory.
pub(crate) fn cosign(directory: &Path, witnesses: &[u8], at: u64) {
    let path = directory.join("checkpoint");
    let mut note = Note::parse(&std::fs::read(&path).unwrap()).unwrap();
    for number in witnesses {
        let key = witness(*number);
        note.signatures.extend(Note::sign(&note.text, &[&key], at).unwrap().signatures);
    }
    std::fs::write(&path, note.to_text()).unwrap();
    std::fs::write(directory.join("checkpoint.witnessed"), note.to_text()).unwrap();
}
