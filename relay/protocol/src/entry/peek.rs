//! Kind and hour of an entry without a JSON reader: for searches that look at thousands of entries for each one they show.

/// What follows the kind in canonical form: `","l":"` 64 digits `","t":"` 24 characters `"}`.
const TAIL: usize = 7 + 64 + 7 + 24 + 2;
const KIND: &[u8] = br#""k":""#;

/// The kind's name and the hour of an entry, from its canonical bytes. They are not checked: what comes out for bytes that
/// [`super::Entry::parse`] refuses means nothing.
pub fn peek(bytes: &[u8]) -> Option<(&str, &str)> {
    let (head, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL)?)?;
    let hour = tail.strip_prefix(br#"","l":""#)?.get(64..)?.strip_prefix(br#"","t":""#)?;
    let hour = hour.strip_suffix(br#""}"#)?;
    // A name is never longer than the word that the longest kind is.
    let start = head.len().saturating_sub(64);
    let near = head.get(start..)?;
    let at = near.windows(KIND.len()).rposition(|window| window == KIND)?;
    let kind = near.get(at + KIND.len()..)?;
    Some((std::str::from_utf8(kind).ok()?, std::str::from_utf8(hour).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::body::{AdminChange, AdminChanged, LogKeyRotated};
    use super::super::{Body, Entry};
    use super::*;

    #[test]
    fn it_sees_what_the_reader_reads() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let tricky = Some(r#"name","k":"transfer","l":""#.to_owned());
        for entry in [
            Entry::transfer([7; 32], at),
            Entry::with_body(Body::AdminChanged(AdminChanged { what: AdminChange::KeyCreated }), at).unwrap(),
            Entry::with_body(Body::LogKeyRotated(LogKeyRotated { added: tricky, retired: None }), at)
                .unwrap(),
        ] {
            assert_eq!(peek(entry.bytes()), Some((entry.kind().name(), entry.hour())));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = peek(&bytes);
        }
    }
}
