//! Who acted at the vendor's: committed to in each request, shown to nobody until the vendor opens it, and never to be changed.

use paramant_protocol::leaf::{Hash, sha256};

/// Begins what is hashed.
const LABEL: &[u8] = b"paramant/actor/v1\0";

/// SHA-256(label ‖ len(relay_id) ‖ relay_id ‖ len(id) ‖ id ‖ len(actor) ‖ actor ‖ salt), each length as two bytes, big-endian.
/// `None`: a part is longer than any is.
pub fn commit(relay_id: &str, id: &str, actor: &str, salt: &[u8; 32]) -> Option<Hash> {
    let mut all = LABEL.to_vec();
    for part in [relay_id, id, actor] {
        all.extend(u16::try_from(part.len()).ok()?.to_be_bytes());
        all.extend(part.as_bytes());
    }
    all.extend(salt);
    Some(sha256(&all))
}
