#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn device(name: &str) -> Device {
    Device::generate(name.parse().unwrap()).unwrap()
}

fn sealed(text: &[u8], to: &Device, from: Option<&Device>) -> Vec<u8> {
    seal(text.to_vec(), &to.public().kem_pub, from, None, PadBlock::K64).unwrap()
}

#[test]
fn what_is_sealed_is_opened_by_the_recipient_only() {
    let (alice, bob, eve) = (device("alice"), device("bob"), device("eve"));
    let blob = sealed(b"hello", &bob, Some(&alice));
    assert_eq!(blob.len(), PadBlock::K64.bytes());
    pqhb::check(&blob).unwrap();
    let opened = open(&blob, &bob, None).unwrap();
    assert_eq!(opened.plaintext, b"hello");
    let expected = Sender::Signed { key: alice.signing_key().to_vec(), form: SignatureForm::Direct };
    assert_eq!(opened.sender, expected);
    assert!(matches!(open(&blob, &eve, None), Err(OpenError::Decrypt)));
}

#[test]
fn an_unsigned_blob_says_so() {
    let bob = device("bob");
    assert_eq!(open(&sealed(b"", &bob, None), &bob, None).unwrap().sender, Sender::Unsigned);
}

#[test]
fn the_older_signature_is_accepted_and_named() {
    let (alice, bob) = (device("alice"), device("bob"));
    let blob = sealed(b"hello", &bob, Some(&alice));
    let parts = Blob::parse(&blob).unwrap();
    let signature = alice.sign(&hashed_message(&parts)).unwrap();
    let mut older = Vec::new();
    Blob { signature: Some(&signature), ..parts }.write(&mut older);
    let opened = open(&older, &bob, None).unwrap();
    assert!(matches!(opened.sender, Sender::Signed { form: SignatureForm::Hashed, .. }));
}

#[test]
fn a_pre_shared_secret_must_be_the_same_on_both_sides() {
    let bob = device("bob");
    let secret = PreShared::new("correct horse");
    let blob = seal(b"x".to_vec(), &bob.public().kem_pub, None, Some(&secret), PadBlock::K4).unwrap();
    assert_eq!(open(&blob, &bob, Some(&secret)).unwrap().plaintext, b"x");
    assert!(matches!(open(&blob, &bob, None), Err(OpenError::Decrypt)));
    assert!(matches!(open(&blob, &bob, Some(&PreShared::new("battery"))), Err(OpenError::Decrypt)));
}

#[test]
fn the_largest_plaintext_fits_and_one_byte_more_does_not() {
    let (alice, bob) = (device("alice"), device("bob"));
    assert_eq!(capacity(PadBlock::M5, true), 5_236_477);
    let kem = bob.public().kem_pub;
    for (signed, sender) in [(true, Some(&alice)), (false, None)] {
        let most = capacity(PadBlock::K64, signed);
        assert!(seal(vec![7; most], &kem, sender, None, PadBlock::K64).is_ok());
        let error = seal(vec![7; most + 1], &kem, sender, None, PadBlock::K64).unwrap_err();
        assert!(matches!(error, SealError::TooLarge(_)));
    }
    assert!(matches!(seal(vec![], &kem[1..], None, None, PadBlock::K64), Err(SealError::RecipientKey)));
}

#[test]
fn each_altered_part_is_noticed() {
    let (alice, bob) = (device("alice"), device("bob"));
    let blob = sealed(b"hello", &bob, Some(&alice));
    let parts = Blob::parse(&blob).unwrap();
    let length = parts.length();
    // One byte in each section: KEM id, KEM ciphertext, sender key, signature, nonce, ciphertext, tag.
    for at in [6, 20, 1200, 3200, 6380, 6388, length - 1] {
        let mut altered = blob.clone();
        altered[at] ^= 1;
        assert!(open(&altered, &bob, None).is_err(), "byte {at} of {length} can be altered");
    }
    let mut padding = blob.clone();
    padding[length] ^= 1;
    assert!(open(&padding, &bob, None).is_ok(), "padding is outside the envelope");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_bytes_make_opening_panic(tail in prop::collection::vec(any::<u8>(), 0..3000)) {
        let bob = device("bob");
        let _ = open(&tail, &bob, None);
        let _ = open(&[&pqhb::header(2, 0)[..], &tail].concat(), &bob, None);
    }
}

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    ct_kem: String,
    shared_secret: String,
    pre_shared: Option<String>,
    plaintext: String,
    form: String,
    sender_pub: String,
    blob: String,
}

#[test]
fn envelopes_of_the_specification_are_read_as_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/envelopes.json");
    let file: Vectors = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(file.vectors.len(), 5);
    for vector in file.vectors {
        let blob = hex::decode(&vector.blob).unwrap();
        pqhb::check(&blob).unwrap();
        let parts = Blob::parse(&blob).unwrap();
        assert_eq!(hex::encode(parts.ct_kem), vector.ct_kem, "{}", vector.name);
        assert_eq!(hex::encode(parts.sender_pub), vector.sender_pub, "{}", vector.name);
        let form = parts.signature.map(|signature| signature_form(&parts, signature).unwrap());
        let expected = match vector.form.as_str() {
            "direct" => Some(SignatureForm::Direct),
            "hashed" => Some(SignatureForm::Hashed),
            _ => None,
        };
        assert_eq!(form, expected, "{}", vector.name);
        let shared = hex::decode(&vector.shared_secret).unwrap();
        let pre_shared = vector.pre_shared.map(PreShared::new);
        let key = payload_key(&shared, parts.ct_kem, pre_shared.as_ref()).unwrap();
        let mut sealed = parts.ciphertext.to_vec();
        let aad = Aad::from(pqhb::aad(parts.kem_id, parts.sig_id));
        let opened = key.open_in_place(Nonce::assume_unique_for_key(parts.nonce), aad, &mut sealed).unwrap();
        assert_eq!(hex::encode(opened), vector.plaintext, "{}", vector.name);
    }
}
