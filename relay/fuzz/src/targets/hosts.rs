//! Hosts that users name for webhooks: none that anybody could read as an address of inside may pass.

use std::net::{IpAddr, Ipv4Addr};

use paramant_protocol::public_host::{is_public, judge};

use crate::{Memory, Target};

pub(super) const HOSTS: Target = Target {
    name: "hosts",
    check: hosts,
    seeds: || {
        [
            "hooks.example",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "017700000001",
            "2130706433",
            "10.0.0.1",
            "1.1.1.1",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2606:4700::1111",
            "a.localhost",
            "metadata.google.internal",
        ]
        .map(|host| host.as_bytes().to_vec())
        .to_vec()
    },
    words: &[
        "127",
        "0x",
        "0x7f",
        "017",
        ".",
        "::",
        "ffff:",
        ".localhost",
        ".local",
        ".internal",
        "10.",
        "169.254.",
        "fe80:",
        "-",
        "_",
    ],
    memory: Memory::COPIES,
};

fn hosts(input: &[u8]) {
    let Ok(host) = std::str::from_utf8(input) else { return };
    if judge(host).is_err() {
        return;
    }
    assert!(!host.is_empty() && host.is_ascii(), "{host:?}");
    if let Some(address) = as_c_reads_it(host) {
        assert_eq!(host.parse(), Ok(address), "{host:?} is {address} to some");
        assert!(is_public(address.into()), "{host:?}");
    }
    for private in ["localhost", "local", "internal"] {
        assert!(host != private && !host.ends_with(&format!(".{private}")), "{host:?}");
    }
    let is_name = host.parse::<IpAddr>().is_err();
    assert!(!is_name || host == host.to_ascii_lowercase(), "{host:?}");
}

/// `inet_aton`: one to four numbers, decimal, octal or hexadecimal, the last of which fills what is left.
fn as_c_reads_it(host: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u64> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, firsts) = numbers.split_last()?;
    let room = 8 * (4_u32.checked_sub(u32::try_from(firsts.len()).ok()?)?);
    if room == 0 || firsts.iter().any(|part| *part > 255) || *last >= 1 << room {
        return None;
    }
    let high = firsts.iter().fold(0_u64, |sum, part| (sum << 8) | part);
    u32::try_from((high << room) | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [] => return None,
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    match digits {
        "" => Some(0),
        digits if digits.starts_with('+') => None,
        digits => u64::from_str_radix(digits, radix).ok(),
    }
}
