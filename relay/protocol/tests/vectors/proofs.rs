//! Section 11.

use paramant_protocol::path::{self, Step};
use paramant_tlog::{Tree, verify};
use serde::Deserialize;

use crate::files::{hash, hashes, read};

#[derive(Deserialize)]
struct File {
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
}

#[derive(Deserialize)]
struct Inclusion {
    #[serde(default)]
    name: String,
    tree: String,
    index: u64,
    size: u64,
    leaf: String,
    root: String,
    path: Vec<String>,
    steps: Option<Vec<Step>>,
}

#[derive(Deserialize)]
struct Consistency {
    #[serde(default)]
    name: String,
    tree: String,
    from: u64,
    to: u64,
    old_root: String,
    new_root: String,
    path: Vec<String>,
}

fn tree(name: &str) -> Tree {
    match name {
        "sha256" => Tree::Sha256,
        "sha3" => Tree::Sha3,
        other => panic!("no such tree: {other}"),
    }
}

impl Inclusion {
    fn bare(&self) -> bool {
        let (leaf, root) = (hash(&self.leaf), hash(&self.root));
        let path = hashes(&self.path);
        verify::inclusion(tree(&self.tree), &leaf, self.index, self.size, &path, &root).is_ok()
    }

    fn dressed(&self, steps: &[Step]) -> bool {
        path::check(&hash(&self.leaf), self.index, self.size, steps, &hash(&self.root)).is_ok()
    }
}

impl Consistency {
    fn holds(&self) -> bool {
        let (old, new) = (hash(&self.old_root), hash(&self.new_root));
        verify::consistency(tree(&self.tree), self.from, &old, self.to, &new, &hashes(&self.path)).is_ok()
    }
}

#[test]
fn proofs_hold_in_both_trees() {
    let file: File = read("proofs.json");
    assert!(file.inclusion.len() > 50 && file.consistency.len() > 50);
    for vector in file.inclusion {
        assert!(vector.bare(), "{} in {} of {}", vector.index, vector.size, vector.tree);
        let ours = path::steps(vector.index, vector.size, &hashes(&vector.path)).unwrap();
        assert_eq!(Some(&ours), vector.steps.as_ref().or(ours.is_empty().then_some(&ours)));
        if tree(&vector.tree) == Tree::Sha3 {
            assert!(vector.dressed(&ours), "{} in {}, as steps", vector.index, vector.size);
        }
    }
    for vector in file.consistency {
        assert!(vector.holds(), "{} to {} of {}", vector.from, vector.to, vector.tree);
    }
}

#[test]
fn proofs_that_must_be_refused_are() {
    let file: File = read("proofs-refused.json");
    assert!(file.inclusion.len() > 20 && file.consistency.len() > 20);
    for vector in file.inclusion {
        match &vector.steps {
            None => assert!(!vector.bare(), "{} was accepted", vector.name),
            Some(steps) => assert!(!vector.dressed(steps), "{} was accepted", vector.name),
        }
    }
    for vector in file.consistency {
        assert!(!vector.holds(), "{} was accepted", vector.name);
    }
}
