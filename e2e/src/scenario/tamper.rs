//! Flipped bits in a log must turn the auditors red.
//!
//! A small server replays what the relay served and flips one bit of one answer. Tiles, bundles, the checkpoint's body and its
//! Ed25519 line are judged by both auditors; the other signature lines, tree heads and the legacy root by `paramant audit` alone.

mod replay;

use anyhow::{Result, bail};

use super::{auditors, fixture::Fixture};
use crate::{bed::Bed, relay::random_blob, steps::Seen, steps::seen};
use replay::{Flip, Replay};

/// Flips that both auditors judge, and those that only `paramant audit` can see.
const BY_BOTH: usize = 100;
const BY_OURS: usize = 42;

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "tamper")?;
    let relay = fixture.relay("health")?;
    // More than one full tile, so that full and partial ones are both in the game.
    for _ in 0..150 {
        relay.roundtrip(200)?;
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let keys = auditors::vkeys(&relay.url)?;
    let replay = Replay::start(&relay.url)?;
    // Both are content with the untouched replay; this also records what each of them reads.
    auditors::paramant_audit_raw(bed, &replay.url, &keys)?.success("paramant audit of the untouched log")?;
    auditors::fsck_raw(bed, &replay.url, &auditors::ed25519(&keys)?)?.success("fsck of the untouched log")?;
    replay.freeze();

    let (mut both, mut ours) = (0, 0);
    for flip in replay.flips(BY_BOTH, BY_OURS, &random_blob(64)?.0)? {
        replay.set(Some(flip.clone()));
        let audit = auditors::paramant_audit_raw(bed, &replay.url, &keys)?;
        if audit.code == Some(0) {
            bail!("paramant audit accepted {flip}");
        }
        if flip.judged_by_both() {
            let fsck = auditors::fsck_raw(bed, &replay.url, &auditors::ed25519(&keys)?)?;
            if fsck.code == Some(0) {
                bail!("fsck accepted {flip}");
            }
            both += 1;
        } else {
            ours += 1;
        }
    }
    replay.set(None::<Flip>);
    auditors::paramant_audit_raw(bed, &replay.url, &keys)?.success("paramant audit after the flips")?;
    seen(
        (),
        format!(
            "{both} flips refused by both auditors, {ours} by paramant audit; the untouched log accepted"
        ),
    )
}
