#![allow(clippy::unwrap_used)]

use super::*;
use paramant_protocol::sth::Sth;
use paramant_tlog::keys::{MlDsa65Key, Seed, Signer as _};

fn identity() -> (MlDsa65Key, RelayIdentity) {
    let key = MlDsa65Key::from_seed("relay", &Seed::new([7; 32])).unwrap();
    let identity = RelayIdentity::from_key(key.verifier().public_key().to_vec()).unwrap();
    (key, identity)
}

fn head(size: u64) -> SignedSth {
    let head = Sth::new("relay", &[size as u8; 32], size, size as i64);
    let signature = identity().0.sign_document(&head.sign_bytes().unwrap()).unwrap();
    head.signed(&signature)
}

fn chain(heads: &[SignedSth]) -> Hash {
    heads.iter().fold(sth::CHAIN_START, |chain, head| sth::chain(chain, head).unwrap())
}

async fn taken(heads: &[SignedSth], so_far: HeadsSoFar) -> Heads {
    let mut taken = Heads::after(so_far, Some(identity().1));
    for head in heads {
        taken.take(head.clone(), Some([head.tree_size as u8; 32])).await.unwrap();
    }
    taken
}

fn said(result: Result<(), Finding>) -> String {
    Check::failed(result.unwrap_err()).evidence
}

#[tokio::test]
async fn an_anchor_covers_exactly_the_heads_it_counts() {
    let heads: Vec<SignedSth> = (1..=9).map(head).collect();
    let mut taken = taken(&heads, HeadsSoFar::default()).await;
    let anchor = |count: usize| Anchor { index: 20, count: count as u64, chain: chain(&heads[..count]) };
    taken.anchor(anchor(0)).unwrap();
    taken.anchor(anchor(4)).unwrap();
    assert!(said(taken.anchor(anchor(3))).contains("an earlier one 4"));
    let wrong = Anchor { chain: chain(&heads[..5]), ..anchor(6) };
    assert!(said(taken.anchor(wrong)).contains("those shown give"));
    assert!(said(taken.anchor(Anchor { count: 10, ..anchor(9) })).contains("9 came before it"));
    taken.anchor(anchor(9)).unwrap();
    let finished = taken.finish(true).await.unwrap();
    assert!(finished.anchors.evidence.starts_with("3 anchors in line"), "{}", finished.anchors.evidence);
    assert_eq!(finished.checked, 9);
}

#[tokio::test]
async fn an_anchor_that_comes_in_the_next_run_is_followed() {
    let heads: Vec<SignedSth> = (1..=9).map(head).collect();
    let first = taken(&heads[..6], HeadsSoFar::default()).await.finish(true).await.unwrap();
    let kept: HeadsSoFar = serde_json::from_slice(&serde_json::to_vec(&first.so_far).unwrap()).unwrap();
    assert_eq!(kept, first.so_far);
    // It was made before heads that the first run saw already.
    for count in [5, 6, 8] {
        let mut next = taken(&heads[6..], kept.clone()).await;
        next.anchor(Anchor { index: 20, count: count as u64, chain: chain(&heads[..count]) }).unwrap();
    }
}

#[tokio::test]
async fn a_head_that_goes_back_or_has_another_root_is_found() {
    let mut heads = taken(&[head(5)], HeadsSoFar::default()).await;
    assert!(said(heads.take(head(4), Some([4; 32])).await).contains("does not follow"));
    assert!(said(heads.take(head(6), Some([7; 32])).await).contains("the entries give 0707"));
    heads.take(head(6), Some([6; 32])).await.unwrap();
}

#[tokio::test]
async fn a_flipped_signature_is_found_wherever_it_stands() {
    for at in [0, 200, 299] {
        let mut heads = Heads::after(HeadsSoFar::default(), Some(identity().1));
        let mut result = Ok(());
        for size in 1..=300u64 {
            let mut head = head(size);
            if size - 1 == at {
                head.relay_id = "other".into();
            }
            result = heads.take(head, Some([size as u8; 32])).await;
            if result.is_err() {
                break;
            }
        }
        let found = match result {
            Ok(()) => heads.finish(true).await.map(drop),
            found => found,
        };
        assert!(said(found).contains("does not verify"), "head {at}");
    }
}

#[tokio::test]
async fn heads_of_entries_that_are_not_there_are_counted() {
    let mut heads = Heads::after(HeadsSoFar::unknown(), Some(identity().1));
    heads.take(head(5), None).await.unwrap();
    heads.anchor(Anchor { index: 9, count: 77, chain: [0; 32] }).unwrap();
    let finished = heads.finish(true).await.unwrap();
    assert!(
        finished.shown.evidence.contains("1 of entries that are not here"),
        "{}",
        finished.shown.evidence
    );
    assert!(!finished.anchors.checked);
}
