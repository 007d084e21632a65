//! The promises as `cargo xtask generate` writes them, from the same source as `docs/trust.md`.

use std::sync::LazyLock;

use serde::Deserialize;

/// Made from xtask/src/trust/promises.rs; a test reads it, so that it is never empty here.
pub(super) static EMBEDDED: LazyLock<Embedded> =
    LazyLock::new(|| serde_json::from_str(include_str!("promises.json")).unwrap_or_default());

/// The promises, and what stands in their commands.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Embedded {
    pub(super) words: String,
    pub(super) promises: Vec<Promise>,
}

/// One promise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promise {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) sentence: String,
    pub(super) limits: String,
    pub(super) check: String,
    /// Where each test is and what it is called.
    pub(super) tests: Vec<(String, String)>,
}

/// A piece of a sentence: what stands between backticks is code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Code(String),
}

/// A sentence in its pieces; in commands the word `URL` is the relay's own address.
pub(super) fn pieces(text: &str, url: Option<&str>) -> Vec<Piece> {
    let split = text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty());
    let piece = |(place, piece): (usize, &str)| match (place % 2, url) {
        (0, _) => Piece::Text(piece.to_owned()),
        (_, Some(url)) => Piece::Code(filled(piece, url)),
        (_, None) => Piece::Code(piece.to_owned()),
    };
    split.map(piece).collect()
}

fn filled(command: &str, url: &str) -> String {
    let words = command.split(' ').map(|word| if word == "URL" { url } else { word });
    words.collect::<Vec<&str>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promises_of_this_release_can_be_read() {
        assert_eq!(EMBEDDED.promises.len(), 30);
        assert!(!EMBEDDED.words.is_empty());
        for promise in &EMBEDDED.promises {
            let empty = promise.limits.is_empty() || promise.check.is_empty() || promise.tests.is_empty();
            assert!(!empty, "{}", promise.id);
        }
    }

    #[test]
    fn a_command_names_the_relay_and_nothing_else_changes() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let code = |text: &str| Piece::Code(text.to_owned());
        let sentence = "`audit --x URL`: the URL of `CURL`";
        let relay = Some("https://relay.example");
        let rest = [text(": the URL of "), code("CURL")];
        let [of, curl] = rest.clone();
        assert_eq!(pieces(sentence, relay), [code("audit --x https://relay.example"), of, curl]);
        let [of, curl] = rest;
        assert_eq!(pieces(sentence, None), [code("audit --x URL"), of, curl]);
        assert_eq!(pieces("", relay), []);
    }
}
