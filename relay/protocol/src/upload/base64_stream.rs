//! Base64 decoded as it arrives: both alphabets, padded or not, in pieces of any length, with four bytes of memory.

/// What four characters become; 0xff marks what is in neither alphabet.
const VALUES: [u8; 256] = values();

/// A decoder between two pieces of text.
#[derive(Debug, Default)]
pub struct Base64Stream {
    /// The bits of the characters of the unfinished group.
    bits: u32,
    filled: u8,
    padding: u8,
}

/// The text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload is not base64: expected the standard or the URL alphabet, padded or not")]
pub struct NotBase64;

impl Base64Stream {
    /// Decodes another piece, appending to `out`.
    ///
    /// # Errors
    /// At the first character that cannot stand where it stands.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        out.reserve(text.len() / 4 * 3 + 3);
        let mut rest = text;
        while !rest.is_empty() {
            if self.filled == 0 && self.padding == 0 {
                let (groups, tail) = rest.as_chunks::<4>();
                let whole = decode_groups(groups, out);
                rest = if whole == groups.len() { tail } else { rest.get(whole * 4..).unwrap_or_default() };
            }
            let Some((first, after)) = rest.split_first() else { break };
            self.character(*first, out)?;
            rest = after;
        }
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// When a lone character or too much padding is left over.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        match (self.filled, self.padding) {
            (0, 0) => {}
            (2, 0..=2) => out.push(byte(self.bits >> 4)),
            (3, 0..=1) => out.extend([byte(self.bits >> 10), byte(self.bits >> 2)]),
            _ => return Err(NotBase64),
        }
        Ok(())
    }

    fn character(&mut self, character: u8, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        if character == b'=' {
            self.padding += 1;
            return if self.filled >= 2 && self.filled + self.padding <= 4 { Ok(()) } else { Err(NotBase64) };
        }
        let value = VALUES[usize::from(character)];
        if value == 0xff || self.padding > 0 {
            return Err(NotBase64);
        }
        self.bits = self.bits << 6 | u32::from(value);
        self.filled += 1;
        if self.filled == 4 {
            out.extend(group(self.bits));
            *self = Self::default();
        }
        Ok(())
    }
}

/// Decodes whole groups until one holds something else than 64 characters; answers how many were decoded.
fn decode_groups(groups: &[[u8; 4]], out: &mut Vec<u8>) -> usize {
    for (n, [a, b, c, d]) in groups.iter().enumerate() {
        let [a, b, c, d] = [a, b, c, d].map(|character| VALUES[usize::from(*character)]);
        if (a | b | c | d) & 0xc0 != 0 {
            return n;
        }
        out.extend(group(u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d)));
    }
    groups.len()
}

fn group(bits: u32) -> [u8; 3] {
    [byte(bits >> 16), byte(bits >> 8), byte(bits)]
}

fn byte(bits: u32) -> u8 {
    bits.to_be_bytes()[3]
}

const fn values() -> [u8; 256] {
    let mut values = [0xff; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut n = 0;
    while n < 64 {
        values[alphabet[n] as usize] = n as u8;
        n += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &[u8], piece: usize) -> Result<Vec<u8>, NotBase64> {
        let mut stream = Base64Stream::default();
        let mut out = Vec::new();
        for piece in text.chunks(piece.max(1)) {
            stream.push(piece, &mut out)?;
        }
        stream.finish(&mut out)?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn every_spelling_in_pieces_of_any_length_decodes(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..70) {
            for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                prop_assert_eq!(decode(engine.encode(&bytes).as_bytes(), piece).unwrap(), bytes.clone());
            }
        }

        #[test]
        fn a_foreign_character_anywhere_is_refused(bytes in prop::collection::vec(any::<u8>(), 1..60), at in any::<prop::sample::Index>(), foreign in any::<u8>(), piece in 1usize..9) {
            prop_assume!(VALUES[usize::from(foreign)] == 0xff && foreign != b'=');
            let mut text = STANDARD_NO_PAD.encode(&bytes).into_bytes();
            let at = at.index(text.len());
            text[at] = foreign;
            prop_assert_eq!(decode(&text, piece), Err(NotBase64));
        }
    }

    #[test]
    fn padding_stands_only_at_the_end_and_only_where_it_fits() {
        for bad in ["=", "A", "A===", "AA===", "AAA==", "AA=A", "AAAA=", "AAAAA", "QQ==QQ=="] {
            for piece in 1..8 {
                assert_eq!(decode(bad.as_bytes(), piece), Err(NotBase64), "{bad}");
            }
        }
        assert_eq!(decode(b"QQ=", 1).unwrap(), b"A");
    }
}
