//! Section 12.1.

use paramant_protocol::receipt::{Document, verify};
use serde::Deserialize;

use crate::files::{hash, read, signed_by};

#[derive(Deserialize)]
struct File<T> {
    identity: String,
    vectors: Vec<T>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    json: String,
    header: String,
    sign_bytes: String,
    leaf: String,
    index: u64,
    tree_size: u64,
    root: String,
}

#[derive(Deserialize)]
struct RefusedReceipt {
    name: String,
    json: String,
    code: String,
}

#[test]
fn receipts_hold_in_every_form_they_travel_in() {
    let file: File<Vector> = read("receipts.json");
    let signed = signed_by(&file.identity);
    assert!(file.vectors.len() > 4);
    for vector in file.vectors {
        let document = Document::parse(&vector.json).unwrap();
        assert_eq!(Document::parse(&vector.header).unwrap(), document, "{}", vector.name);
        let opened = verify(&document, &signed).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(opened.leaf, hash(&vector.leaf), "{}", vector.name);
        assert_eq!((opened.index, opened.tree_size), (vector.index, vector.tree_size), "{}", vector.name);
        assert_eq!(opened.root, hash(&vector.root), "{}", vector.name);
        if !vector.name.contains("does not know") {
            let ours = document.receipt();
            assert_eq!(
                String::from_utf8(ours.sign_bytes().unwrap()).unwrap(),
                vector.sign_bytes,
                "{}",
                vector.name
            );
            assert_eq!(ours.header_value().unwrap(), vector.header, "{}", vector.name);
        }
    }
}

#[test]
fn receipts_that_must_be_refused_are_for_the_published_reason() {
    let file: File<RefusedReceipt> = read("receipts-refused.json");
    let signed = signed_by(&file.identity);
    assert!(file.vectors.len() > 20);
    for vector in file.vectors {
        let code = match Document::parse(&vector.json) {
            Err(_) => "unreadable",
            Ok(document) => match verify(&document, &signed) {
                Ok(_) => panic!("{} was accepted", vector.name),
                Err(invalid) => invalid.reason(),
            },
        };
        assert_eq!(code, vector.code, "{}", vector.name);
    }
}
