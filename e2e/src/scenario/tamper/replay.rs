//! A recording HTTP server that can lie about one bit.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context, Result, bail};

/// Where a bit is flipped.
#[derive(Clone, Debug)]
pub(crate) struct Flip {
    path: String,
    byte: usize,
    bit: u8,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tile,
    Bundle,
    CheckpointBody,
    Ed25519Line,
    OtherLine,
    TreeHead,
    LegacyRoot,
}

impl Flip {
    pub(crate) fn judged_by_both(&self) -> bool {
        !matches!(self.kind, Kind::OtherLine | Kind::TreeHead | Kind::LegacyRoot)
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "bit {} of byte {} of {} flipped ({:?})", self.bit, self.byte, self.path, self.kind)
    }
}

#[derive(Clone)]
struct Answer {
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    frozen: bool,
    flip: Option<Flip>,
}

/// The server.
pub(crate) struct Replay {
    /// Base URL.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Replay {
    /// Listens on loopback and fetches from `upstream` what it has not seen yet; everything is kept from its first answer on.
    pub(crate) fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, upstream) = (state.clone(), upstream.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (shared, upstream) = (shared.clone(), upstream.clone());
                thread::spawn(move || serve(&stream, &shared, &upstream));
            }
        });
        Ok(Replay { url, state })
    }

    /// From now on nothing is fetched; what was not seen is 404.
    pub(crate) fn freeze(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.frozen = true;
        }
    }

    /// Lies about this bit from now on.
    pub(crate) fn set(&self, flip: Option<Flip>) {
        if let Ok(mut state) = self.state.lock() {
            state.flip = flip;
        }
    }

    /// Flips spread over every kind of answer that was recorded: `both` where both auditors judge, `ours` elsewhere.
    pub(crate) fn flips(&self, both: usize, ours: usize, seed: &[u8]) -> Result<Vec<Flip>> {
        let state = self.state.lock().map_err(|_| anyhow::anyhow!("the replay server panicked"))?;
        let mut spots: BTreeMap<&str, Vec<Flip>> = BTreeMap::new();
        let mut add = |group: &'static str, path: &str, range: std::ops::Range<usize>, kind: Kind| {
            spots.entry(group).or_default().extend(range.map(|byte| Flip {
                path: path.to_owned(),
                byte,
                bit: 0,
                kind,
            }));
        };
        for (path, answer) in state.answers.iter().filter(|(_, answer)| answer.status == 200) {
            let body = &answer.body;
            if path.starts_with("/log/tile/entries/") {
                add("bundle", path, 0..body.len(), Kind::Bundle);
            } else if path.starts_with("/log/tile/") {
                add("tile", path, 0..body.len(), Kind::Tile);
            } else if path == "/log/checkpoint" {
                let text = String::from_utf8_lossy(body);
                let end = text.find("\n\n").context("the checkpoint has no signatures")? + 1;
                add("checkpoint", path, 0..end, Kind::CheckpointBody);
                let mut at = end + 1;
                for line in text.get(at..).unwrap_or_default().split_inclusive('\n') {
                    let signature = line.trim_end().rsplit(' ').next().unwrap_or_default();
                    let first = at + line.trim_end().len() - signature.len();
                    let kind = if signature.len() < 110 { Kind::Ed25519Line } else { Kind::OtherLine };
                    let group = if kind == Kind::Ed25519Line { "ed25519" } else { "other line" };
                    // The last characters carry unused bits, which readers outside this project do not look at.
                    add(group, path, first..first + signature.len().saturating_sub(3), kind);
                    at += line.len();
                }
            } else if path.starts_with("/v2/sth") {
                for (first, last) in values_of(body, &["sha3_root", "signature"]) {
                    add("tree head", path, first..last, Kind::TreeHead);
                }
            } else if path.starts_with("/v2/ct") {
                for (first, last) in values_of(body, &["root"]) {
                    add("legacy root", path, first..last, Kind::LegacyRoot);
                }
            }
        }
        for group in ["bundle", "tile", "checkpoint", "ed25519", "other line", "tree head", "legacy root"] {
            if !spots.contains_key(group) {
                bail!(
                    "nobody read anything to flip for “{group}”; the replay saw {:?}",
                    state.answers.keys()
                );
            }
        }
        let (judged_by_both, judged_by_ours): (Vec<_>, Vec<_>) =
            spots.values().partition(|group| group.first().is_some_and(Flip::judged_by_both));
        let mut random =
            Random(seed.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
                (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            }));
        let turns = (0..both)
            .filter_map(|turn| judged_by_both.get(turn % judged_by_both.len()))
            .chain((0..ours).filter_map(|turn| judged_by_ours.get(turn % judged_by_ours.len())));
        let mut flips = Vec::with_capacity(both + ours);
        for group in turns {
            let Some(spot) = group.get(random.below(group.len())) else { continue };
            // Bit 5 turns a letter's case; any of the lower five changes any character to another one.
            let bit = if matches!(spot.kind, Kind::Tile | Kind::Bundle) {
                random.below(8)
            } else {
                random.below(5)
            };
            flips.push(Flip { bit: u8::try_from(bit).unwrap_or(0), ..spot.clone() });
        }
        Ok(flips)
    }
}

/// The byte ranges of the string values of these keys in a JSON text.
fn values_of(body: &[u8], keys: &[&str]) -> Vec<(usize, usize)> {
    let text = String::from_utf8_lossy(body);
    let mut found = Vec::new();
    for key in keys {
        let mark = format!("\"{key}\":\"");
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(&mark)) {
            let first = from + at + mark.len();
            let length = text.get(first..).and_then(|rest| rest.find('"')).unwrap_or(0);
            found.push((first, first + length));
            from = first + length;
        }
    }
    found
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

fn serve(stream: &TcpStream, shared: &Mutex<State>, upstream: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 || header == "\r\n" {
            break;
        }
    }
    let known = shared.lock().ok()?.answers.get(&path).cloned();
    let answer = match known {
        Some(answer) => answer,
        None if shared.lock().ok()?.frozen => {
            Answer { status: 404, content_type: "text/plain".into(), body: b"not recorded\n".to_vec() }
        }
        None => {
            let fetched = fetch(upstream, &path).ok()?;
            shared.lock().ok()?.answers.entry(path.clone()).or_insert(fetched).clone()
        }
    };
    let mut body = answer.body;
    if let Some(flip) = shared.lock().ok()?.flip.as_ref().filter(|flip| flip.path == path)
        && let Some(byte) = body.get_mut(flip.byte)
    {
        *byte ^= 1 << flip.bit;
    }
    let head = format!(
        "HTTP/1.1 {} Answer\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        body.len()
    );
    let mut out = stream;
    out.write_all(head.as_bytes()).ok()?;
    out.write_all(&body).ok()
}

fn fetch(upstream: &str, path: &str) -> Result<Answer> {
    let answer = crate::relay::client()?.get(format!("{upstream}{path}")).send()?;
    let status = answer.status().as_u16();
    let content_type = answer
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream")
        .to_owned();
    Ok(Answer { status, content_type, body: answer.bytes()?.to_vec() })
}
