//! Small changes to good inputs: bits, bytes, ranges, lines, numbers, words of the format, halves of other inputs.
//!
//! Deterministic: the same number gives the same change, so a failure of the short run is there again on the next one.

/// The longest input that is made.
const LONGEST: usize = 64 * 1024;

/// Numbers at which readers go wrong, in text.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "00",
    "01",
    "+1",
    "255",
    "256",
    "257",
    "65535",
    "65536",
    "4294967296",
    "9007199254740992",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

/// SplitMix64: small, and good enough to choose places.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a name and a number.
    #[must_use]
    pub fn new(name: &str, number: u64) -> Self {
        let start = name.bytes().fold(number, |state, byte| state.rotate_left(7) ^ u64::from(byte));
        Self(start.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> Option<&'a T> {
        all.get(self.below(all.len())).copied()
    }
}

/// One of the seeds, changed one to eight times.
#[must_use]
pub fn mutated(seeds: &[Vec<u8>], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds.get(dice.below(seeds.len())).cloned().unwrap_or_default();
    for _ in 0..=dice.below(8).min(dice.below(8)) {
        change(&mut input, seeds, words, dice);
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str], dice: &mut Dice) {
    let at = dice.below(input.len());
    let end = at + dice.below((input.len() - at).min(64)) + 1;
    let end = end.min(input.len());
    match dice.below(13) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = dice.byte();
            }
        }
        3 => input.insert(at, dice.byte()),
        4 => drop(input.drain(at..end)),
        5 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        6 => {
            let copy = input[at..end].to_vec();
            let to = dice.below(input.len());
            input.splice(to..to, copy);
        }
        7 => {
            if let Some(word) = dice.of(words) {
                input.splice(at..at, word.bytes());
            }
        }
        8 => number(input, at, dice),
        9 => lines(input, dice),
        10 => {
            let other = seeds.get(dice.below(seeds.len())).map_or(&[][..], Vec::as_slice);
            let from = dice.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        11 => {
            if let Some(byte) = input.get_mut(at).filter(|byte| byte.is_ascii_alphabetic()) {
                *byte ^= 0x20;
            }
        }
        _ => {
            let value = [0u32, 1, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX][dice.below(6)].to_be_bytes();
            let width = [1, 2, 4][dice.below(3)].min(input.len() - at);
            input[at..at + width].copy_from_slice(&value[4 - width..]);
        }
    }
}

/// Puts another number in the place of the first one behind `at`.
fn number(input: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(start) = (at..input.len()).find(|index| input[*index].is_ascii_digit()) else { return };
    let end = (start..input.len()).find(|index| !input[*index].is_ascii_digit()).unwrap_or(input.len());
    let number = NUMBERS[dice.below(NUMBERS.len())];
    input.splice(start..end, number.bytes());
}

/// Exchanges, doubles or removes lines.
fn lines(input: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<Vec<u8>> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, two) = (dice.below(lines.len()), dice.below(lines.len()));
    if lines.is_empty() {
        return;
    }
    match dice.below(3) {
        0 => lines.swap(one, two),
        1 => lines.insert(one, lines[two].clone()),
        _ => drop(lines.remove(one)),
    }
    *input = lines.concat();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_makes_the_same_input_and_another_another() {
        let seeds = [b"one line\nand 2 more\n".to_vec(), b"other".to_vec()];
        let make = |number| mutated(&seeds, &["word"], &mut Dice::new("x", number));
        assert_eq!(make(7), make(7));
        let different: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(make).collect();
        assert!(different.len() > 700, "only {} inputs", different.len());
    }

    #[test]
    fn nothing_and_one_byte_can_be_changed() {
        for seeds in [vec![], vec![vec![]], vec![vec![b'x']]] {
            for number in 0..2000 {
                let _ = mutated(&seeds, &[], &mut Dice::new("x", number));
            }
        }
    }
}
