//! Making a copy of a log on this machine: a directory that mirrors `/log/`, or a zip of it.
//!
//! A resource is written down once it was compared with what the entries give; the checkpoint last, once everything holds, so a
//! directory without one is a copy that did not finish. Full tiles and bundles never change: a copy that goes on reads those
//! it has from its own directory, and checks them like any others. Every file is written durably.

mod pack;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use paramant_protocol::canonical;
use paramant_protocol::sth::SignedSth;
use paramant_tlog::Checkpoint;
use paramant_tlog::note::Note;

pub use pack::pack;

use crate::audit::source::HeadPage;
use crate::audit::{Directory, HEADS, Remembered, Source};
use crate::durable::{self, ORDINARY, fault};
use crate::error::ClientError;
use crate::relay::Relay;

const CHECKPOINT: &str = "checkpoint";
/// Heads of this run, before they were checked.
const NEW_HEADS: &str = "sth.ndjson.new";
/// What a copy holds besides tiles, bundles, tree heads and the checkpoint.
const NAMED: [&str; 3] = ["vkeys", "policy", "checkpoint.witnessed"];

const README: &str = "\
A copy of a relay's transparency log, laid out as it is served under /log/ (C2SP tlog-tiles).

  checkpoint        the signed tree head that everything here lies under
  vkeys             the keys that signed it: compare them with what you know from elsewhere
  tile/entries/...  the entries, 256 a bundle
  tile/0/... and up the hashes of the SHA-256 tree (RFC 6962)
  sth.ndjson        every signed head of the SHA3-256 tree, one a line

Check it with `paramant audit DIRECTORY`, or with any program for C2SP tiled logs.
";

/// A relay whose log is being copied.
pub struct Archive<'r> {
    relay: &'r Relay,
    directory: Directory,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Small resources as they were last shown.
    shown: BTreeMap<&'static str, Vec<u8>>,
    /// Tiles and bundles that are part of the copy.
    kept: Vec<String>,
    /// Tree heads that the directory holds, and those that came.
    old_heads: u64,
    new_heads: u64,
    writer: Option<BufWriter<File>>,
}

impl<'r> Archive<'r> {
    /// Begins or goes on with a copy in a directory, made if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(relay: &'r Relay, root: &Path) -> Result<Self, ClientError> {
        fs::create_dir_all(root).map_err(|error| fault("create", root, error))?;
        remove(&root.join(NEW_HEADS))?;
        let old_heads = mend(&root.join(HEADS))?;
        let state = Mutex::new(State { old_heads, ..State::default() });
        Ok(Self { relay, directory: Directory::open(root)?, state })
    }

    /// Whether an earlier copy was finished here.
    pub fn was_finished(&self) -> bool {
        self.directory.root().join(CHECKPOINT).is_file()
    }

    /// Whether an earlier copy here is of the log that the relay has.
    ///
    /// # Errors
    /// When it is of another, or a checkpoint could not be read.
    pub async fn same_log(&self) -> Result<(), ClientError> {
        let origin = |bytes: Option<Vec<u8>>| Checkpoint::parse(&Note::parse(&bytes?).ok()?.text).ok();
        let Some(copied) = origin(self.directory.read(CHECKPOINT)?) else { return Ok(()) };
        let Some(served) = origin(Source::get(self.relay, "/log/checkpoint").await?) else { return Ok(()) };
        if copied.origin == served.origin {
            return Ok(());
        }
        Err(ClientError::Address(format!(
            "{} holds a copy of the log {}, and the relay has the log {}: keep that copy, and name another place for this one",
            self.directory.root().display(),
            copied.origin,
            served.origin
        )))
    }

    /// Finishes the copy with what the audit of it remembered. Answers the number of files written or checked.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&self, audited: &Remembered) -> Result<usize, ClientError> {
        let root = self.directory.root().to_owned();
        let mut state = self.state();
        if let Some(mut writer) = state.writer.take() {
            writer.flush().map_err(|error| fault("write", &root.join(NEW_HEADS), error))?;
        }
        let checked = audited.heads().saturating_sub(state.old_heads);
        append_heads(&root, checked)?;
        durable::write(&root.join("README.txt"), README.as_bytes(), ORDINARY)?;
        for name in NAMED {
            match state.shown.get(name) {
                Some(bytes) => durable::write(&root.join(name), bytes, ORDINARY)?,
                None => remove(&root.join(name))?,
            }
        }
        durable::write(&root.join(CHECKPOINT), audited.checkpoint.as_bytes(), ORDINARY)?;
        for path in &state.kept {
            remove_superseded(&root.join(path))?;
        }
        Ok(state.kept.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_heads(&self, heads: &[SignedSth]) -> Result<(), ClientError> {
        let path = self.directory.root().join(NEW_HEADS);
        let mut state = self.state();
        if state.writer.is_none() {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
            state.writer = Some(BufWriter::new(file.map_err(|error| fault("write", &path, error))?));
        }
        for head in heads {
            let mut line = canonical::to_vec(head).map_err(|error| {
                ClientError::NotLogged(format!("a tree head has no canonical form: {error}"))
            })?;
            line.push(b'\n');
            if let Some(writer) = &mut state.writer {
                writer.write_all(&line).map_err(|error| fault("write", &path, error))?;
            }
            state.new_heads += 1;
        }
        Ok(())
    }
}

impl Source for Archive<'_> {
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let name = path.strip_prefix("/log/");
        if let Some(name) = name.filter(|name| is_immutable(name))
            && let Some(bytes) = self.directory.read(name)?
        {
            return Ok(Some(bytes));
        }
        let bytes = self.relay.get(path).await?;
        if let Some(named) = NAMED.into_iter().find(|named| name == Some(*named)) {
            let mut state = self.state();
            match &bytes {
                Some(bytes) => state.shown.insert(named, bytes.clone()),
                None => state.shown.remove(named),
            };
        }
        Ok(bytes)
    }

    fn is_live(&self) -> bool {
        true
    }

    async fn heads(&self, from: u64) -> Result<Option<HeadPage>, ClientError> {
        let (old, new) = {
            let state = self.state();
            (state.old_heads, state.new_heads)
        };
        if from < old {
            return self.directory.heads(from);
        }
        let page = self.relay.heads(from).await?;
        // Pages come in order; one that is asked for again was written down already.
        if let Some(page) = page.as_ref().filter(|_| from == old + new) {
            self.note_heads(&page.heads)?;
        }
        Ok(page)
    }

    fn keep(&self, path: &str, bytes: &[u8]) -> Result<(), ClientError> {
        let Some(name) = path.strip_prefix("/log/") else { return Ok(()) };
        let target = self.directory.root().join(name);
        if !target.is_file() {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(|error| fault("create", parent, error))?;
            }
            durable::write(&target, bytes, ORDINARY)?;
        }
        self.state().kept.push(name.to_owned());
        Ok(())
    }
}

fn is_immutable(name: &str) -> bool {
    name.starts_with("tile/") && !name.contains(".p/")
}

/// How many lines a file of tree heads has; a line that a crash cut is taken off.
fn mend(path: &Path) -> Result<u64, ClientError> {
    let failed = |error| fault("read", path, error);
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(0) };
    let mut reader = BufReader::new(&file);
    let (mut lines, mut whole) = (0, 0);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 || line.last() != Some(&b'\n') {
            break;
        }
        lines += 1;
        whole += read as u64;
    }
    file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(lines)
}

/// Moves so many of the new heads behind the old ones.
fn append_heads(root: &Path, count: u64) -> Result<(), ClientError> {
    let (new, all) = (root.join(NEW_HEADS), root.join(HEADS));
    if let Ok(file) = File::open(&new) {
        let failed = |error| fault("write", &all, error);
        let mut target = OpenOptions::new().append(true).create(true).open(&all).map_err(failed)?;
        for line in BufReader::new(file).split(b'\n').take(usize::try_from(count).unwrap_or(usize::MAX)) {
            let mut line = line.map_err(|error| fault("read", &new, error))?;
            line.push(b'\n');
            target.write_all(&line).map_err(failed)?;
        }
        target.sync_all().map_err(failed)?;
    } else {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&all)
            .map_err(|error| fault("write", &all, error))?;
    }
    remove(&new)
}

/// Once a fuller tile is there: the partial ones before it.
fn remove_superseded(path: &Path) -> Result<(), ClientError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if parent.extension().is_some_and(|extension| extension == "p") {
        let failed = |error| fault("read", parent, error);
        for other in fs::read_dir(parent).map_err(failed)? {
            let other = other.map_err(failed)?.path();
            if other != path {
                remove(&other)?;
            }
        }
        return Ok(());
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".p");
    let partial = PathBuf::from(partial);
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fault("remove", &partial, error)),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), ClientError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fault("remove", path, error)),
        _ => Ok(()),
    }
}
