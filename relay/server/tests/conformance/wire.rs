//! HTTP/1.1 as it is on the wire: one connection per request, nothing folded, renamed or followed, so that a case can speak of
//! the bytes of a head and the spelling of a name, and can leave in the middle of a body.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Longer than any answer takes on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Leave after this many bytes of the body.
    pub(crate) leave_after: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As written, in their order.
    pub(crate) headers: Vec<(String, String)>,
    /// Bytes of the whole head, status line included.
    pub(crate) head_bytes: usize,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header, whatever its spelling; several are joined as HTTP joins them.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let same = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.clone()).reduce(|all, next| format!("{all}, {next}"))
    }
}

/// A connection to the relay from an address of this machine.
pub(crate) fn connect(relay: SocketAddr, from: IpAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&relay.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn exchange(relay: SocketAddr, from: IpAddr, request: &Request) -> Result<Answer, String> {
    talk(relay, from, request).map_err(|error| format!("{} {}: {error}", request.method, request.target))
}

fn talk(relay: SocketAddr, from: IpAddr, request: &Request) -> std::io::Result<Answer> {
    let mut stream = connect(relay, from)?;
    let mut head =
        format!("{} {} HTTP/1.1\r\nhost: {relay}\r\nconnection: close\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT") {
        head.push_str(&format!("content-length: {}\r\n", request.body.len()));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A relay may answer and close before it took a body it does not want: the answer counts.
    let sent = stream.write_all(&request.body).and_then(|()| stream.flush());
    let mut reader = BufReader::new(stream);
    match read(&mut reader, request) {
        Ok(answer) => Ok(answer),
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

fn read(reader: &mut BufReader<TcpStream>, request: &Request) -> std::io::Result<Answer> {
    let mut answer = Answer::default();
    let first = line(reader, &mut answer.head_bytes)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    answer.status = status.ok_or_else(|| wrong(format!("no status line: {first:?}")))?;
    loop {
        let line = line(reader, &mut answer.head_bytes)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong(format!("no header: {line:?}")))?;
        answer.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if request.method == "HEAD" || matches!(answer.status, 100..=199 | 204 | 304) {
        return Ok(answer);
    }
    let length = answer.header("content-length").and_then(|length| length.parse::<u64>().ok());
    if let Some(leave) = request.leave_after {
        let mut some = vec![0; leave];
        reader.read_exact(&mut some)?;
        answer.body = some;
    } else if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        answer.body = chunked(reader)?;
    } else if let Some(length) = length {
        reader.take(length).read_to_end(&mut answer.body)?;
        if answer.body.len() as u64 != length {
            return Err(wrong(format!("{} of {length} bytes, then the end", answer.body.len())));
        }
    } else {
        reader.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

fn chunked(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let (mut body, mut ignored) = (Vec::new(), 0);
    loop {
        let size = line(reader, &mut ignored)?;
        let size = size.split(';').next().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or_else(|| wrong("no chunk size".to_owned()))?;
        let before = body.len() as u64;
        reader.by_ref().take(size).read_to_end(&mut body)?;
        if body.len() as u64 - before != size {
            return Err(wrong("the end within a chunk".to_owned()));
        }
        while !line(reader, &mut ignored)?.is_empty() {}
        if size == 0 {
            return Ok(body);
        }
    }
}

fn line(reader: &mut BufReader<TcpStream>, count: &mut usize) -> std::io::Result<String> {
    let mut line = Vec::new();
    *count += reader.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\r\n") {
        return Err(wrong("the end within a line".to_owned()));
    }
    line.truncate(line.len() - 2);
    // Header bytes are Latin-1 or UTF-8; a case compares text.
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn wrong(problem: String) -> std::io::Error {
    std::io::Error::other(problem)
}
