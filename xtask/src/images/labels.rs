//! What an image says about the data it reads and leaves, asked of the program itself, so that no list must be kept beside it.
//! The operator reads these labels before it lets a release run: see `release.rs` of its core.

use std::path::Path;

use crate::run::Run;

/// The newest schema of `meta.db` that a release knows, and the oldest whose releases can read what it leaves.
const LABELS: [(&str, &str); 2] =
    [("app.paramant.data.schema", "schema"), ("app.paramant.data.min-reader", "minReader")];

/// The labels of a program, none if it has no data. The relay prints them: `{"schema":7,"minReader":6}`.
pub(crate) fn of(program: &Path) -> Vec<(&'static str, String)> {
    let printed = Run::new(program).arg("data-schema").output().unwrap_or_default();
    LABELS.iter().filter_map(|(label, field)| Some((*label, number(&printed, field)?))).collect()
}

/// The number of a field in a flat JSON object.
fn number(json: &str, field: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{field}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end).filter(|digits| !digits.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_field() {
        let printed = "{\"schema\":17, \"minReader\" : 6}\n";
        assert_eq!(number(printed, "schema").as_deref(), Some("17"));
        assert_eq!(number(printed, "minReader").as_deref(), Some("6"));
        assert_eq!(number("", "schema"), None);
        assert_eq!(number("{\"schema\":null}", "schema"), None);
    }

    #[test]
    fn a_program_that_knows_nothing_of_data_has_no_labels() {
        assert!(of(Path::new("false")).is_empty());
    }
}
