//! Is something answering? Two questions over plain sockets, so that waiting needs no other program.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(500);

/// Whether a connection can be made.
pub(crate) fn connects(address: &str) -> bool {
    connect(address).is_some()
}

/// Whether a plain HTTP request is answered with status 200.
pub(crate) fn answers(address: &str, path: &str) -> bool {
    let ask = || -> Option<String> {
        let mut stream = connect(address)?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // The Accept line is for a registry, which otherwise answers 404 for an OCI manifest.
        let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
            application/vnd.docker.distribution.manifest.v2+json, */*";
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n").ok()?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).ok()?;
        String::from_utf8(status.to_vec()).ok()
    };
    ask().is_some_and(|status| status.ends_with(" 200"))
}

fn connect(address: &str) -> Option<TcpStream> {
    let address: SocketAddr = address.parse().ok()?;
    TcpStream::connect_timeout(&address, PATIENCE).ok()
}
