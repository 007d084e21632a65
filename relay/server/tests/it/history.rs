//! What clients did to relays that died now and then, what they saw, and whether both can be.
//!
//! [`faults_of`] is pure: it reads the history of one blob and knows nothing of relays, files or rows. Times come from one clock.
//! Bytes are compared, not reads (adr/0042). It takes the side of the relay wherever clients cannot know: what was on its way
//! when a line broke, whether a cut has been noticed yet, what a relay that was killed had written down. [`drive`] makes
//! histories, [`kills`] and `struck::transfers` end relays while they are made; [`planted`] shows that each fault is seen.

pub mod drive;
pub mod kills;
pub mod left;
mod planted;

use std::time::Duration;

/// A view of a `recoverable` blob may be disclosed so often.
const DISCLOSURES: usize = 4;
/// Bytes that a line holds: whoever hung up so close to the end may have been sent all of it. As `claim_rows::UNDER_WAY`.
const UNDER_WAY: usize = 16 << 20;
/// The same of a relay that was killed: what it had handed to its kernel still arrives, what was in its own buffers does not.
const OWN_BUFFERS: usize = 1 << 20;
/// Within this time a cut is noticed, and the end of a read written down.
const SETTLES: Duration = Duration::from_secs(5);

/// When relays died. Life `n` is the one that death `n` ended.
pub type Deaths = [Duration];

/// One upload of bytes that nobody else sends, and all that was done about it.
#[derive(Debug, Clone)]
pub struct Blob {
    pub payload: Vec<u8>,
    pub views: usize,
    pub strict: bool,
    pub ttl: Duration,
    pub uploaded: Uploaded,
    pub ops: Vec<Op>,
}

/// From the first try until its client knew or gave up.
#[derive(Debug, Clone, Copy)]
pub struct Uploaded {
    pub from: Duration,
    pub to: Duration,
    /// Otherwise nobody knows.
    pub acknowledged: bool,
}

/// What a client did after that.
#[derive(Debug, Clone)]
pub struct Op {
    pub from: Duration,
    pub to: Duration,
    /// Which life of the relay it spoke to.
    pub life: usize,
    pub did: Did,
}

#[derive(Debug, Clone)]
pub enum Did {
    /// Asked for it, and began to be answered: these bytes of it came, the first being byte `at`.
    Read { at: usize, bytes: Vec<u8>, ended: Ended },
    /// Asked for it, and was told that there is nothing.
    Absent,
    /// Asked for it, and no answer came, or one that says that the relay is in trouble.
    NoAnswer,
    /// Took it back: from the answer on nobody may read it.
    TookBack,
    /// Tried to take it back, and was told that there is nothing.
    NothingToTakeBack,
    /// Tried to take it back; whether it is, nobody knows.
    MayHaveTakenBack,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As its length had said.
    Whole,
    /// The relay ended it, or died.
    ByRelay,
    /// The client hung up.
    ByClient,
}

/// What cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It was acknowledged, nobody read it, and it is gone.
    AcknowledgedIsLost,
    /// A view is gone that nobody read.
    ViewIsLost,
    /// More readers got all of it than there are views.
    TooManyWinners,
    /// A view of a strict blob went out twice.
    DisclosedTwice,
    /// A byte went out more often than a recoverable blob's may.
    DisclosedTooOften,
    /// Bytes came after it was taken back.
    AfterBurn,
    /// Bytes came after it had expired.
    AfterExpiry,
    /// What came is not what was sent.
    OtherBytes,
}

impl Op {
    fn bytes(&self) -> Option<&[u8]> {
        match &self.did {
            Did::Read { bytes, .. } if !bytes.is_empty() => Some(bytes),
            _ => None,
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.did, Did::Read { .. } | Did::NoAnswer)
    }

    pub fn is_cut(&self) -> bool {
        matches!(self.did, Did::NoAnswer | Did::Read { ended: Ended::ByRelay, .. })
    }

    fn won(&self) -> bool {
        matches!(self.did, Did::Read { ended: Ended::Whole, .. })
    }
}

/// Everything that is wrong with the history of one blob.
pub fn faults_of(blob: &Blob, deaths: &Deaths) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut check = |fault, holds: bool| {
        if !holds {
            faults.push(fault);
        }
    };
    check(Fault::OtherBytes, blob.ops.iter().all(|op| blob.fits(op)));
    check(Fault::AfterBurn, !blob.is_read_after_it_was_taken_back());
    check(Fault::AfterExpiry, !blob.is_read_after_it_expired());
    check(Fault::TooManyWinners, blob.winners_fit(deaths));
    let most = blob.most_disclosed();
    check(Fault::DisclosedTwice, !blob.strict || most <= blob.views);
    check(Fault::DisclosedTooOften, blob.strict || most <= blob.views * blob.disclosures_of_a_view());
    let unexplained = blob.ops.iter().filter(|op| !blob.explains(op));
    for missing in unexplained {
        let read = blob.ops.iter().any(|op| op.is_read() && op.from < missing.to);
        faults.push(if read { Fault::ViewIsLost } else { Fault::AcknowledgedIsLost });
    }
    faults.sort_unstable();
    faults.dedup();
    faults
}

impl Blob {
    /// The history as a person reads it.
    pub fn told(&self) -> String {
        let mut lines = vec![format!("uploaded {:?}", self.uploaded)];
        for op in &self.ops {
            let did = match &op.did {
                Did::Read { at, bytes, ended } => {
                    format!("read {} bytes from {at}, ended {ended:?}", bytes.len())
                }
                other => format!("{other:?}"),
            };
            lines.push(format!("life {} {:?} to {:?}: {did}", op.life, op.from, op.to));
        }
        lines.join("\n")
    }

    /// Whether the bytes are those of the payload, and all of them where the answer said that it ended.
    fn fits(&self, op: &Op) -> bool {
        let Did::Read { at, bytes, ended } = &op.did else { return true };
        let end = at + bytes.len();
        self.payload.get(*at..end) == Some(bytes) && (*ended != Ended::Whole || end == self.payload.len())
    }

    fn is_read_after_it_was_taken_back(&self) -> bool {
        let taken = self.ops.iter().filter(|op| matches!(op.did, Did::TookBack)).map(|op| op.to).min();
        taken.is_some_and(|taken| self.ops.iter().any(|op| op.bytes().is_some() && op.from > taken))
    }

    fn is_read_after_it_expired(&self) -> bool {
        // Its time to live began before the answer. Of an upload without an answer nobody knows when it began.
        let expired = self.uploaded.to + self.ttl;
        self.uploaded.acknowledged && self.ops.iter().any(|op| op.bytes().is_some() && op.from > expired)
    }

    /// In one life of the relay every view has one winner. A relay that died may have had no time to write down who won.
    fn winners_fit(&self, deaths: &Deaths) -> bool {
        let mut allowed = self.views;
        let mut all = 0;
        for life in 0..=deaths.len() {
            let won = || self.ops.iter().filter(|op| op.life == life && op.won());
            let winners = won().count();
            if winners > self.views {
                return false;
            }
            all += winners;
            if let Some(death) = deaths.get(life) {
                allowed += won().filter(|op| op.to + SETTLES > *death).count();
            }
        }
        all <= allowed
    }

    /// How often the byte went out that went out most often. A strict view goes out once, whichever bytes of it.
    fn most_disclosed(&self) -> usize {
        let reads = self.ops.iter().filter_map(|op| match &op.did {
            Did::Read { at, bytes, .. } if !bytes.is_empty() => Some((*at, at + bytes.len())),
            _ => None,
        });
        if self.strict {
            return reads.count();
        }
        let mut edges: Vec<(usize, i64)> = reads.flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
        edges.sort_unstable();
        let (mut now, mut most) = (0, 0);
        for (_, change) in edges {
            now += change;
            most = most.max(now);
        }
        usize::try_from(most).unwrap()
    }

    fn disclosures_of_a_view(&self) -> usize {
        // Two reads that went on after a break do not count; only a long payload can be gone on with.
        DISCLOSURES + if self.payload.len() > UNDER_WAY { 2 } else { 0 }
    }

    /// Whether what a client was told can be: that there is nothing, of a blob that was acknowledged and has not expired.
    fn explains(&self, told: &Op) -> bool {
        let says_absent = matches!(told.did, Did::Absent | Did::NothingToTakeBack);
        let must_be_there = self.uploaded.acknowledged
            && told.from > self.uploaded.to
            && told.to < self.uploaded.from + self.ttl;
        if !says_absent || !must_be_there {
            return true;
        }
        let before = || self.ops.iter().filter(|op| op.from < told.to);
        if before().any(|op| matches!(op.did, Did::TookBack | Did::MayHaveTakenBack)) {
            return true;
        }
        let (mut used, mut broken) = (0, 0);
        for op in before().filter(|op| op.is_read()) {
            let running = op.life == told.life && op.to + SETTLES > told.from;
            if op.won() || running || self.may_have_won(op) {
                used += 1;
            } else {
                broken += 1;
            }
        }
        used + if self.strict { broken } else { broken / DISCLOSURES } >= self.views
    }

    /// Whether the relay may have handed all of it to the network, though not all of it came.
    fn may_have_won(&self, op: &Op) -> bool {
        let Did::Read { at, bytes, ended } = &op.did else { return false };
        let missing = self.payload.len().saturating_sub(at + bytes.len());
        match ended {
            Ended::Whole => true,
            Ended::ByRelay => missing <= OWN_BUFFERS,
            Ended::ByClient => missing <= UNDER_WAY,
        }
    }
}
