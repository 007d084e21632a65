//! The programs of `e2e/judges`, built elsewhere: `go build -o DIR ./...` there.

use std::path::{Path, PathBuf};
use std::process::Command;

use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::{Algorithm, VerifierKey};

/// What a judge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepts,
    Rejects,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Accepts => "–",
            Self::Rejects => "**rejects**",
        }
    }
}

/// Where they are.
pub(super) struct Judges(PathBuf);

impl Judges {
    /// Fails loudly when they are said to be there and are not.
    pub(super) fn from_environment() -> Option<Self> {
        let directory = PathBuf::from(std::env::var_os("PARAMANT_JUDGES")?);
        for judge in ["fsck", "note", "mldsa", "proof"] {
            let there = directory.join(format!("judge-{judge}")).is_file();
            assert!(there, "PARAMANT_JUDGES is set, but judge-{judge} is not in {}", directory.display());
        }
        Some(Self(directory))
    }

    /// Shows a log to each: the directory, the checkpoint, and a proof.
    pub(super) fn ask(&self, log: &Path, keys: &[VerifierKey], proof: &TlogProof) -> [Verdict; 4] {
        let key = |algorithm| keys.iter().find(|key| key.algorithm() == algorithm).unwrap().to_string();
        let (ed25519, ml_dsa) = (key(Algorithm::Ed25519), key(Algorithm::MlDsa44));
        let file = |name: &str| log.join(name).display().to_string();
        std::fs::write(log.join("judged.tlog-proof"), proof.to_text()).unwrap();
        [
            self.verdict("fsck", &["-log", &log.display().to_string(), "-vkey", &ed25519, "-stall", "2s"]),
            self.verdict("note", &["-vkey", &ed25519, &file("checkpoint")]),
            self.verdict("proof", &["-vkey", &ed25519, &file("judged.tlog-proof")]),
            self.verdict("mldsa", &["-vkey", &ml_dsa, &file("checkpoint")]),
        ]
    }

    fn verdict(&self, judge: &str, arguments: &[&str]) -> Verdict {
        let output = Command::new(self.0.join(format!("judge-{judge}"))).args(arguments).output().unwrap();
        match output.status.code() {
            Some(0) => Verdict::Accepts,
            Some(1) => Verdict::Rejects,
            other => panic!("{judge} {arguments:?}: {other:?}\n{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}
