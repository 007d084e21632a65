//! Columns that line up, as kubectl writes them.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use paramant_crds::ParamantRelay;

use super::shown;

/// Rows of one width under a head.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// Only the head.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|&title| title.to_owned()).collect()])
    }

    /// One more row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    /// Cells padded to their column, nothing behind the last.
    pub(crate) fn text(&self) -> String {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.0 {
            let line: String =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   ")).collect();
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// Many relays.
pub(crate) fn relays(relays: &[ParamantRelay], wide: bool, now: Timestamp) -> String {
    if relays.is_empty() {
        return "No relays found.\n".to_owned();
    }
    let mut head = vec!["NAMESPACE", "NAME", "READY", "PHASE", "VERSION", "UPDATE", "DRAIN", "TIER", "AGE"];
    if wide {
        head.extend(["DIGEST", "NEXT-WINDOW"]);
    }
    head.push("WAITS FOR");
    let mut table = Table::new(&head);
    for relay in relays {
        table.row(row(relay, wide, now));
    }
    table.text()
}

fn row(relay: &ParamantRelay, wide: bool, now: Timestamp) -> Vec<String> {
    let status = relay.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let image = status.image.unwrap_or_default();
    let update = status.update.unwrap_or_default();
    let mut cells = vec![
        relay.namespace().unwrap_or_default(),
        relay.name_any(),
        ready.map(|condition| condition.status.clone()).unwrap_or_default(),
        shown(status.phase.as_ref()),
        image.version.unwrap_or_default(),
        update.step.map(|step| step.as_str().to_owned()).unwrap_or_default(),
        shown(status.drain.and_then(|drain| drain.state).as_ref()),
        status.license.and_then(|license| license.tier).unwrap_or_default(),
        relay.metadata.creation_timestamp.as_ref().map(|made| age(made.0, now)).unwrap_or_default(),
    ];
    if wide {
        cells.push(image.current.map(|digest| digest.to_string()).unwrap_or_default());
        cells.push(update.next_window.map(|at| at.0.to_string()).unwrap_or_default());
    }
    cells.push(status.message.unwrap_or_default());
    cells
}

/// As kubectl shortens ages.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectls() {
        let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        for (seconds, wanted) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (864_000, "10d")] {
            assert_eq!(age(at(0), at(seconds)), wanted);
        }
        assert_eq!(age(at(9), at(0)), "0s", "a clock that is behind");
    }
}
