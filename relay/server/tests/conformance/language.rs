//! The files of `docs/spec/conformance` as they are written. A word that is not in the language is refused: a misspelt
//! expectation must not be one that always holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value as Json;

/// One file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// Rules and endpoints of `rules.yaml` that it proves.
    pub(crate) proves: Vec<String>,
    /// One sentence.
    pub(crate) says: String,
    /// The set-up of the relay it needs, by its name in `relays.yaml`.
    #[serde(default = "plain")]
    pub(crate) relay: String,
    /// It needs a relay that no other case has talked to.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Keys made before it begins.
    #[serde(default)]
    pub(crate) accounts: BTreeMap<String, Account>,
    #[serde(default, rename = "let")]
    pub(crate) variables: BTreeMap<String, Json>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) plan: Option<String>,
    pub(crate) label: Option<String>,
    /// A further key of the account of that name.
    pub(crate) same_account_as: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Json")]
pub(crate) enum Step {
    Send(Box<Send>),
    Define(Define),
    Check(Check),
    Wait(Wait),
    Open(Box<Open>),
    Read(Read),
}

impl TryFrom<Json> for Step {
    type Error = String;

    /// The first word of a step says which it is.
    fn try_from(json: Json) -> Result<Self, String> {
        fn as_one<T: serde::de::DeserializeOwned>(json: &Json) -> Result<T, String> {
            serde_json::from_value(json.clone()).map_err(|error| format!("{error} in the step {json}"))
        }
        let has = |word: &str| json.get(word).is_some();
        match () {
            () if has("send") => as_one(&json).map(Self::Send),
            () if has("let") => as_one(&json).map(Self::Define),
            () if has("check") => as_one(&json).map(Self::Check),
            () if has("wait_ms") => as_one(&json).map(Self::Wait),
            () if has("open") => as_one(&json).map(Self::Open),
            () if has("read") => as_one(&json).map(Self::Read),
            () => Err(format!("a step is send, let, check, wait_ms, open or read, not {json}")),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    /// Method and target.
    pub(crate) send: String,
    /// Whose credential: an account, or `admin`.
    #[serde(rename = "as")]
    pub(crate) who: Option<String>,
    /// Another address to come from, under a name of its own.
    pub(crate) from: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Json>,
    pub(crate) json: Option<Json>,
    pub(crate) body: Option<Json>,
    /// Leave after this many bytes of the answer's body.
    pub(crate) leave_after: Option<usize>,
    /// As often as that, one after the other, each answered as expected.
    #[serde(default = "once")]
    pub(crate) times: usize,
    /// Again until the answer is as expected, at most so often.
    pub(crate) tries: Option<usize>,
    /// Again until the answer is as expected, for at most so many seconds.
    pub(crate) within_s: Option<u64>,
    /// So many at once; `tally` says how many got which status.
    pub(crate) at_once: Option<usize>,
    #[serde(default)]
    pub(crate) tally: BTreeMap<u16, usize>,
    #[serde(default)]
    pub(crate) expect: Expect,
    /// Variable: `status`, `body`, `json.PATH` or `header.NAME`.
    #[serde(default)]
    pub(crate) capture: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: Option<Json>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Json>,
    pub(crate) head_bytes: Option<Json>,
    /// Names of headers exactly as they are spelt on the wire.
    pub(crate) header_names: Option<Json>,
    pub(crate) json: Option<Json>,
    pub(crate) text: Option<Json>,
    /// The body, byte for byte.
    pub(crate) body: Option<Json>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Define {
    #[serde(rename = "let")]
    pub(crate) variables: BTreeMap<String, Json>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) check: Json,
    pub(crate) is: Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    pub(crate) wait_ms: u64,
}

/// Opens a WebSocket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) open: String,
    /// Its name; absent where it must be refused.
    pub(crate) socket: Option<String>,
    #[serde(rename = "as")]
    pub(crate) who: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Json>,
    pub(crate) status: Json,
}

/// Reads the next text frame of a WebSocket, or its end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    pub(crate) read: String,
    pub(crate) json: Option<Json>,
    pub(crate) closed: Option<u16>,
}

fn plain() -> String {
    "plain".to_owned()
}

fn once() -> usize {
    1
}

/// Where the files are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/conformance")
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All sections by the name of their file, in its order.
pub(crate) fn sections() -> Vec<(String, Section)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory().join("cases")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), read(file))).collect()
}
