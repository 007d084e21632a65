//! Section 8.2.

use paramant_tlog::keys::{CosignatureKey, Ed25519Key, MlDsa44Key, MlDsa65Key, Seed, Signer};
use paramant_tlog::vkey::VerifierKey;
use serde::Deserialize;

use crate::files::{Refused, bytes, hash, read};

#[derive(Deserialize)]
struct File {
    vectors: Vec<Key>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Key {
    name: String,
    algorithm: String,
    seed: String,
    public_key: String,
    key_id: String,
    vkey: String,
}

impl Key {
    fn signer(&self) -> Box<dyn Signer> {
        let seed = Seed::new(hash(&self.seed));
        match self.algorithm.as_str() {
            "Ed25519" => Box::new(Ed25519Key::from_seed(&self.name, &seed).unwrap()),
            "Ed25519 cosignature" => Box::new(CosignatureKey::from_seed(&self.name, &seed).unwrap()),
            "ML-DSA-44" => Box::new(MlDsa44Key::from_seed(&self.name, &seed).unwrap()),
            "ML-DSA-65" => Box::new(MlDsa65Key::from_seed(&self.name, &seed).unwrap()),
            other => panic!("no such algorithm: {other}"),
        }
    }
}

#[test]
fn seeds_give_the_same_keys_ids_and_spellings() {
    let file: File = read("keys.json");
    assert_eq!(file.vectors.len(), 6);
    for vector in file.vectors {
        let signer = vector.signer();
        let key = signer.verifier();
        assert_eq!(key.public_key(), bytes(&vector.public_key), "{}", vector.name);
        assert_eq!(format!("{:08x}", key.key_id()), vector.key_id, "{}", vector.name);
        assert_eq!(key.to_string(), vector.vkey, "{}", vector.name);
        assert_eq!(&VerifierKey::parse(&vector.vkey).unwrap(), key, "{}", vector.name);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let file: File = read("keys.json");
    assert!(file.refused.len() > 10);
    for vector in file.refused {
        assert!(VerifierKey::parse(&vector.text).is_err(), "{} was read", vector.name);
    }
}
