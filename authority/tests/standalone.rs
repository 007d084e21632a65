//! The program by itself, as docs/authority.md sets it up: a key, a licence, a server, a question over TLS, the record of it.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use paramant_licensing::OnlineKey;
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_licensing::online::reply::{Reply, accept};
use paramant_licensing::online::request::{CheckIn, digest};
use paramant_licensing::online::telemetry::Telemetry;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn authority(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramant-authority"));
    command.args(arguments).stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Standard output of a command that must succeed, fed with `input`.
fn said(arguments: &[&str], input: &str) -> String {
    let mut child = authority(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Listens somewhere, and says where.
fn serve(data: &str, certificate: &Path, key: &Path) -> (Server, String) {
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let arguments =
        ["serve", "--data", data, "--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let mut child = authority(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("127.0.0.1:")).unwrap().unwrap();
    // The rest is read too, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    let port: String =
        line.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    (Server(child), format!("127.0.0.1:{port}"))
}

/// Status and body.
fn post(address: &str, roots: RootCertStore, body: &[u8]) -> (u16, Vec<u8>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let head = format!(
        "POST /v1/license/check HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

#[test]
fn a_licence_is_sold_served_and_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("authority").display().to_string();
    let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, private) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, identity.cert.pem()).unwrap();
    std::fs::write(&private, identity.signing_key.serialize_pem()).unwrap();
    let roots = || {
        let mut roots = RootCertStore::empty();
        roots.add(identity.cert.der().clone()).unwrap();
        roots
    };

    let added = said(&["key", "add", "--data", &data, "--seed-file", "/dev/stdin"], &"2a".repeat(32));
    let words: Vec<&str> = added.split_whitespace().collect();
    assert_eq!(said(&["key", "list", "--data", &data], ""), added);
    let pinned = LicensingKeys::of([LicensingKey {
        public: hex::decode(words[0]).unwrap(),
        not_after: words[1].parse().unwrap(),
    }]);
    let sold = said(&["license", "sell", "--data", &data, "--customer", "Acme", "--tier", "pro"], "");
    let key = OnlineKey::parse(&sold).unwrap();

    let (mut server, address) = serve(&data, &certificate, &private);
    let ask = |nonce: u8| {
        CheckIn::new(&key, &"ab".repeat(32), "0.1.0", [nonce; 16], Telemetry::off()).to_bytes().unwrap()
    };
    let (status, body) = post(&address, roots(), &ask(1));
    let first = accept(&body, Some(status), &ask(1), &pinned, 0).unwrap();
    assert_eq!(first.get().set().unwrap().capabilities.max_users, 50);
    assert_eq!(post(&address, roots(), b"not a request").0, 400);

    // Every command works while the server runs; the key comes by a pipe and is on no command line.
    said(&["license", "revoke", "--data", &data, "--key-file", "/dev/stdin"], &sold);
    let (status, body) = post(&address, roots(), &ask(2));
    let second = accept(&body, Some(status), &ask(2), &pinned, first.get().sequence()).unwrap();
    assert!(status == 410 && matches!(second.get(), Reply::Refusal(_)), "{status}");
    let record = said(&["record", "--data", &data], "");
    for nonce in [1, 2] {
        assert!(record.contains(&digest(&ask(nonce))), "{record}");
    }
    assert!(!record.contains(key.expose()));

    // Told to end it ends, and what it answered is still there.
    let told = Command::new("kill").args(["-s", "TERM", &server.0.id().to_string()]).status().unwrap();
    assert!(told.success() && server.0.wait().unwrap().success());
    assert_eq!(said(&["record", "--data", &data], ""), record);
}
