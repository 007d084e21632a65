//! A relay of a few lines: one blob, one receipt, and whatever is told to go wrong.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it serves. Change it between two commands.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) hash: String,
    pub(crate) blob: Vec<u8>,
    /// How often it can be read.
    pub(crate) views: usize,
    pub(crate) receipt: String,
    pub(crate) identity: String,
    /// The status that `GET /v2/pubkey` answers with instead.
    pub(crate) identity_refused: Option<u16>,
    /// A directory whose files are served under `/log/`.
    pub(crate) log: Option<std::path::PathBuf>,
    /// Runs before the blob is given.
    pub(crate) meanwhile: Option<Box<dyn FnMut() + Send>>,
}

pub(crate) struct FakeRelay {
    pub(crate) url: String,
    pub(crate) served: Arc<Mutex<Served>>,
}

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl FakeRelay {
    pub(crate) fn start(served: Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Mutex::new(served));
        let shared = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &shared);
            }
        });
        Self { url, served }
    }

    pub(crate) fn views(&self) -> usize {
        self.served.lock().unwrap().views
    }
}

fn answer(stream: TcpStream, served: &Mutex<Served>) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let Answer { status, headers, body } = route(path, &mut served.lock().unwrap());
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    );
    let mut stream = reader.into_inner();
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)); // the client may have left
}

fn route(path: &str, served: &mut Served) -> Answer {
    let json = |text: String| Answer { status: 200, headers: String::new(), body: text.into_bytes() };
    let refused = |status| Answer { status, headers: String::new(), body: Vec::new() };
    let hash = &served.hash;
    if path == "/v2/pubkey" {
        return served.identity_refused.map_or_else(|| json(served.identity.clone()), refused);
    }
    if let (Some(log), Some(name)) = (&served.log, path.strip_prefix("/log/")) {
        return match std::fs::read(log.join(name)) {
            Ok(body) => Answer { status: 200, headers: String::new(), body },
            Err(_) => refused(404),
        };
    }
    if path == format!("/v2/status/{hash}") {
        let there = format!(r#"{{"available":true,"bytes":{}}}"#, served.blob.len());
        return json(if served.views > 0 { there } else { r#"{"available":false}"#.into() });
    }
    if path != format!("/v2/outbound/{hash}") || served.views == 0 {
        return refused(404);
    }
    served.views -= 1;
    if let Some(meanwhile) = &mut served.meanwhile {
        meanwhile();
    }
    let headers =
        format!("x-paramant-burned: {}\r\nx-paramant-receipt: {}\r\n", served.views == 0, served.receipt);
    Answer { status: 200, headers, body: served.blob.clone() }
}
