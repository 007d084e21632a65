//! `GET /v2/health/deep`: how each part is, for people and their monitors; a cluster asks `/readyz` on the probes' port.
//!
//! Public, so no detail holds a number, a name or an address; and cheap, whoever asks how often.

use axum::Json;
use axum::extract::State;
use paramant_protocol::control::{DrainState, FenceState};
use serde_json::{Value, json};

use crate::app::{App, Shared};
use crate::process::MemoryUse;
use crate::public::credentials::Anyone;

/// Hundredths of its memory that a relay may take without a remark, and without alarm.
const MEMORY: (u64, u64) = (80, 95);

/// One part, and how it is.
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Green,
    Yellow,
    Red,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }
}

fn check(name: &'static str, status: Status, detail: impl Into<String>) -> Check {
    Check { name, status, detail: detail.into() }
}

pub(super) async fn deep(State(app): State<Shared>, _: Anyone) -> Json<Value> {
    let (storage, audit) = (app.store.reads_blobs().await.is_ok(), app.store.reads_audit().await.is_ok());
    let checks = [
        relay(&app),
        check("crypto", Status::Green, "ML-KEM-768, ML-DSA-65"),
        readable(
            "storage",
            storage,
            "rows can be read",
            "the database cannot be read; the relay's log says why",
        ),
        disk(&app),
        memory(MemoryUse::now()),
        tls(app.core.settings.current().public_url.as_deref()),
        users(&app),
        readable(
            "audit",
            audit,
            "every account's chain is durable and can be read",
            "audit chains cannot be read; the relay's log says why",
        ),
        log(&app),
        settings(&app),
    ];
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Green);
    let shown =
        |check: &Check| json!({ "name": check.name, "status": check.status.word(), "detail": check.detail });
    Json(json!({
        "overall": worst.word(),
        "version": crate::VERSION,
        "sector": app.core.settings.current().sector,
        "checks": checks.iter().map(shown).collect::<Vec<_>>(),
    }))
}

fn relay(app: &App) -> Check {
    let drained = app.core.drain.report().state != DrainState::Serving;
    match app.core.readiness.reasons().into_iter().next() {
        Some(reason) => check("relay", Status::Red, reason),
        None if drained => check("relay", Status::Yellow, "new uploads are refused: the relay is drained"),
        None => check("relay", Status::Green, "serving"),
    }
}

fn readable(name: &'static str, is: bool, yes: &str, no: &str) -> Check {
    if is { check(name, Status::Green, yes) } else { check(name, Status::Red, no) }
}

fn disk(app: &App) -> Check {
    let least = app.core.settings.current().limits.min_free_disk;
    match app.store.free_bytes().is_some_and(|free| free >= least) {
        true => check("disk", Status::Green, "there is room for uploads"),
        false => check("disk", Status::Red, "uploads are refused: too little of the volume is free"),
    }
}

fn memory(now: Option<MemoryUse>) -> Check {
    let (remark, alarm) = MEMORY;
    match now.map(|now| now.percent()) {
        None => check("memory", Status::Yellow, "this system does not say how much is taken"),
        Some(percent) if percent >= alarm => {
            check("memory", Status::Red, "almost all that this process may have is taken")
        }
        Some(percent) if percent >= remark => {
            check("memory", Status::Yellow, "most of what this process may have is taken")
        }
        Some(_) => check("memory", Status::Green, "there is room"),
    }
}

/// What people are told to use; whether TLS ends here or at a gateway, the relay cannot say of others' connections.
fn tls(public_url: Option<&str>) -> Check {
    match public_url {
        Some(url) if url.starts_with("https://") => {
            check("tls", Status::Green, "the public address is https")
        }
        Some(_) => {
            check("tls", Status::Yellow, "the public address is not https: API keys can be read on the way")
        }
        None => check("tls", Status::Yellow, "no public address is set: nothing says how clients come here"),
    }
}

fn users(app: &App) -> Check {
    let most = app.store.licenses.current().state.cap().limit();
    match most.is_some_and(|most| app.store.active_users() >= most) {
        true => check(
            "users",
            Status::Yellow,
            "as many accounts are active as the licence allows: none can be added",
        ),
        false => check("users", Status::Green, "accounts can be added"),
    }
}

fn log(app: &App) -> Check {
    match app.core.log.guard().report().state {
        FenceState::Signing => check("log", Status::Green, "heads are signed"),
        FenceState::Waiting => check(
            "log",
            Status::Yellow,
            "heads are not signed yet: the relay waits to hear what others remember of its log",
        ),
        FenceState::Refused => {
            check("log", Status::Red, "heads are not signed: others remember another log than this one")
        }
    }
}

fn settings(app: &App) -> Check {
    match app.core.settings.file_refused() {
        true => {
            check("settings", Status::Yellow, "the settings file is refused; older settings are in force")
        }
        false => check("settings", Status::Green, "the settings file is in force"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_tls_turn_yellow_and_red_where_they_should() {
        let taken = |resident| memory(Some(MemoryUse { resident, anonymous: 0, limit: 1000 })).status;
        assert_eq!([0, 799, 800, 949, 950, 5000].map(taken), {
            use Status::{Green, Red, Yellow};
            [Green, Green, Yellow, Yellow, Red, Red]
        });
        assert_eq!(memory(None).status, Status::Yellow);
        assert_eq!(tls(Some("https://a.example")).status, Status::Green);
        assert_eq!(tls(Some("http://a.example")).status, Status::Yellow);
        assert_eq!(tls(None).status, Status::Yellow);
        assert!(Status::Red > Status::Yellow && Status::Yellow > Status::Green);
    }
}
