//! Runs one case against a relay: makes its keys, takes its steps, and revokes the keys again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::functions::json_of;
use crate::language::{Case, Expect, Read, Send, Step};
use crate::matching::differences;
use crate::relay::ADMIN;
use crate::socket::{self, Sockets};
use crate::value::{Scope, Value, at};
use crate::wire::{Answer, Request, exchange};

/// A request of a case and what it got, for the page about compatibility.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) answer: Answer,
}

/// What came of a case: every answer it saw, and what was not as expected.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seen: Vec<Seen>,
    pub(crate) problem: Option<String>,
}

/// Every case comes from addresses of its own, so that a limit per address which one case reaches stops no other.
static NEXT_ADDRESS: AtomicU32 = AtomicU32::new(1);

fn new_address() -> IpAddr {
    let [_, b, c, d] = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, b.wrapping_add(1), c, d))
}

pub(crate) struct Run {
    relay: SocketAddr,
    address: IpAddr,
    others: BTreeMap<String, IpAddr>,
    scope: Scope,
    sockets: Sockets,
    seen: Vec<Seen>,
}

pub(crate) fn run(case: &Case, relay: SocketAddr) -> Outcome {
    let mut run = Run {
        relay,
        address: new_address(),
        others: BTreeMap::new(),
        scope: Scope::default(),
        sockets: Sockets::default(),
        seen: Vec::new(),
    };
    let problem = run.all(case).err();
    run.sockets.clear();
    run.revoke_keys(case);
    Outcome { seen: run.seen, problem }
}

impl Run {
    fn all(&mut self, case: &Case) -> Result<(), String> {
        self.scope.variables.insert("admin_token".to_owned(), crate::functions::string(ADMIN));
        self.make_keys(case)?;
        self.scope.define(&case.variables)?;
        for (n, step) in case.steps.iter().enumerate() {
            self.step(step).map_err(|problem| format!("step {}: {problem}", n + 1))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(send) => self.send(send).map_err(|problem| format!("{}: {problem}", send.send)),
            Step::Define(define) => self.scope.define(&define.variables),
            Step::Check(check) => {
                let value = self.scope.json(&check.check)?;
                none(differences(
                    &check.is,
                    Some(&value),
                    &self.scope,
                    &format!("the checked {}", check.check),
                ))
            }
            Step::Wait(wait) => {
                std::thread::sleep(Duration::from_millis(wait.wait_ms));
                Ok(())
            }
            Step::Open(open) => {
                let request = self.request(&open.open, open.who.as_deref(), &open.headers)?;
                let (status, socket) = socket::open(self.relay, self.address, &request)?;
                let (method, target) = (request.method, request.target);
                self.seen.push(Seen { method, target, answer: Answer { status, ..Answer::default() } });
                none(differences(&open.status, Some(&json!(status)), &self.scope, "the status"))?;
                match (&open.socket, socket) {
                    (Some(name), Some(socket)) => _ = self.sockets.insert(name.clone(), socket),
                    (Some(_), None) => return Err("no WebSocket was opened".to_owned()),
                    (None, Some(_)) => return Err("a WebSocket was opened".to_owned()),
                    (None, None) => {}
                }
                Ok(())
            }
            Step::Read(read) => self.read(read),
        }
    }

    fn read(&mut self, read: &Read) -> Result<(), String> {
        let socket = self.sockets.get_mut(&read.read).ok_or_else(|| format!("no socket {:?}", read.read))?;
        match (socket::next(socket)?, &read.json, read.closed) {
            (socket::Frame::Text(text), Some(expected), None) => {
                none(differences(expected, Some(&json_of(text.as_bytes())?), &self.scope, "the frame"))
            }
            (socket::Frame::Closed(code), None, Some(expected)) if code == Some(expected) => Ok(()),
            (frame, ..) => Err(format!("not expected on the socket: {frame:?}")),
        }
    }

    fn send(&mut self, send: &Send) -> Result<(), String> {
        if let Some(count) = send.at_once {
            return self.at_once(send, count);
        }
        let began = Instant::now();
        let mut tried = 0;
        loop {
            for _ in 0..send.times.saturating_sub(1) {
                self.once(send)?;
            }
            let answered = self.once(send);
            tried += 1;
            let again = send.tries.is_some_and(|tries| tried < tries)
                || send.within_s.is_some_and(|within| began.elapsed() < Duration::from_secs(within));
            match answered {
                Err(_) if again && send.within_s.is_some() => std::thread::sleep(Duration::from_millis(100)),
                Err(_) if again => {}
                answered => return answered,
            }
        }
    }

    fn once(&mut self, send: &Send) -> Result<(), String> {
        let request = self.prepared(send)?;
        let answer = exchange(self.relay, self.from(send), &request)?;
        let expected = self.expected(&send.expect, &answer);
        if expected.is_ok() {
            self.seen.push(Seen { method: request.method, target: request.target, answer: answer.clone() });
        }
        expected.map_err(|problem| {
            let body = String::from_utf8_lossy(&answer.body);
            let body: String = body.chars().take(300).collect();
            format!("{problem} (answered {} {body})", answer.status)
        })?;
        for (name, source) in &send.capture {
            let value = captured(&answer, source).ok_or_else(|| format!("nothing to capture at {source}"))?;
            self.scope.variables.insert(name.clone(), value);
        }
        Ok(())
    }

    fn at_once(&mut self, send: &Send, count: usize) -> Result<(), String> {
        let (request, relay, from) = (self.prepared(send)?, self.relay, self.from(send));
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..count).map(|_| scope.spawn(|| exchange(relay, from, &request))).collect();
            asked.into_iter().map(|answer| answer.join().unwrap()).collect::<Result<_, _>>()
        })?;
        let mut tally = BTreeMap::new();
        for answer in &answers {
            *tally.entry(answer.status).or_insert(0) += 1;
        }
        if tally == send.tally {
            Ok(())
        } else {
            Err(format!("{count} at once got {tally:?}, not {:?}", send.tally))
        }
    }

    fn from(&mut self, send: &Send) -> IpAddr {
        match &send.from {
            None => self.address,
            Some(name) => *self.others.entry(name.clone()).or_insert_with(new_address),
        }
    }

    fn prepared(&self, send: &Send) -> Result<Request, String> {
        let mut request = self.request(&send.send, send.who.as_deref(), &send.headers)?;
        request.leave_after = send.leave_after;
        request.body = match (&send.json, &send.body) {
            (Some(json), None) => self.scope.json(json)?.to_string().into_bytes(),
            (None, Some(body)) => self.scope.bytes(body)?,
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => return Err("json or body, not both".to_owned()),
        };
        Ok(request)
    }

    fn request(
        &self,
        line: &str,
        who: Option<&str>,
        headers: &BTreeMap<String, Json>,
    ) -> Result<Request, String> {
        let line = self.scope.text(&Json::from(line))?;
        let (method, target) = line.split_once(' ').ok_or("a request is METHOD TARGET")?;
        let mut request =
            Request { method: method.to_owned(), target: target.to_owned(), ..Request::default() };
        match who {
            None => {}
            Some("admin") => request.headers.push(("X-Admin-Token".to_owned(), ADMIN.to_owned())),
            Some(name) => {
                let key = self.scope.text(&Json::from(format!("${{{name}.key}}")))?;
                request.headers.push(("X-Api-Key".to_owned(), key));
            }
        }
        for (name, value) in headers {
            request.headers.push((name.clone(), self.scope.text(value)?));
        }
        Ok(request)
    }

    fn expected(&self, expect: &Expect, answer: &Answer) -> Result<(), String> {
        let scope = &self.scope;
        let mut found = Vec::new();
        if let Some(status) = &expect.status {
            found.extend(differences(status, Some(&json!(answer.status)), scope, "the status"));
        }
        for (name, value) in &expect.headers {
            let there = answer.header(name).map(Json::String);
            found.extend(differences(value, there.as_ref(), scope, &format!("the header {name}")));
        }
        if let Some(bytes) = &expect.head_bytes {
            found.extend(differences(bytes, Some(&json!(answer.head_bytes)), scope, "the head's bytes"));
        }
        if let Some(names) = &expect.header_names {
            let there: Vec<&String> = answer.headers.iter().map(|(name, _)| name).collect();
            found.extend(differences(names, Some(&json!(there)), scope, "the names of headers"));
        }
        if let Some(json) = &expect.json {
            match json_of(&answer.body) {
                Ok(there) => found.extend(differences(json, Some(&there), scope, "json")),
                Err(error) => found.push(error),
            }
        }
        if let Some(text) = &expect.text {
            let there = Json::String(String::from_utf8_lossy(&answer.body).into_owned());
            found.extend(differences(text, Some(&there), scope, "the text"));
        }
        if let Some(body) = &expect.body
            && scope.bytes(body)? != answer.body
        {
            found.push(format!("the body of {} bytes is another", answer.body.len()));
        }
        none(found)
    }

    fn make_keys(&mut self, case: &Case) -> Result<(), String> {
        // Accounts before further keys of theirs.
        let (own, further): (Vec<_>, Vec<_>) =
            case.accounts.iter().partition(|(_, account)| account.same_account_as.is_none());
        for (name, account) in own.into_iter().chain(further) {
            let mut body = json!({});
            if let Some(plan) = &account.plan {
                body["plan"] = json!(plan);
            }
            if let Some(label) = &account.label {
                body["label"] = json!(label);
            }
            if let Some(other) = &account.same_account_as {
                body["account_id"] = self.scope.json(&json!(format!("${{{other}.account_id}}")))?;
            }
            let made = self.admin("/v2/admin/keys", &body)?;
            if made.status != 200 {
                let said = String::from_utf8_lossy(&made.body);
                return Err(format!("the key of {name} was not made: {} {said}", made.status));
            }
            self.scope.variables.insert(name.clone(), Value::Json(json_of(&made.body)?));
        }
        Ok(())
    }

    /// Free again what the Community cap counts.
    fn revoke_keys(&self, case: &Case) {
        for name in case.accounts.keys() {
            if let Ok(key) = self.scope.text(&Json::from(format!("${{{name}.key}}"))) {
                let _ = self.admin("/v2/admin/keys/revoke", &json!({ "key": key }));
            }
        }
    }

    fn admin(&self, target: &str, body: &Json) -> Result<Answer, String> {
        let request = Request {
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: vec![("X-Admin-Token".to_owned(), ADMIN.to_owned())],
            body: body.to_string().into_bytes(),
            leave_after: None,
        };
        exchange(self.relay, self.address, &request)
    }
}

fn captured(answer: &Answer, source: &str) -> Option<Value> {
    match source.split_once('.').unwrap_or((source, "")) {
        ("status", "") => Some(Value::Json(json!(answer.status))),
        ("body", "") => Some(Value::Bytes(answer.body.clone())),
        ("json", path) => at(&json_of(&answer.body).ok()?, path).cloned().map(Value::Json),
        ("header", name) => answer.header(name).map(crate::functions::string),
        _ => None,
    }
}

fn none(found: Vec<String>) -> Result<(), String> {
    if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
}
