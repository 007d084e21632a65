//! The thread that syncs the write-ahead log. A sync covers every commit before it, so whoever waits when it begins is answered by it.
//! A batch that nobody waits for is synced with the next that somebody does, or after [`SOON`].

use std::fs::File;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::MetaError;
use super::writer::Finish;
use crate::failed_sync;

/// How long a change that nobody waits for is not durable at most.
const SOON: Duration = Duration::from_millis(200);

pub(super) struct Syncer {
    pub(super) batches: mpsc::Sender<Vec<Finish>>,
    thread: JoinHandle<()>,
}

impl Syncer {
    pub(super) fn start(wal: File) -> std::io::Result<Self> {
        let (batches, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("meta-sync".into()).spawn(move || {
            let mut due = None;
            while let Some(waiting) = next_to_sync(&inbox, &mut due) {
                if let Err(error) = wal.sync_data() {
                    failed_sync::end("meta.db-wal", &error);
                }
                due = None;
                waiting.into_iter().for_each(|finish| finish(Ok(())));
            }
        })?;
        Ok(Self { batches, thread })
    }

    pub(super) fn sync(&self, waiting: Vec<Finish>) {
        if let Err(mpsc::SendError(waiting)) = self.batches.send(waiting) {
            // The thread ends only with the process or after `close`.
            waiting.into_iter().for_each(|finish| finish(Err(MetaError::Closed)));
        }
    }

    pub(super) fn close(self) {
        drop(self.batches);
        drop(self.thread.join());
    }
}

/// Waits until there is something to sync, and answers for whom. `due`: when what nobody waits for must be synced. `None`: the store
/// closes, and nothing is left.
fn next_to_sync(inbox: &mpsc::Receiver<Vec<Finish>>, due: &mut Option<Instant>) -> Option<Vec<Finish>> {
    loop {
        let next = match *due {
            None => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match next {
            Ok(mut waiting) => {
                waiting.extend(inbox.try_iter().flatten());
                if !waiting.is_empty() {
                    return Some(waiting);
                }
                due.get_or_insert_with(|| Instant::now() + SOON);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return Some(Vec::new()),
            Err(mpsc::RecvTimeoutError::Disconnected) => return due.map(|_| Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_nobody_waits_for_is_synced_with_the_next_or_soon_and_before_the_end() {
        let (batches, inbox) = mpsc::channel::<Vec<Finish>>();
        let waiting = || vec![Box::new(|_| ()) as Finish];
        let mut due = None;
        batches.send(Vec::new()).unwrap();
        batches.send(waiting()).unwrap();
        assert_eq!(next_to_sync(&inbox, &mut due).unwrap().len(), 1, "one sync for both");
        batches.send(Vec::new()).unwrap();
        let began = Instant::now();
        assert!(next_to_sync(&inbox, &mut due).unwrap().is_empty());
        assert!(began.elapsed() >= SOON);
        due = None;
        batches.send(Vec::new()).unwrap();
        drop(batches);
        assert!(next_to_sync(&inbox, &mut due).unwrap().is_empty(), "the last sync");
        assert!(next_to_sync(&inbox, &mut None).is_none());
    }
}
