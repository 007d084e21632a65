//! One WebSocket from its first word to its last.
//!
//! The relay speaks, the client listens: what it sends is read only to notice that it lives. Every wait has an end: for the peer
//! to take a word, for it to answer a ping, for the closing handshake.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use paramant_protocol::moment;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_util::sync::CancellationToken;

use super::{Seat, told_to_end};

/// Between two pings; a peer that was silent for two of them is gone.
const PING: Duration = Duration::from_secs(30);
const SILENT_PINGS: u32 = 2;
/// How long a peer may take to accept one word of a few hundred bytes.
const SEND: Duration = Duration::from_secs(10);
/// How long a peer may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// A client has nothing to say but pongs, its goodbye, and perhaps pings of its own.
const MAX_MESSAGE: usize = 1024;
/// Frames a client may send between two pings.
const MAX_FRAMES: u32 = 60;

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The peer left.
    Left,
    /// The relay is ending.
    Closing,
    /// Its key was revoked.
    KeyRevoked,
    /// It takes words more slowly than they come, or none at all.
    TooSlow,
    /// It answered no ping.
    Silent,
    /// It sent more than a listener has to say.
    TooMuch,
    /// What it sent is no WebSocket.
    Garbled,
}

impl Ending {
    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closing => "closing",
            Self::KeyRevoked => "key-revoked",
            Self::TooSlow => "too-slow",
            Self::Silent => "silent",
            Self::TooMuch => "too-much",
            Self::Garbled => "garbled",
        }
    }

    /// What the peer is told; nothing when it is not there to hear it.
    fn goodbye(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Left | Self::Silent => return None,
            Self::Closing => (CloseCode::Away, "the relay is ending"),
            Self::KeyRevoked => (CloseCode::Library(4401), "the key was revoked"),
            Self::TooSlow => (CloseCode::Policy, "too slow; ask /v2/stream-next for what was missed"),
            Self::TooMuch => (CloseCode::Size, "this stream takes nothing from its client"),
            Self::Garbled => (CloseCode::Protocol, "this is no WebSocket"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

/// Small buffers: a word is some 300 bytes, and what comes in is not kept.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(2 * MAX_MESSAGE)
        .write_buffer_size(0)
        .max_write_buffer_size(64 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

pub(super) struct Session<S> {
    socket: WebSocketStream<S>,
    seat: Seat,
    closing: CancellationToken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(socket: WebSocketStream<S>, seat: Seat, closing: CancellationToken) -> Self {
        Self { socket, seat, closing }
    }

    pub(super) async fn run(mut self) -> Ending {
        let ending = self.talk().await;
        let Self { mut socket, seat, .. } = self;
        // Its place is free from here on; the goodbye has an end of its own.
        drop(seat);
        if let Some(frame) = ending.goodbye() {
            let goodbye = async {
                socket.close(Some(frame)).await?;
                while socket.next().await.transpose()?.is_some() {}
                Ok::<_, Error>(())
            };
            drop(timeout(GOODBYE, goodbye).await);
        }
        ending
    }

    async fn talk(&mut self) -> Ending {
        let connected = json!({ "type": "connected", "ts": moment::millis(Timestamp::now()) }).to_string();
        if let Err(ending) = self.send(Message::Text(connected.into())).await {
            return ending;
        }
        let mut pings = interval_at(Instant::now() + PING, PING);
        let (mut unanswered, mut frames) = (0, 0);
        loop {
            let word = tokio::select! {
                () = self.closing.cancelled() => return Ending::Closing,
                ending = told_to_end(&mut self.seat.end) => return ending,
                _ = pings.tick() => {
                    if unanswered >= SILENT_PINGS {
                        return Ending::Silent;
                    }
                    (unanswered, frames) = (unanswered + 1, 0);
                    Message::Ping(Bytes::new())
                }
                heard = self.socket.next() => match heard {
                    Some(Ok(Message::Close(_))) | None => return Ending::Left,
                    Some(Ok(_)) if frames >= MAX_FRAMES => return Ending::TooMuch,
                    Some(Ok(_)) => {
                        (unanswered, frames) = (0, frames + 1);
                        continue;
                    }
                    Some(Err(Error::Capacity(_))) => return Ending::TooMuch,
                    Some(Err(Error::Protocol(_) | Error::Utf8(_))) => return Ending::Garbled,
                    Some(Err(_)) => return Ending::Left,
                },
                words = self.seat.inbox.recv() => match words {
                    Some(words) => Message::Text(words),
                    None => return Ending::Closing,
                },
            };
            if let Err(ending) = self.send(word).await {
                return ending;
            }
        }
    }

    /// Hands one frame to the network. Whoever ends this stream is heard while it waits.
    async fn send(&mut self, word: Message) -> Result<(), Ending> {
        let Self { socket, seat, closing } = self;
        let sending = timeout(SEND, socket.send(word));
        tokio::select! {
            () = closing.cancelled() => Err(Ending::Closing),
            ending = told_to_end(&mut seat.end) => Err(ending),
            sent = sending => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Ending::Left),
                Err(_) => Err(Ending::TooSlow),
            },
        }
    }
}
