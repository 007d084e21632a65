//! `paramant-relay-testworld`: the relay in a world of its own, for tests that need keys and weeks. Never released.
//!
//! The same program but for two things: it believes keys whose seeds everybody knows (they stand below), and its licence clock is
//! off by the seconds in a file `testworld-clock` of the data directory, read at each look. A release has neither: there the world is
//! [`World::default`], and nothing a user writes reaches it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use paramant_licensing::AcceptedKeys;
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_relay::world::World;
use paramant_tlog::keys::{MlDsa65Key, Seed, Signer as _};

/// The seed of the test key for offline licences, as the published vectors have it.
const OFFLINE_SEED: [u8; 32] = {
    let mut seed = [0; 32];
    seed[31] = 1;
    seed
};
/// The seed of the test key that signs replies.
const ONLINE_SEED: [u8; 32] = [0x2a; 32];
/// Its last day.
const ONLINE_UNTIL: i64 = 4_102_444_800;
/// Seconds by which the licence clock is off.
const CLOCK: &str = "testworld-clock";

fn main() -> ExitCode {
    match world() {
        Some(world) => paramant_relay::program::main(world),
        None => {
            eprintln!("paramant-relay-testworld: the test keys cannot be made");
            ExitCode::FAILURE
        }
    }
}

fn world() -> Option<World> {
    let offline = SigningKey::from_bytes(&OFFLINE_SEED).verifying_key().to_bytes();
    let online = MlDsa65Key::from_seed("testworld", &Seed::new(ONLINE_SEED)).ok()?;
    let public = online.verifier().public_key().to_vec();
    let not_after = Timestamp::from_second(ONLINE_UNTIL).ok()?;
    let clock = data_directory().map(|data| data.join(CLOCK));
    let wall = move || {
        let offset = clock.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let seconds = offset.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    };
    Some(World {
        offline: AcceptedKeys::of([offline]),
        online: LicensingKeys::of([LicensingKey { public, not_after }]),
        wall: Arc::new(wall),
    })
}

/// What follows `--data` on the command line.
fn data_directory() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != "--data");
    arguments.nth(1).map(PathBuf::from)
}
