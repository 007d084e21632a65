//! Tree heads in a file, one a line: read in order, never held all at once.

use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use paramant_protocol::sth::SignedSth;

use crate::audit::source::{HEADS_A_PAGE, HeadPage};
use crate::durable::fault;
use crate::error::ClientError;

/// The longest line: a signed head has about 4.6 kB, its name may be long.
const MAX_LINE: u64 = 64 * 1024;

/// The lines of a file, and how far they were read.
#[derive(Debug)]
pub(super) struct Lines<F> {
    path: PathBuf,
    reader: BufReader<F>,
    next: u64,
}

impl<F: Read + Seek> Lines<F> {
    pub(super) fn new(path: PathBuf, file: F) -> Self {
        Self { path, reader: BufReader::new(file), next: 0 }
    }

    /// Heads from a line on, counted from 0; goes back to the beginning for an earlier one.
    pub(super) fn page(&mut self, from: u64) -> Result<HeadPage, ClientError> {
        if from < self.next {
            self.reader.seek(SeekFrom::Start(0)).map_err(|error| fault("read", &self.path, error))?;
            self.next = 0;
        }
        while self.next < from && self.line()?.is_some() {}
        let mut heads = Vec::new();
        while heads.len() < HEADS_A_PAGE
            && let Some(line) = self.line()?
        {
            let number = self.next - 1;
            let head: SignedSth = serde_json::from_slice(&line).map_err(|error| ClientError::Answer {
                action: "read the tree heads",
                reason: format!("number {number} of {}: {error}", self.path.display()),
            })?;
            heads.push(head);
        }
        Ok(HeadPage { total: None, heads })
    }

    /// How many lines were read.
    pub(super) fn reached(&self) -> u64 {
        self.next
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut line);
        read.map_err(|error| fault("read", &self.path, error))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(ClientError::Answer {
                action: "read the tree heads",
                reason: format!("line {} of {} is not ended", self.next + 1, self.path.display()),
            });
        }
        self.next += 1;
        Ok(Some(line))
    }
}
