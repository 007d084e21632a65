//! Who besides the relay vouches for its log; every page about the log says it in the same words.

use paramant_protocol::control::WitnessesReport;

/// Who besides the relay vouches for the log.
#[derive(Debug)]
pub(crate) enum Watched {
    ByNobody,
    NotYet { quorum: u32, members: usize },
    UpTo { quorum: u32, members: usize, size: u64 },
}

impl Watched {
    pub(crate) fn of(report: Option<WitnessesReport>) -> Self {
        let Some(report) = report else { return Self::ByNobody };
        let (quorum, members) = (report.quorum, report.members.len());
        match report.size {
            Some(size) => Self::UpTo { quorum, members, size },
            None => Self::NotYet { quorum, members },
        }
    }
}
