//! Whatever a relay or a file holds, reading it never panics.

use paramant_client::audit::Remembered;
use paramant_client::{Device, RelayIdentity, logged};
use paramant_protocol::device::RegisterKeys;
use paramant_protocol::discovery::{Capabilities, Identity};
use paramant_protocol::named_keys::NamedKeys;
use paramant_protocol::sth::SignedSth;
use paramant_protocol::transparency::{LogPage, ProofAnswer, SthHistory};
use paramant_tlog::keys::{Ed25519Key, Seed, Signer as _};
use proptest::prelude::*;

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let key = Ed25519Key::from_seed("log", &Seed::new([1; 32])).unwrap().verifier().clone();
        let _ = logged::check(&bytes, 0, std::slice::from_ref(&key));
        let _ = logged::open(&bytes, &[key]);
        let _ = Device::from_stored(&bytes);
        let _ = Remembered::parse(&bytes);
        let _ = serde_json::from_slice::<SignedSth>(&bytes);
        let _ = serde_json::from_slice::<SthHistory>(&bytes);
        let _ = serde_json::from_slice::<LogPage>(&bytes);
        let _ = serde_json::from_slice::<ProofAnswer>(&bytes);
        let _ = serde_json::from_slice::<Capabilities>(&bytes);
    }

    #[test]
    fn arbitrary_texts_are_refused_or_read(texts in prop::collection::vec(any::<String>(), 6)) {
        let some = |at: usize| texts.get(at).cloned();
        let _ = RelayIdentity::parse(&texts[0]);
        let _ = logged::parse_keys(&texts[0]);
        let keys = RegisterKeys {
            device_id: texts[0].clone(),
            keys: NamedKeys { kem_pub: some(1), sig_pub: some(2), kyber_pub: some(3), dsa_pub: some(4), ecdh_pub: some(5) },
        };
        let _ = keys.keys();
        let identity = Identity { ok: true, alg: "ML-DSA-65".into(), public_key: texts[0].clone(), pk_hash: texts[1].clone(), public_key_hex: some(2) };
        let _ = identity.key();
        let sth = SignedSth { relay_id: texts[0].clone(), sha3_root: texts[1].clone(), timestamp: -1, tree_size: u64::MAX, version: 1, signature: texts[2].clone() };
        prop_assert!(sth.verify(&|_, _| true).is_err());
    }
}
