//! The settings file.

use paramant_relay::settings::Settings;

use crate::{Memory, Target};

pub(super) const SETTINGS: Target = Target {
    name: "settings",
    check: settings,
    seeds: Vec::new,
    words: &[
        "sector: ",
        "publicUrl: ",
        "listen:\n",
        "  public: ",
        "limits:\n",
        "  maxBlob: ",
        "Gi",
        "Mi",
        "h",
        "payload: Memory\n",
        "&a ",
        "*a",
        "- ",
        "log:\n  origin: ",
        "!!",
        "|",
        "<<: ",
    ],
    memory: Memory { base: 1024 * 1024, per_byte: 4096 },
};

fn settings(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(settings) = text.parse::<Settings>() else { return };
    assert_eq!(text.parse::<Settings>().ok().as_ref(), Some(&settings));
    let limits = &settings.limits;
    let positive =
        [limits.max_blob, limits.max_in_flight, limits.max_ttl.as_secs(), limits.requests_per_minute.into()];
    assert!(positive.iter().all(|limit| *limit > 0) && limits.connections_per_address > 0);
    let printable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(printable(&settings.sector) && settings.sector.len() <= 64);
    if let Some(origin) = &settings.log_origin {
        assert!(printable(origin) && paramant_tlog::note::is_key_name(origin) && origin.len() <= 255);
    }
    if let Some(url) = &settings.public_url {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        assert!(
            host.is_some_and(|host| printable(host) && !host.starts_with('/') && !host.ends_with('/')),
            "{url}"
        );
    }
}
