//! Section 10.

use paramant_protocol::entry::{Body, Entry};
use paramant_protocol::sth::SignedSth;
use paramant_protocol::{canonical, leaf, strict};
use paramant_tlog::Hash;
use serde::Deserialize;

use crate::files::{Refused, hash, read, signed_by};

#[derive(Deserialize)]
struct File {
    identity: String,
    vectors: Vec<Head>,
    anchors: Vec<String>,
}

#[derive(Deserialize)]
struct Head {
    sth: String,
    sign_bytes: String,
    chain: String,
}

/// Section 10.3.
pub(crate) fn chain<'a>(heads: impl IntoIterator<Item = &'a SignedSth>) -> Hash {
    heads.into_iter().fold([0; 32], |previous, head| {
        leaf::sha256(&[previous.as_slice(), &canonical::to_vec(head).unwrap()].concat())
    })
}

#[test]
fn tree_heads_are_verified_and_chained_alike() {
    let file: File = read("sth.json");
    let signed = signed_by(&file.identity);
    let mut heads = Vec::new();
    for vector in &file.vectors {
        let head: SignedSth = serde_json::from_str(&vector.sth).unwrap();
        let bare = head.verify(&signed).unwrap();
        assert_eq!(String::from_utf8(bare.sign_bytes().unwrap()).unwrap(), vector.sign_bytes);
        assert_eq!(canonical::to_string(&head).unwrap(), vector.sth);
        heads.push(head);
        assert_eq!(chain(&heads), hash(&vector.chain));
    }
    assert!(file.anchors.len() > 1);
    for anchor in &file.anchors {
        let entry = Entry::parse(anchor.as_bytes()).unwrap();
        let Some(Body::SthAnchor(body)) = entry.body() else { panic!("{anchor} is no anchor") };
        let count = usize::try_from(body.count).unwrap();
        assert_eq!(body.chain.0, chain(&heads[..count]));
    }
}

#[derive(Deserialize)]
struct RefusedFile {
    identity: String,
    vectors: Vec<Refused>,
}

#[test]
fn tree_heads_that_must_be_refused_are() {
    let file: RefusedFile = read("sth-refused.json");
    let signed = signed_by(&file.identity);
    assert!(file.vectors.len() > 10);
    for vector in file.vectors {
        let head = strict::value(vector.text.as_bytes())
            .ok()
            .and_then(|value| serde_json::from_value::<SignedSth>(value).ok());
        let holds = head.is_some_and(|head| head.verify(&signed).is_ok());
        assert!(!holds, "{} was accepted", vector.name);
    }
}
