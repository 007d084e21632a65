//! An HTTP/2 client that sends whatever frames a test wants, in any order and however wrong.
//!
//! What the server sends is read all the while, and its pings and settings are answered, as of a client that is merely wicked
//! and not dead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or a RST_STREAM.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// Whether these are headers that say 200.
    pub fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

/// Keeps a paused clock from jumping far: it goes to the next timer whenever no task runs, past what is on its way through the
/// kernel, such as the answer to a ping.
pub fn in_small_steps() {
    tokio::spawn(async {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that refers to nothing: without indexing, name and value as they are.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// The headers of a request for this path.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    let method = [&[0x02][..], &text(method)].concat();
    [&method[..], &[0x86, 0x04], &text(path), &[0x01], &text("relay.example")].concat()
}

/// A string without Huffman coding, its length as an integer with a prefix of seven bits.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = text.len();
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap());
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap());
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub struct Frames {
    to: Arc<Mutex<OwnedWriteHalf>>,
    from: mpsc::UnboundedReceiver<Frame>,
    pub pings_answered: Arc<AtomicUsize>,
}

impl Frames {
    /// A connection whose settings are these.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), settings).await
    }

    pub async fn over(stream: TcpStream, settings: &[(u16, u32)]) -> Self {
        stream.set_nodelay(true).unwrap();
        let (from, mut to) = stream.into_split();
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        // Before anything is answered.
        to.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).await.unwrap();
        let (sender, inbox) = mpsc::unbounded_channel();
        let (to, pings_answered) = (Arc::new(Mutex::new(to)), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(read(from, to.clone(), sender, pings_answered.clone()));
        Self { to, from: inbox, pings_answered }
    }

    /// Both sides' settings are in force. Before that an answer to the server's would come between other frames.
    pub async fn settled(&mut self) {
        self.until(Duration::from_secs(10), |frame| frame.kind == SETTINGS && frame.flags == ACK)
            .await
            .unwrap();
    }

    /// Sends bytes; whether the connection took them.
    pub async fn raw(&mut self, bytes: &[u8]) -> bool {
        self.to.lock().await.write_all(bytes).await.is_ok()
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(&frame(kind, flags, stream, payload)).await
    }

    pub async fn get(&mut self, stream: u32, path: &str) -> bool {
        self.send(HEADERS, WHOLE, stream, &request("GET", path)).await
    }

    /// The next frame that is like this; `None` when the connection ends before, or it takes too long.
    pub async fn until(&mut self, patience: Duration, like: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let looking = async {
            while let Some(frame) = self.from.recv().await {
                if like(&frame) {
                    return Some(frame);
                }
            }
            None
        };
        timeout(patience, looking).await.ok().flatten()
    }

    /// How the server ended the connection: with this code, or none when it said no code. `None` while it is open.
    pub async fn ended(&mut self, patience: Duration) -> Option<Option<u32>> {
        let mut code = None;
        let looking = async {
            while let Some(frame) = self.from.recv().await {
                if frame.kind == GOAWAY {
                    code = Some(frame.code());
                }
            }
        };
        timeout(patience, looking).await.ok().map(|()| code)
    }

    /// Whether a request on this stream is still answered with 200.
    pub async fn answers(&mut self, stream: u32) -> bool {
        self.get(stream, "/").await
            && self
                .until(Duration::from_secs(20), |frame| frame.stream == stream && frame.is_ok())
                .await
                .is_some()
    }
}

async fn read(
    mut from: OwnedReadHalf,
    to: Arc<Mutex<OwnedWriteHalf>>,
    sender: mpsc::UnboundedSender<Frame>,
    pings: Arc<AtomicUsize>,
) {
    loop {
        let mut head = [0; 9];
        if from.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if from.read_exact(&mut payload).await.is_err() {
            return;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let seen = Frame { kind: head[3], flags: head[4], stream, payload };
        let answer = match (seen.kind, seen.flags & ACK) {
            (PING, 0) => frame(PING, ACK, 0, &seen.payload),
            (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
            _ => Vec::new(),
        };
        if !answer.is_empty() && to.lock().await.write_all(&answer).await.is_ok() && seen.kind == PING {
            pings.fetch_add(1, Ordering::SeqCst);
        }
        if sender.send(seen).is_err() {
            return;
        }
    }
}
