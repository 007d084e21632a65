//! The short run of every target, and proof that a run finds what is broken.
// With every target: a run of some would miss that one was forgotten.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use paramant_fuzz::{Memory, Target, all, run, seeds};

/// Runs the target of each name; none may be forgotten.
macro_rules! short {
    ($($test:ident = $name:literal,)*) => {
        $(#[test]
        fn $test() {
            let target = paramant_fuzz::named($name).expect("a target");
            match run::short(target) {
                Ok(mutations) => {
                    println!("{}: {} seeds, {mutations} mutations", target.name, seeds::of(target).len());
                    assert!(mutations > 100, "the machine managed only {mutations} mutations");
                }
                Err(broken) => {
                    let kept = broken.keep(target).expect("a place for the input");
                    panic!("{} ({} bytes, kept as {}): {}", target.name, broken.input.len(), kept.display(), broken.why);
                }
            }
        })*

        #[test]
        fn every_target_has_its_run_and_its_seeds() {
            let run: BTreeSet<&str> = [$($name),*].into();
            let compiled: BTreeSet<&str> = all().map(|target| target.name).collect();
            assert_eq!(run, compiled);
            assert!(all().all(|target| seeds::of(target).len() > 2));
        }
    };
}

short! {
    notes = "note",
    checkpoints = "checkpoint",
    keys = "vkey",
    tile_paths = "tile-path",
    bundles_and_tiles = "bundle",
    entries = "entry",
    json = "json",
    receipts = "receipt",
    tree_heads = "sth",
    offline_proofs = "tlog-proof",
    proofs = "proof",
    envelopes = "pqhb",
    witness_answers = "witness",
    policies = "policy",
    directives = "control",
    settings = "settings",
    answers = "answers",
    hosts = "hosts",
    licences = "licence",
    names = "names",
    replies_and_requests = "reply",
    conditions = "conditions",
    gossip = "gossip",
    tokens = "token",
    transfers = "transfers",
    uploads = "upload",
    manifests = "manifest",
    hook_urls = "hook-url",
    archives = "archive",
    logged_entries = "logged",
    states = "state",
    lists_of_keys = "vkeys",
}

fn planted(check: fn(&[u8])) -> Target {
    Target {
        name: "planted",
        check,
        seeds: || vec![b"size 7\nroot AAAA\n".to_vec()],
        words: &["size ", "root "],
        memory: Memory { base: 4096, per_byte: 16 },
    }
}

#[test]
fn a_number_that_is_cut_off_is_found_and_made_small() {
    let target = planted(|input| {
        let text = std::str::from_utf8(input).unwrap_or_default();
        let digits = text.strip_prefix("size ").and_then(|rest| rest.split('\n').next()).unwrap_or_default();
        if let Ok(size) = digits.parse::<u64>() {
            assert!(i64::try_from(size).is_ok(), "cut off");
        }
    });
    let broken = run::short(&target).unwrap_err();
    assert!(broken.why.contains("cut off"), "{}", broken.why);
    assert!(broken.input.len() <= b"size 18446744073709551615".len(), "{:?}", broken.input);
}

#[test]
fn memory_that_a_length_asks_for_is_found() {
    let target = planted(|input| {
        if let Some((length, rest)) = input.split_first_chunk::<2>() {
            let wanted = usize::from(u16::from_be_bytes(*length)) << 8;
            let buffer: Vec<u8> = Vec::with_capacity(wanted);
            assert!(buffer.capacity() >= wanted || rest.is_empty());
        }
    });
    let broken = run::short(&target).unwrap_err();
    assert!(broken.why.contains("at most"), "{}", broken.why);
}

#[test]
fn a_spelling_too_many_is_found() {
    let target = planted(|input| {
        let text = std::str::from_utf8(input).unwrap_or_default();
        if let Some(digits) = text.strip_prefix("size ").and_then(|rest| rest.strip_suffix("\nroot AAAA\n"))
            && let Ok(size) = digits.parse::<u64>()
        {
            assert_eq!(size.to_string(), digits, "two spellings");
        }
    });
    assert!(run::short(&target).unwrap_err().why.contains("two spellings"));
}
