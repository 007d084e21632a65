//! `paramant-relay`: see [`paramant_relay::program`].

use std::process::ExitCode;

use paramant_relay::world::World;

fn main() -> ExitCode {
    paramant_relay::program::main(World::default())
}
