//! The bundle: files in memory, then one archive or one directory, with a MANIFEST of what is there and what is not.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::redact::Redactor;
use crate::cluster::Refusal;

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritten {
    /// The name says nothing of the form.
    #[error("{0} is neither a new directory nor a file that ends in .tar.gz")]
    Form(PathBuf),
    /// Never over something else.
    #[error("{0} is there already; name another with --output")]
    Exists(PathBuf),
    /// The disk.
    #[error("cannot write {path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What was gathered.
pub(crate) struct Bundle {
    redactor: Redactor,
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<(String, String)>,
}

impl Bundle {
    /// Empty.
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, files: Vec::new(), missing: Vec::new() }
    }

    /// A document, or why it is not there.
    pub(crate) fn document(&mut self, path: &str, found: Result<&Value, &Refusal>) {
        match found {
            Ok(value) => {
                let text = serde_json::to_vec_pretty(&self.redactor.object(value)).unwrap_or_default();
                self.files.push((path.to_owned(), text));
            }
            Err(refusal) => self.miss(path, &refusal.to_string()),
        }
    }

    /// Text, or why it is not there.
    pub(crate) fn text(&mut self, path: &str, found: Result<&[u8], &Refusal>) {
        match found {
            Ok(bytes) => {
                let text = self.redactor.text(&String::from_utf8_lossy(bytes));
                self.files.push((path.to_owned(), text.into_bytes()));
            }
            Err(refusal) => self.miss(path, &refusal.to_string()),
        }
    }

    /// What is not there, and why.
    pub(crate) fn miss(&mut self, path: &str, why: &str) {
        self.missing.push((path.to_owned(), self.redactor.text(why)));
    }

    /// What is not there, and why.
    pub(crate) fn missing(&self) -> &[(String, String)] {
        &self.missing
    }

    /// Every file, the MANIFEST first.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![("MANIFEST".to_owned(), self.manifest().into_bytes())];
        files.extend(self.files.iter().cloned());
        files
    }

    fn manifest(&self) -> String {
        let mut text = format!(
            "kubectl-paramant {} made this. Marks like [address 0123456789ab] stand for values: equal marks, equal\n\
             values, in this bundle only. No Secret was read. Look at it before you send it.\n\nHere (SHA-256, bytes, file):\n",
            env!("CARGO_PKG_VERSION")
        );
        for (path, bytes) in &self.files {
            text.push_str(&format!("{} {:>9} {path}\n", hex::encode(Sha256::digest(bytes)), bytes.len()));
        }
        text.push_str("\nNot here, and why:\n");
        for (path, why) in &self.missing {
            text.push_str(&format!("{path}: {why}\n"));
        }
        text
    }

    /// Writes it: an archive where the name ends in `.tar.gz`, a directory otherwise. Readable by its owner only.
    pub(crate) fn write(&self, to: &Path) -> Result<(), NotWritten> {
        check(to)?;
        if is_archive(to) {
            let file = create(to)?;
            return self.archive(file, to).map_err(|error| NotWritten::Io { path: to.to_owned(), error });
        }
        directory(to)?;
        for (path, bytes) in self.files() {
            let mut folder = to.to_owned();
            let mut parts: Vec<&str> = path.split('/').collect();
            let file = parts.pop().unwrap_or_default();
            for part in parts {
                folder.push(part);
                match directory(&folder) {
                    Ok(()) | Err(NotWritten::Exists(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            let path = folder.join(file);
            create(&path)?.write_all(&bytes).map_err(|error| NotWritten::Io { path, error })?;
        }
        Ok(())
    }

    fn archive(&self, file: File, to: &Path) -> io::Result<()> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let folder = name.trim_end_matches(".gz").trim_end_matches(".tar").trim_end_matches(".tgz");
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        for (path, bytes) in self.files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(now);
            archive.append_data(&mut header, format!("{folder}/{path}"), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.sync_all()
    }
}

/// Whether a bundle can be written there.
pub(crate) fn check(to: &Path) -> Result<(), NotWritten> {
    if to.symlink_metadata().is_ok() {
        return Err(NotWritten::Exists(to.to_owned()));
    }
    // A name that ends in something else, such as .zip, is a wish that is not granted.
    if is_archive(to) || to.extension().is_none() || to.to_string_lossy().ends_with('/') {
        return Ok(());
    }
    Err(NotWritten::Form(to.to_owned()))
}

fn is_archive(to: &Path) -> bool {
    let name = to.to_string_lossy();
    name.ends_with(".tar.gz") || name.ends_with(".tgz")
}

fn create(path: &Path) -> Result<File, NotWritten> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| failed(path, error))
}

fn directory(path: &Path) -> Result<(), NotWritten> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> NotWritten {
    match error.kind() {
        io::ErrorKind::AlreadyExists => NotWritten::Exists(path.to_owned()),
        _ => NotWritten::Io { path: path.to_owned(), error },
    }
}
