//! How many bytes wait to be read, uploads in progress included: one number against one limit.

use std::sync::{Arc, Mutex, PoisonError};

use crate::drain::Drain;

/// The count, shared by uploads (which reserve) and burns (which release).
#[derive(Debug)]
pub(super) struct InFlight {
    counts: Mutex<Counts>,
    /// Told how many blobs are unread: with payloads in memory a drain waits for them.
    drain: Drain,
}

/// Unread blobs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged and unread.
    pub blobs: u64,
    /// Their bytes, and what uploads in progress have reserved.
    pub bytes: u64,
    /// Uploads in progress.
    pub uploads: u64,
}

/// There is no room for more unread bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes wait to be read, and at most {limit} may")]
pub struct OverLimit {
    /// Bytes in flight now.
    pub bytes: u64,
    /// `limits.maxInFlight`.
    pub limit: u64,
}

/// The bytes of one upload in progress; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Reservation {
    in_flight: Arc<InFlight>,
    bytes: u64,
    limit: u64,
}

impl InFlight {
    pub(super) fn new(drain: Drain) -> Self {
        Self { counts: Mutex::default(), drain }
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At start: blobs already there.
    pub(super) fn add(&self, blobs: u64, bytes: u64) {
        self.with(|counts| {
            counts.blobs += blobs;
            counts.bytes += bytes;
        });
    }

    /// A blob is gone.
    pub(super) fn remove(&self, bytes: u64) {
        self.with(|counts| {
            counts.blobs = counts.blobs.saturating_sub(1);
            counts.bytes = counts.bytes.saturating_sub(bytes);
        });
    }

    /// Begins an upload, reserving what it says it will bring.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64, limit: u64) -> Result<Reservation, OverLimit> {
        self.with(|counts| counts.uploads += 1);
        let mut reservation = Reservation { in_flight: Arc::clone(self), bytes: 0, limit };
        reservation.grow_to(bytes)?;
        Ok(reservation)
    }

    /// Sets room aside for an upload that outlives this process; [`InFlight::release`] gives it back.
    pub(super) fn hold(&self, bytes: u64, limit: u64) -> Result<(), OverLimit> {
        self.with(|counts| {
            if counts.bytes.saturating_add(bytes) > limit {
                return Err(OverLimit { bytes: counts.bytes, limit });
            }
            counts.bytes += bytes;
            Ok(())
        })
    }

    /// What was held for an upload is not needed any more.
    pub(super) fn release(&self, bytes: u64) {
        self.with(|counts| counts.bytes = counts.bytes.saturating_sub(bytes));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counts.blobs;
        let changed = change(&mut counts);
        if counts.blobs != before {
            self.drain.set_unclaimed(counts.blobs);
        }
        changed
    }
}

impl Reservation {
    /// The upload has brought this much.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), OverLimit> {
        let more = bytes.saturating_sub(self.bytes);
        let limit = self.limit;
        self.in_flight.with(|counts| {
            if counts.bytes.saturating_add(more) > limit {
                return Err(OverLimit { bytes: counts.bytes, limit });
            }
            counts.bytes += more;
            Ok(())
        })?;
        self.bytes += more;
        Ok(())
    }

    /// The upload became a blob of this size, whose burn will release it.
    pub(super) fn became_blob(mut self, size: u64) {
        self.in_flight.with(|counts| {
            counts.blobs += 1;
            counts.bytes = (counts.bytes + size).saturating_sub(self.bytes);
        });
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.with(|counts| {
            counts.uploads = counts.uploads.saturating_sub(1);
            counts.bytes = counts.bytes.saturating_sub(self.bytes);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_dropped_upload_gives_back_what_it_reserved_and_a_blob_what_it_weighs() {
        let in_flight = Arc::new(InFlight::new(Drain::new(true)));
        let mut upload = in_flight.reserve(10, 100).unwrap();
        upload.grow_to(60).unwrap();
        assert_eq!(in_flight.counts(), Counts { blobs: 0, bytes: 60, uploads: 1 });
        assert_eq!(in_flight.reserve(41, 100).unwrap_err(), OverLimit { bytes: 60, limit: 100 });
        upload.became_blob(50);
        assert_eq!(in_flight.counts(), Counts { blobs: 1, bytes: 50, uploads: 0 });
        drop(in_flight.reserve(50, 100).unwrap());
        in_flight.remove(50);
        assert_eq!(in_flight.counts(), Counts::default());
    }
}
