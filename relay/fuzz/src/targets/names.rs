//! The short texts in paths, queries and settings: hashes, ids, sizes, periods, hours.

use paramant_protocol::did::{self, Did};
use paramant_protocol::id::{BlobHash, DeviceId, DownloadToken, ReceiptId};
use paramant_protocol::moment;
use paramant_protocol::period::Period;
use paramant_protocol::size::ByteSize;

use crate::{Memory, Target};

pub(super) const NAMES: Target = Target {
    name: "names",
    check: names,
    seeds: || {
        let hash = "ab".repeat(32);
        let texts = [
            hash.as_str(),
            "phone",
            "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
            "did:paramant:3d5e3458a74017c19a4993aa5f17a9c5",
            "1767323045678",
            "5Mi",
            "18446744073709551615",
            "1h30m",
            "7d",
            "0",
            "250ms",
            "2026-01-02T03:00:00.000Z",
            "2026-01-02T03:04:05.678340282366920938463463374607431768211455Z",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
    words: &[
        "ab",
        "did:paramant:",
        "Ki",
        "Gi",
        "k",
        "h",
        "m",
        "s",
        "ms",
        "d",
        "T",
        "Z",
        ":00",
        ".000Z",
        "-",
        "+",
        "0",
        "\u{85}",
    ],
    memory: Memory::COPIES,
};

fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let hash = text.parse::<BlobHash>();
    if let Ok(hash) = &hash {
        assert_eq!(hash.to_string(), text, "one hash, two spellings");
    }
    assert_eq!(hash.is_ok(), text.parse::<ReceiptId>().is_ok(), "both are 64 digits");
    if let Ok(id) = text.parse::<ReceiptId>() {
        assert_eq!(id.to_string(), text, "one id, two spellings");
    }
    if let Ok(token) = text.parse::<DownloadToken>() {
        assert_eq!(token.to_string(), text, "one token, two spellings");
    }
    if let Ok(did) = text.parse::<Did>() {
        assert_eq!(did.to_string(), text, "one DID, two spellings");
    }
    if did::is_timely(text, 0) {
        assert!(text.parse::<i64>().is_ok_and(|time| (0..=did::CLOCK_SKEW_MS).contains(&time)), "{text}");
    }
    if did::is_nonce(text) {
        assert!(hex::decode(&text[..text.len() / 2 * 2]).is_ok());
    }
    if let Ok(device) = text.parse::<DeviceId>() {
        assert_eq!(device.as_str(), text);
        assert!(!text.is_empty() && !text.chars().any(char::is_control));
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse(), Ok(size), "written and read it is another size");
    }
    if let Ok(period) = text.parse::<Period>() {
        assert_eq!(period.to_string().parse(), Ok(period), "written and read it is another period");
    }
    if moment::is_hour(text) {
        assert_eq!(moment::hour_of(text).as_deref(), Some(text));
        assert_eq!(text.len(), 24);
    }
    if let Some(hour) = moment::hour_of(text) {
        assert!(moment::is_hour(&hour), "{hour} is the hour of a time, and no hour");
    }
}
