//! WebSockets of a case, by the names it gave them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};

use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::{Error, Message, WebSocket};

use crate::wire::{Request, connect};

pub(crate) type Sockets = BTreeMap<String, WebSocket<TcpStream>>;

/// What a relay sent.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(String),
    Closed(Option<u16>),
    /// The connection ended without a close frame, or something came that clients do not read.
    Other(#[allow(dead_code, reason = "shown when a case fails")] String),
}

/// The status of the handshake, and the socket when it was accepted.
pub(crate) fn open(
    relay: SocketAddr,
    from: IpAddr,
    request: &Request,
) -> Result<(u16, Option<WebSocket<TcpStream>>), String> {
    let stream = connect(relay, from).map_err(|error| error.to_string())?;
    let mut asked =
        format!("ws://{relay}{}", request.target).into_client_request().map_err(|error| error.to_string())?;
    for (name, value) in &request.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("no header name: {name}"))?;
        let value: HeaderValue = value.parse().map_err(|_| format!("no header value: {value}"))?;
        asked.headers_mut().insert(name, value);
    }
    match tungstenite::client::client(asked, stream) {
        Ok((socket, answer)) => Ok((answer.status().as_u16(), Some(socket))),
        Err(HandshakeError::Failure(Error::Http(answer))) => Ok((answer.status().as_u16(), None)),
        Err(error) => Err(format!("{}: {error}", request.target)),
    }
}

pub(crate) fn next(socket: &mut WebSocket<TcpStream>) -> Result<Frame, String> {
    loop {
        return Ok(match socket.read() {
            // Answering a ping is the library's business.
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Text(text)) => Frame::Text(text.as_str().to_owned()),
            Ok(Message::Close(close)) => Frame::Closed(close.map(|close| close.code.into())),
            Ok(other) => Frame::Other(format!("{other:?}")),
            Err(Error::ConnectionClosed) => Frame::Closed(None),
            Err(error) => Frame::Other(error.to_string()),
        });
    }
}
