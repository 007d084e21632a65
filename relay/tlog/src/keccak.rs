//! SHA3-256 of many tree nodes, four at a time.
//!
//! The nodes of one level of a batch, a tile or an audit do not depend on each other, so Keccak-f[1600] (FIPS 202) runs on
//! four of them side by side: each of its 25 lanes is a vector with one word of each node. `fearless_simd` picks the
//! widest instructions the processor has. A node is one block, so there is no sponge here, only the padding of 65 bytes.
//! Called by [`crate::Tree::parents`] alone; single hashes are left to the `sha3` crate, which the tests compare with.

use crate::hash::Hash;
use fearless_simd::{Level, Simd, dispatch, prelude::*, u64x4};

/// 64-bit words that a block of SHA3-256 fills.
const RATE: usize = 17;

/// Rows of lanes; `state[y][x]` is lane (x, y) of the standard.
type State<S> = [[u64x4<S>; 5]; 5];

const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// `SHA3-256(01 ‖ left ‖ right)` of each pair, in order.
pub(crate) fn nodes(pairs: &[[Hash; 2]]) -> Vec<Hash> {
    let mut parents = Vec::with_capacity(pairs.len().next_multiple_of(4));
    dispatch!(Level::new(), simd => all(simd, pairs, &mut parents));
    parents.truncate(pairs.len());
    parents
}

/// All pairs, with up to three hashes too many at the end.
#[inline(always)]
fn all<S: Simd>(simd: S, pairs: &[[Hash; 2]], parents: &mut Vec<Hash>) {
    let (fours, rest) = pairs.as_chunks::<4>();
    for four in fours {
        parents.extend(four_nodes(simd, four));
    }
    if !rest.is_empty() {
        let mut padded = [[[0; 32]; 2]; 4];
        for (place, pair) in padded.iter_mut().zip(rest) {
            *place = *pair;
        }
        parents.extend(four_nodes(simd, &padded));
    }
}

#[inline(always)]
fn four_nodes<S: Simd>(simd: S, four: &[[Hash; 2]; 4]) -> [Hash; 4] {
    let blocks = four.each_ref().map(block);
    let lane = |i: usize| {
        u64x4::simd_from(simd, blocks.each_ref().map(|block| block.get(i).copied().unwrap_or_default()))
    };
    let row = |y: usize| [lane(5 * y), lane(5 * y + 1), lane(5 * y + 2), lane(5 * y + 3), lane(5 * y + 4)];
    let mut state: State<S> = [row(0), row(1), row(2), row(3), row(4)];
    for constant in ROUND_CONSTANTS {
        state = round(simd, &state, constant);
    }
    let [[a, b, c, d, _], ..] = state;
    let words = [a, b, c, d].map(<[u64; 4]>::from);
    let mut hashes = [[0; 32]; 4];
    for (i, hash) in hashes.iter_mut().enumerate() {
        let (places, _) = hash.as_chunks_mut::<8>();
        for (place, word) in places.iter_mut().zip(&words) {
            *place = word.get(i).copied().unwrap_or_default().to_le_bytes();
        }
    }
    hashes
}

/// The padded block of a node: the byte 01, both children, the suffix 06, zeros, and the last bit of the padding.
#[inline(always)]
fn block(pair: &[Hash; 2]) -> [u64; RATE] {
    let (words, _) = pair.as_flattened().as_chunks::<8>();
    let mut block = [0; RATE];
    let mut carried = 1;
    for (lane, word) in block.iter_mut().zip(words) {
        let word = u64::from_le_bytes(*word);
        *lane = word << 8 | carried;
        carried = word >> 56;
    }
    block[8] = 0x0600 | carried;
    block[16] = 0x8000_0000_0000_0000;
    block
}

/// One round: theta; rho and pi; chi; iota. Written out, since the distances of the rotations must be constants.
#[inline(always)]
fn round<S: Simd>(simd: S, a: &State<S>, constant: u64) -> State<S> {
    let column = |x: usize| a[0][x] ^ a[1][x] ^ a[2][x] ^ a[3][x] ^ a[4][x];
    let c = [column(0), column(1), column(2), column(3), column(4)];
    let d0 = c[4] ^ rotate::<S, 1>(c[1]);
    let d1 = c[0] ^ rotate::<S, 1>(c[2]);
    let d2 = c[1] ^ rotate::<S, 1>(c[3]);
    let d3 = c[2] ^ rotate::<S, 1>(c[4]);
    let d4 = c[3] ^ rotate::<S, 1>(c[0]);
    let mut next = [
        chi([
            a[0][0] ^ d0,
            rotate::<S, 44>(a[1][1] ^ d1),
            rotate::<S, 43>(a[2][2] ^ d2),
            rotate::<S, 21>(a[3][3] ^ d3),
            rotate::<S, 14>(a[4][4] ^ d4),
        ]),
        chi([
            rotate::<S, 28>(a[0][3] ^ d3),
            rotate::<S, 20>(a[1][4] ^ d4),
            rotate::<S, 3>(a[2][0] ^ d0),
            rotate::<S, 45>(a[3][1] ^ d1),
            rotate::<S, 61>(a[4][2] ^ d2),
        ]),
        chi([
            rotate::<S, 1>(a[0][1] ^ d1),
            rotate::<S, 6>(a[1][2] ^ d2),
            rotate::<S, 25>(a[2][3] ^ d3),
            rotate::<S, 8>(a[3][4] ^ d4),
            rotate::<S, 18>(a[4][0] ^ d0),
        ]),
        chi([
            rotate::<S, 27>(a[0][4] ^ d4),
            rotate::<S, 36>(a[1][0] ^ d0),
            rotate::<S, 10>(a[2][1] ^ d1),
            rotate::<S, 15>(a[3][2] ^ d2),
            rotate::<S, 56>(a[4][3] ^ d3),
        ]),
        chi([
            rotate::<S, 62>(a[0][2] ^ d2),
            rotate::<S, 55>(a[1][3] ^ d3),
            rotate::<S, 39>(a[2][4] ^ d4),
            rotate::<S, 41>(a[3][0] ^ d0),
            rotate::<S, 2>(a[4][1] ^ d1),
        ]),
    ];
    next[0][0] ^= u64x4::splat(simd, constant);
    next
}

#[inline(always)]
fn rotate<S: Simd, const BITS: u32>(lane: u64x4<S>) -> u64x4<S> {
    (lane << BITS) | (lane >> (64 - BITS))
}

#[inline(always)]
fn chi<S: Simd>(b: [u64x4<S>; 5]) -> [u64x4<S>; 5] {
    let [b0, b1, b2, b3, b4] = b;
    [b0 ^ (!b1 & b2), b1 ^ (!b2 & b3), b2 ^ (!b3 & b4), b3 ^ (!b4 & b0), b4 ^ (!b0 & b1)]
}

#[cfg(test)]
mod tests {
    use super::nodes;
    use crate::hash::{Hash, Tree};
    use proptest::prelude::*;

    fn pairs(count: usize) -> Vec<[Hash; 2]> {
        let hash = |number: usize| crate::hash::sha256(&number.to_be_bytes());
        (0..count).map(|i| [hash(2 * i), hash(2 * i + 1)]).collect()
    }

    #[test]
    fn any_number_of_nodes_is_hashed_as_one_by_one() {
        for count in 0..=67 {
            let pairs = pairs(count);
            let one_by_one: Vec<Hash> = pairs.iter().map(|[l, r]| Tree::Sha3.node(l, r)).collect();
            assert_eq!(nodes(&pairs), one_by_one, "{count} nodes");
        }
    }

    #[test]
    fn each_bit_of_both_children_is_hashed_at_each_of_the_four_places() {
        for place in 0..4 {
            for bit in 0..512 {
                let mut pairs = pairs(4);
                pairs[place].as_flattened_mut()[bit / 8] ^= 1 << (bit % 8);
                let [left, right] = pairs[place];
                assert_eq!(nodes(&pairs)[place], Tree::Sha3.node(&left, &right), "bit {bit} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_the_children_are_the_nodes_are_those_of_the_sha3_crate(
            pairs in prop::collection::vec(any::<[Hash; 2]>(), 0..40),
        ) {
            let one_by_one: Vec<Hash> = pairs.iter().map(|[l, r]| Tree::Sha3.node(l, r)).collect();
            prop_assert_eq!(nodes(&pairs), one_by_one);
        }
    }
}
