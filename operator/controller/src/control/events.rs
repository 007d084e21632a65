//! Server-sent events, as much of them as the control interface uses: `event:` and `data:` lines, comments, blank lines.
//!
//! A push parser: bytes in, whole events out. An event is bounded, so that a misbehaving relay cannot make the operator
//! hold more than [`MAX_EVENT`] of it. Lines end with LF or CR LF.

/// A relay's state is a few kilobytes; its checkpoint is the largest part.
pub const MAX_EVENT: usize = 256 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty when it has none.
    pub name: String,
    /// Its data, lines joined with LF.
    pub data: String,
}

/// The relay sent more than an event may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay sent an event of more than {MAX_EVENT} bytes")]
pub struct TooLong;

/// Collects bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Takes bytes as they come and returns the events they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for chunk in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.data.len() + chunk.len() > MAX_EVENT {
                return Err(TooLong);
            }
            self.line.extend_from_slice(chunk);
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                events.extend(self.take_line(&String::from_utf8_lossy(&line)));
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        let line = line.trim_end_matches('\n').trim_end_matches('\r');
        if line.is_empty() {
            let event = Event { name: std::mem::take(&mut self.name), data: std::mem::take(&mut self.data) };
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const TEXT: &str =
        ": hello\n\nevent: state\ndata: {\"a\":1}\n\nid: 7\r\nevent:state\r\ndata: {\r\ndata: }\r\n\r\n:\n\n";

    fn expected() -> Vec<Event> {
        let event = |data: &str| Event { name: "state".to_owned(), data: data.to_owned() };
        vec![event("{\"a\":1}"), event("{\n}")]
    }

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        for size in 1..TEXT.len() {
            let mut parser = Parser::default();
            let events: Vec<_> =
                TEXT.as_bytes().chunks(size).flat_map(|chunk| parser.push(chunk).unwrap()).collect();
            assert_eq!(events, expected(), "cut every {size} bytes");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(1000));
        let outcome = (0..300).try_for_each(|_| parser.push(line.as_bytes()).map(|_| ()));
        assert_eq!(outcome, Err(TooLong));
        assert_eq!(Parser::default().push(&vec![b'x'; MAX_EVENT + 1]), Err(TooLong));
    }
}
