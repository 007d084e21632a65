//! Sends an archive, or a part of it, piece by piece.
//!
//! What lies before the part is stepped over by its length and never read. Memory is one piece at a time: a bundle at most.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::ArchiveError;
use super::plan::Plan;
use crate::log_service::LogService;

/// Pieces are gathered into chunks of about this size.
const CHUNK: usize = 256 * 1024;

/// Where in the zip the next piece is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Local(u64),
    Content(u64, usize),
    /// With the place of the member.
    Central(u64, u64),
    End,
    Done,
}

/// A reader of bytes `first` to `end` (excluded) of an archive.
#[derive(Debug)]
pub(crate) struct Cursor {
    plan: Arc<Plan>,
    log: LogService,
    step: Step,
    at: u64,
    first: u64,
    end: u64,
}

impl Cursor {
    pub(crate) fn new(plan: Arc<Plan>, log: LogService, first: u64, end: u64) -> Self {
        Self { plan, log, step: Step::Local(0), at: 0, first, end }
    }

    /// The next bytes; nothing at the end. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read, or gives other bytes than it did when the archive was made up.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK && self.at < self.end {
            let Some(piece) = self.next_piece()? else { break };
            chunk.extend_from_slice(&piece);
        }
        Ok((!chunk.is_empty()).then(|| chunk.freeze()))
    }

    fn next_piece(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        let plan = Arc::clone(&self.plan);
        match self.step {
            Step::Local(number) => match plan.member(number) {
                Some((member, _)) => {
                    self.step = Step::Content(number, 0);
                    self.give(member.local_length(), || Ok(member.local().into()))
                }
                None => {
                    self.step = Step::Central(0, 0);
                    Ok(Some(Bytes::new()))
                }
            },
            Step::Content(number, piece) => {
                let Some((member, source)) = plan.member(number) else { return Ok(None) };
                match plan.piece_length(&member, &source, piece) {
                    Some(length) => {
                        self.step = Step::Content(number, piece + 1);
                        let log = self.log.clone();
                        self.give(length, || plan.read(&log, &member, &source, piece))
                    }
                    None => {
                        self.step = Step::Local(number + 1);
                        Ok(Some(Bytes::new()))
                    }
                }
            }
            Step::Central(number, offset) => match plan.member(number) {
                Some((member, _)) => {
                    self.step = Step::Central(number + 1, offset + member.local_length() + member.size);
                    self.give(member.central_length(offset), || Ok(member.central(offset).into()))
                }
                None => {
                    self.step = Step::End;
                    Ok(Some(Bytes::new()))
                }
            },
            Step::End => {
                self.step = Step::Done;
                let end = plan.end(self.at - plan.directory);
                self.give(end.len() as u64, || Ok(end.into()))
            }
            Step::Done => Ok(None),
        }
    }

    /// What of a piece of this length lies in the part that is asked for; it is made only if something does.
    fn give(
        &mut self,
        length: u64,
        make: impl FnOnce() -> Result<Bytes, ArchiveError>,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let start = self.at;
        self.at += length;
        let from = self.first.clamp(start, self.at) - start;
        let to = self.end.clamp(start, self.at) - start;
        if from >= to {
            return Ok(Some(Bytes::new()));
        }
        let piece = make()?;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(piece.len());
        Ok(Some(piece.slice(place(from)..place(to))))
    }
}
