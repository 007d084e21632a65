#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use super::file::parse;
use super::*;

fn read(text: &str) -> Result<Settings, String> {
    parse(Path::new("relay.yaml"), text).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_means_all_defaults() {
    assert_eq!(read("").unwrap(), Settings::default());
    assert_eq!(read("# nothing yet\n\n").unwrap(), Settings::default());
    assert!(Settings::default().listen.public.ip().is_loopback());
}

#[test]
fn the_file_an_operator_writes_is_understood_whole() {
    let settings = read(
        r#"
sector: health
publicUrl: https://relay.acme.example/
listen: { public: "0.0.0.0:3000", control: "0.0.0.0:7443", probes: "0.0.0.0:9090" }
log: { origin: relay.acme.example/log }
control: { operatorCa: /etc/paramant/config/operator-ca.pem, tokenFile: /var/run/secrets/paramant/operator-token }
admin: { tokenFile: /etc/paramant/admin/token }
license: { directory: /etc/paramant/license }
limits: { maxBlob: 16Mi, maxTtl: 24h, maxInFlight: 2Gi, maxOpenPerAccount: 512Mi, minFreeDisk: 512Mi, requestsPerMinute: 60, connections: 4000, connectionsPerAddress: 8, anonymousPerHour: 3, trustedProxies: [10.0.0.0/8, "fd00::/8"] }
anonymousUploads: true
allowedOrigins: ["https://app.acme.example"]
payload: Memory
terminationGrace: 30s
"#,
    )
    .unwrap();
    assert_eq!(settings.sector, "health");
    assert_eq!(settings.public_url.as_deref(), Some("https://relay.acme.example"));
    assert_eq!(settings.listen.control.port(), 7443);
    assert_eq!(settings.log_origin.as_deref(), Some("relay.acme.example/log"));
    assert!(settings.control.as_ref().unwrap().token_file.is_some());
    assert_eq!(settings.limits.max_blob, 16 << 20);
    assert_eq!(settings.limits.max_ttl, Duration::from_secs(86_400));
    assert_eq!(settings.limits.max_in_flight, 2 << 30);
    assert_eq!(settings.limits.open_per_account(), 512 << 20);
    assert_eq!((settings.limits.connections, settings.limits.connections_per_address), (4000, 8));
    assert_eq!(settings.limits.trusted_proxies.len(), 2);
    assert!(settings.anonymous_uploads && settings.limits.anonymous_per_hour == 3);
    assert_eq!(settings.allowed_origins.answer(Some("https://paramant.app")), None);
    assert_eq!(settings.payload, Payload::Memory);
    assert_eq!(settings.termination_grace, Duration::from_secs(30));
}

#[test]
fn a_wrong_setting_is_refused_and_its_nearest_neighbour_is_not() {
    for (wrong, says, right) in [
        ("sektor: x", "sektor", "sector: x"),
        ("limits: { maxBlobs: 5Mi }", "maxBlobs", "limits: { maxBlob: 5Mi }"),
        ("limits: { maxBlob: 5MiB5 }", "5MiB5", "limits: { maxBlob: 5242880 }"),
        ("limits: { maxOpenPerAccount: 4Mi }", "at least maxBlob", "limits: { maxOpenPerAccount: 5Mi }"),
        ("anonymousUploads: perhaps", "anonymousUploads", "anonymousUploads: false"),
        ("allowedOrigins: [\"*\"]", "allowedOrigins", "allowedOrigins: []"),
        ("limits: { anonymousPerHour: 0 }", "anonymousPerHour is 0", "limits: { anonymousPerHour: 1 }"),
        ("limits: { maxBlob: 0 }", "limits.maxBlob is 0", "limits: { maxBlob: 1 }"),
        ("limits: { maxTtl: 5parsecs }", "5parsecs", "limits: { maxTtl: 5h }"),
        ("limits: { requestsPerMinute: -1 }", "requestsPerMinute", "limits: { requestsPerMinute: 1 }"),
        ("webhooks: { hosts: [] }", "webhooks.hosts has 0", "webhooks: { hosts: [hooks.example] }"),
        ("webhooks: { hosts: [127.0.0.1] }", "not a public address", "webhooks: { hosts: [1.1.1.1] }"),
        (
            "webhooks: { hosts: [\"10.1.2.3:8443\"], privateNetworks: [10.2.0.0/16] }",
            "not a public address",
            "webhooks: { hosts: [\"10.1.2.3:8443\"], privateNetworks: [10.1.0.0/16] }",
        ),
        ("webhooks: { hosts: [\"a.example:0\"] }", "no port", "webhooks: { hosts: [\"a.example:1\"] }"),
        (
            "webhooks: { hosts: [https://a.example/] }",
            "a.example",
            "webhooks: { hosts: [\"[2606:4700::1]:8443\"] }",
        ),
        (
            "limits: { trustedProxies: [10.0.0.0/33] }",
            "10.0.0.0/33",
            "limits: { trustedProxies: [10.0.0.0/32] }",
        ),
        ("listen: { public: localhost }", "public", "listen: { public: '127.0.0.1:1' }"),
        ("payload: Tape", "Tape", "payload: Disk"),
        ("publicUrl: relay.example", "publicUrl", "publicUrl: https://relay.example"),
        ("log: { origin: 'a b' }", "log.origin", "log: { origin: a/b }"),
        ("log: { origin: a+b }", "log.origin", "log: { origin: a-b }"),
        ("sector: 'a b'", "sector", "sector: a-b"),
        ("control: { tokenFile: /t }", "operatorCa", "control: { operatorCa: /c }"),
        ("- a\n- b", "relay.yaml", "sector: a"),
    ] {
        let problem = read(wrong).expect_err(wrong);
        assert!(problem.contains(says), "{wrong}: {problem}");
        assert!(read(right).is_ok(), "{right}: {:?}", read(right));
    }
}

fn witnesses(text: &str) -> Result<Settings, String> {
    use paramant_tlog::keys::{CosignatureKey, Ed25519Key, Seed, Signer as _};
    let seed = |n| Seed::new([n; 32]);
    let one = CosignatureKey::from_seed("witness.example/1", &seed(1)).unwrap();
    let two = CosignatureKey::from_seed("witness.example/2", &seed(2)).unwrap();
    let log = Ed25519Key::from_seed("relay.example/log", &seed(3)).unwrap();
    let text = text
        .replace("ONE", &one.verifier().to_string())
        .replace("TWO", &two.verifier().to_string())
        .replace("LOG", &log.verifier().to_string());
    read(&format!("log: {{ witnesses: {{ {text} }} }}"))
}

#[test]
fn witnesses_are_read_with_their_keys_and_addresses() {
    let settings = witnesses(
        "quorum: 2, every: 30s, reach: Courier, members: [{ name: a, publicKey: ONE, url: 'https://w.example/a' }, { name: b, publicKey: TWO, url: 'https://w.example:8443' }]",
    )
    .unwrap();
    let read = settings.witnesses.unwrap();
    assert_eq!((read.quorum, read.every, read.reach), (2, Duration::from_secs(30), Reach::Courier));
    let places: Vec<_> = read.members.iter().map(|member| member.url.authority()).collect();
    assert_eq!(places, ["w.example:443", "w.example:8443"]);
    let plain = witnesses("quorum: 1, members: [{ name: a, publicKey: ONE, url: 'http://127.0.0.1:7380' }]");
    let plain = plain.unwrap().witnesses.unwrap();
    assert_eq!((plain.every, plain.reach), (Duration::from_secs(20), Reach::Direct));
}

#[test]
fn witnesses_that_cannot_be_asked_or_counted_are_refused() {
    let one = "{ name: a, publicKey: ONE, url: 'https://w.example' }";
    let two = "{ name: b, publicKey: TWO, url: 'https://w.example' }";
    for (wrong, says) in [
        (format!("quorum: 0, members: [{one}]"), "quorum is 0"),
        (format!("quorum: 2, members: [{one}]"), "must be 1 to 1"),
        ("quorum: 1, members: []".to_owned(), "0 entries"),
        (format!("quorum: 1, members: [{one}], every: 1s"), "every"),
        (format!("quorum: 1, members: [{one}], every: 2h"), "every"),
        (format!("quorum: 1, members: [{one}], caBundle: nothing"), "caBundle"),
        (format!("quorum: 1, members: [{one}], retries: 3"), "retries"),
        (format!("quorum: 1, members: [{one}, {}]", one.replace("name: a", "name: b")), "public key"),
        (format!("quorum: 1, members: [{one}, {}]", two.replace("name: b", "name: a")), "taken"),
        (format!("quorum: 1, members: [{}]", one.replace("ONE", "w+00000000+AAAA")), "publicKey of \"a\""),
        (format!("quorum: 1, members: [{}]", one.replace("ONE", "LOG")), "Ed25519"),
        (format!("quorum: 1, members: [{}]", one.replace("https://w.example", "w.example")), "url of \"a\""),
        (format!("quorum: 1, members: [{}]", one.replace("name: a", "name: 'a b'")), "a b"),
    ] {
        let problem = witnesses(&wrong).expect_err(&wrong);
        assert!(problem.contains(says), "{wrong}: {problem}");
    }
    assert!(witnesses(&format!("quorum: 2, members: [{one}, {two}]")).is_ok());
}
