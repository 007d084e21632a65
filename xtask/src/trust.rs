//! `docs/trust.md`, and the same for the page `/trust` of a relay: each promise with its limits, what enforces it, and how a reader
//! checks it. Made by `cargo xtask generate` from [`promises`]; a promise without a test, or with one that is not there any more,
//! makes that fail, and with it CI.

mod promises;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use self::promises::{PROMISES, Promise};
use crate::failure::{Doing, Failure, Result, fail};

/// Where a relay has the promises from.
pub(crate) const EMBEDDED: &str = "relay/server/src/public/trust/promises.json";
/// Where scenarios are named.
const SCENARIOS: &str = "e2e/src/scenario.rs";

const HEAD: &str = "# The promises

<!-- Made by `cargo xtask generate` from xtask/src/trust/promises.rs: change that, not this file. -->
For whoever decides whether to run a relay, and for auditors. What the vendor of a relay's licence can see and do, as sentences; next to each its limits, the
tests that fail when it is broken, and a command that checks it on your own relay or from outside. `cargo xtask test` runs all of them; a scenario is `cargo xtask test NAME`.
Each relay shows the same at `/trust`, with what it can show of each now. What each party can and cannot do is in [threat-model.md](threat-model.md).
";

/// What stands in the commands, here and at `/trust`.
const WORDS: &str = "`R` is the relay's name in its cluster (`kubectl` wants `-n` and its namespace); `FILE`, `RECEIPT` and `ID` are yours; `HEX` is a key that the vendor publishes; none is published before a release pins it. `paramant license … --relay` asks as the relay's admin: it takes the admin token from `PARAMANT_ADMIN_TOKEN`, and `request` and `preview` are refused (exit 5) while the online check is off, as it is by default.";

/// The page.
pub(crate) fn page(checkout: &Path) -> Result<String> {
    let mut text = format!("{HEAD}\nIn the commands `URL` is the relay's address. {WORDS}\n");
    let mut group = "";
    for promise in PROMISES {
        if promise.group != group {
            group = promise.group;
            let _ = writeln!(text, "\n## {group}");
        }
        let _ = writeln!(text, "\n### {}\n{}", promise.id, promise.sentence);
        if promise.tests.is_empty() {
            return fail(format!("xtask/src/trust/promises.rs: {} has no test", promise.id));
        }
        let tests = promise.tests.iter().map(|test| shown(checkout, promise, test));
        let tests = tests.collect::<Result<Vec<_>>>()?.join(", ");
        let _ =
            writeln!(text, "\n- Limits: {}\n- Check it: {}\n- Tests: {tests}", promise.limits, promise.check);
    }
    Ok(text)
}

/// The promises as a relay embeds them, in JSON. Their tests are checked by [`page`].
pub(crate) fn data() -> String {
    let promises: Vec<String> = PROMISES.iter().map(record).collect();
    format!("{{\"words\": {}, \"promises\": [\n{}\n]}}\n", quoted(WORDS), promises.join(",\n"))
}

fn record(promise: &Promise) -> String {
    let fields = [
        ("id", promise.id),
        ("group", promise.group),
        ("sentence", promise.sentence),
        ("limits", promise.limits),
        ("check", promise.check),
    ];
    let fields = fields.map(|(name, text)| format!("    {}: {},\n", quoted(name), quoted(text))).concat();
    let tests =
        promise.tests.iter().map(|(file, name)| format!("      [{}, {}]", quoted(file), quoted(name)));
    let tests: Vec<String> = tests.collect();
    format!("  {{\n{fields}    \"tests\": [\n{}\n    ]\n  }}", tests.join(",\n"))
}

/// A JSON string. Sentences hold no control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A test as the page names it; it must exist.
fn shown(checkout: &Path, promise: &Promise, (file, name): &(&str, &str)) -> Result<String> {
    let (path, wanted) = match *file {
        "scenario" => (SCENARIOS, format!(" \"{name}\", \"")),
        file => (file, format!("fn {name}(")),
    };
    let whole = checkout.join(path);
    let source = fs::read_to_string(&whole).doing(|| format!("read {}", whole.display()))?;
    if !source.contains(&wanted) {
        let id = promise.id;
        return Err(Failure(format!(
            "xtask/src/trust/promises.rs: the test of {id}, {name}, is not in {path}"
        )));
    }
    Ok(if *file == "scenario" {
        format!("scenario `{name}`")
    } else {
        format!("`{name}` ([{file}](../{file}))")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of the trust page.
    const IDS: &str =
        "L1 L2 L3 L4 L5 L6 L7 L8 S1 S2 S3 S4 S5 S6 V1 V2 V3 V4 V5 R1 R2 R3 R4 R5 R6 N1 N2 N3 N4 N5";

    #[test]
    fn every_promise_is_there_once() {
        let ids: Vec<&str> = PROMISES.iter().map(|promise| promise.id).collect();
        assert_eq!(ids.join(" "), IDS);
    }

    #[test]
    fn what_a_relay_embeds_holds_every_sentence_as_it_is() {
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        let data = data();
        for promise in PROMISES {
            assert!(data.contains(&format!("\"sentence\": {}", quoted(promise.sentence))), "{}", promise.id);
        }
        assert!(!data.chars().any(|letter| letter.is_control() && letter != '\n'));
    }

    #[test]
    fn a_test_that_is_not_there_is_noticed() {
        let checkout = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        assert!(page(checkout).is_ok());
        let promise = &PROMISES[0];
        for planted in [("scenario", "no-such-scenario"), ("xtask/src/trust.rs", "no_such_test")] {
            assert!(shown(checkout, promise, &planted).is_err(), "{planted:?}");
        }
        assert!(shown(checkout, promise, &("xtask/src/trust.rs", "every_promise_is_there_once")).is_ok());
    }
}
