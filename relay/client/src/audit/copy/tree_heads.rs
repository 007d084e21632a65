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
            heads.push(self.parse(number, &line)?);
        }
        Ok(HeadPage { total: None, heads })
    }

    /// The last head. Reading begins again at the first afterwards.
    pub(super) fn last(&mut self) -> Result<Option<SignedSth>, ClientError> {
        let end = self.reader.seek(SeekFrom::End(0)).map_err(|error| fault("read", &self.path, error))?;
        let from = end.saturating_sub(MAX_LINE);
        self.reader.seek(SeekFrom::Start(from)).map_err(|error| fault("read", &self.path, error))?;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(MAX_LINE).read_to_end(&mut bytes);
        read.map_err(|error| fault("read", &self.path, error))?;
        self.reader.seek(SeekFrom::Start(0)).map_err(|error| fault("read", &self.path, error))?;
        self.next = 0;
        let last = bytes.strip_suffix(b"\n").unwrap_or(&bytes).rsplit(|byte| *byte == b'\n').next();
        last.filter(|line| !line.is_empty()).map(|line| self.parse(u64::MAX, line)).transpose()
    }

    fn parse(&self, number: u64, line: &[u8]) -> Result<SignedSth, ClientError> {
        let which = if number == u64::MAX { "the last".to_owned() } else { format!("number {number}") };
        serde_json::from_slice(line).map_err(|error| ClientError::Answer {
            action: "read the tree heads",
            reason: format!("{which} of {}: {error}", self.path.display()),
        })
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
