//! What the operator sends.

use paramant_protocol::control::{Directives, RelayState};

use crate::{Memory, Target};

pub(super) const CONTROL: Target = Target {
    name: "control",
    check: control,
    seeds: Vec::new,
    words: &[
        "\"relayUid\":",
        "\"epoch\":",
        "\"seq\":",
        "\"drain\":{",
        "\"updateUntil\":",
        "\"2026-01-02T03:04:05Z\"",
        "null",
        "true",
        "\"size\":",
        "\"root\":",
        "{",
        "}",
        ",",
    ],
    memory: Memory::VALUES,
};

fn control(input: &[u8]) {
    if let Ok(directives) = serde_json::from_slice::<Directives>(input) {
        let written = serde_json::to_vec(&directives).expect("JSON");
        let again: Directives = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(again, directives, "kept on disk they are other directives");
    }
    if let Ok(state) = serde_json::from_slice::<RelayState>(input) {
        let written = serde_json::to_vec(&state).expect("JSON");
        let again: RelayState = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(again, state);
    }
}
