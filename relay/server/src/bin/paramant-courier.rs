//! `paramant-courier`: see `paramant_relay::courier`.

use std::process::ExitCode;

fn main() -> ExitCode {
    paramant_relay::courier::main()
}
