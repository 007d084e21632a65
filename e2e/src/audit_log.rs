//! The API server's audit log as a witness: who asked for what, and what was refused.

use std::{
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

/// One completed request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The user name.
    pub(crate) user: String,
    /// get, list, watch, create, patch, update, delete …
    pub(crate) verb: String,
    /// API group, empty for the core.
    pub(crate) group: String,
    /// Resource with its subresource, as `pods` or `paramantrelays/status`.
    pub(crate) resource: String,
    /// Namespace, empty for cluster scope.
    pub(crate) namespace: String,
    /// Object name where the request named one.
    pub(crate) name: String,
    /// HTTP status of the answer.
    pub(crate) code: u64,
    /// When it was answered.
    pub(crate) at: Timestamp,
    /// Where it came from: the address of a pod, or this machine's.
    pub(crate) source: String,
    /// Whether admission refused it because its namespace is going: allowed by every rule, and nobody could know before.
    pub(crate) namespace_is_going: bool,
}

/// The end of the log now, to read from later.
pub(crate) fn mark(log: &Path) -> Result<u64> {
    Ok(std::fs::metadata(log).with_context(|| format!("no audit log at {}", log.display()))?.len())
}

/// Completed requests since `mark`.
pub(crate) fn since(log: &Path, mark: u64) -> Result<Vec<Request>> {
    let mut file = std::fs::File::open(log)?;
    file.seek(SeekFrom::Start(mark))?;
    let mut requests = Vec::new();
    for line in BufReader::new(file).lines() {
        let Ok(event) = serde_json::from_str::<Value>(&line?) else { continue };
        if event["stage"] == "RequestReceived" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let resource = match object["subresource"].as_str() {
            Some(sub) => format!("{}/{sub}", text(&object["resource"])),
            None => text(&object["resource"]),
        };
        requests.push(Request {
            user: text(&event["user"]["username"]),
            verb: text(&event["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            at: text(&event["stageTimestamp"]).parse().unwrap_or(Timestamp::UNIX_EPOCH),
            source: text(&event["sourceIPs"][0]),
            namespace_is_going: event["annotations"]["authorization.k8s.io/decision"] == "allow"
                && text(&event["responseStatus"]["message"]).contains("because it is being terminated"),
        });
    }
    Ok(requests)
}

impl Request {
    /// Whether it changes something.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}
