//! What account holders name to the relay itself: addresses of webhooks, and sessions.

use std::sync::LazyLock;

use paramant_relay::sessions::{SessionId, lifetime};
use paramant_relay::settings::Settings;
use paramant_relay::webhooks::HookUrl;

use crate::run::kept;
use crate::{Memory, Target};

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    kept(|| {
        let text =
            "webhooks: { hosts: [hooks.example, \"hooks.example:8443\", 1.1.1.1, \"[2606:4700::1]\"] }";
        text.parse().expect("settings")
    })
});

/// What the settings above list.
const LISTED: [&str; 4] = ["hooks.example:443", "hooks.example:8443", "1.1.1.1:443", "[2606:4700::1]:443"];

pub(super) const HOOK_URL: Target = Target {
    name: "hook-url",
    check: hook_url,
    seeds: || {
        let urls = [
            "https://hooks.example/a/b?token=x&y",
            "https://Hooks.Example:8443",
            "https://1.1.1.1/",
            "https://[2606:4700::1]:443/x",
            "https://user@hooks.example/",
            "https://hooks.example.:443/#x",
            "https://127.0.0.1/",
            "pss_00112233445566778899aabbccddeeff0011223344556677",
        ];
        urls.map(|url| url.as_bytes().to_vec()).to_vec()
    },
    words: &[
        "https://",
        "http://",
        "hooks.example",
        "1.1.1.1",
        "[",
        "]",
        "::",
        ":443",
        ":8443",
        "@",
        "/",
        "//",
        "?",
        "#",
        "%2e",
        "\\",
        ".",
        "0x7f",
        "127.1",
        "xn--",
        "pss_",
        "00",
        "Ab",
        "\t",
        " ",
        "\u{ff0e}",
    ],
    memory: Memory { base: 64 * 1024, per_byte: 64 },
};

fn hook_url(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(session) = SessionId::parse(text) {
        assert_eq!(session.to_string(), text, "one session, two spellings");
    }
    let asked = lifetime(text.parse().ok());
    assert!(lifetime(Some(0)) >= lifetime(Some(1)) && asked <= lifetime(Some(u64::MAX)));
    let Ok(url) = HookUrl::parse(text, SETTINGS.webhooks.as_deref()) else { return };
    let authority = url.destination().authority();
    assert!(LISTED.contains(&authority.as_str()), "{authority} is called, and nobody listed it");
    assert_eq!(url.as_str(), text);
    assert!(
        url.path().starts_with(['/', '?']) && !url.path().contains([' ', '\r', '\n', '#']),
        "{:?}",
        url.path()
    );
    assert!(!text.contains('@') || url.path().contains('@'), "a user before the host");
    assert!(HookUrl::parse(text, None).is_err(), "without a list nothing is called");
}
