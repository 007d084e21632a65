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
limits: { maxBlob: 16Mi, maxTtl: 24h, maxInFlight: 2Gi, minFreeDisk: 512Mi, requestsPerMinute: 60, connectionsPerAddress: 8, trustedProxies: [10.0.0.0/8, "fd00::/8"] }
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
    assert_eq!(settings.limits.trusted_proxies.len(), 2);
    assert_eq!(settings.payload, Payload::Memory);
    assert_eq!(settings.termination_grace, Duration::from_secs(30));
}

#[test]
fn a_wrong_setting_is_refused_and_its_nearest_neighbour_is_not() {
    for (wrong, says, right) in [
        ("sektor: x", "sektor", "sector: x"),
        ("limits: { maxBlobs: 5Mi }", "maxBlobs", "limits: { maxBlob: 5Mi }"),
        ("limits: { maxBlob: 5MiB5 }", "5MiB5", "limits: { maxBlob: 5242880 }"),
        ("limits: { maxBlob: 0 }", "limits.maxBlob is 0", "limits: { maxBlob: 1 }"),
        ("limits: { maxTtl: 5parsecs }", "5parsecs", "limits: { maxTtl: 5h }"),
        ("limits: { requestsPerMinute: -1 }", "requestsPerMinute", "limits: { requestsPerMinute: 1 }"),
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
