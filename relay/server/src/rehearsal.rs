//! What can be wrong with a release, on demand: for the tour that shows how a broken one is rolled back.
//!
//! `PARAMANT_REHEARSAL` names the fault. None of them harms the data: whatever is acknowledged while such a release runs is there
//! when the one before comes back. Compiled into tests and into images of `cargo xtask images --variants`, never into a release.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::app::Core;
use crate::log_service::{Head, LogService, Published, Tree};

/// Names the fault.
const VARIABLE: &str = "PARAMANT_REHEARSAL";

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `dies-after=50s`: starts, serves, and ends with 1 after this long.
    DiesAfter(Duration),
    /// `forgets-log=N`: tells the operator of a log that ended this many entries earlier than it did at the start. The log itself is
    /// whole, and goes on.
    ForgetsLog(u64),
    /// `never-ready`: serves, and never says so.
    NeverReady,
}

/// The variable names nothing that can be rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PARAMANT_REHEARSAL is {0:?}; write dies-after=50s, forgets-log=N or never-ready")]
pub struct Unknown(String);

impl FromStr for Fault {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = |text: &str| text.parse::<u64>().ok();
        let fault = match name {
            "dies-after" => {
                value.strip_suffix('s').and_then(number).map(Duration::from_secs).map(Self::DiesAfter)
            }
            "forgets-log" => number(value).map(Self::ForgetsLog),
            "never-ready" if value.is_empty() => Some(Self::NeverReady),
            _ => None,
        };
        fault.ok_or_else(|| Unknown(text.to_owned()))
    }
}

/// What the environment asks for; a log that is to be shortened ends, from here on, at a fixed size.
pub(crate) fn fault(log: &LogService) -> Result<Option<Fault>, Unknown> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(None) };
    Ok(Some(at_start(text.parse()?, log)))
}

/// `ForgetsLog` holds how many entries are left.
fn at_start(fault: Fault, log: &LogService) -> Fault {
    match fault {
        Fault::ForgetsLog(entries) => Fault::ForgetsLog(log.head().size.saturating_sub(entries)),
        fault => fault,
    }
}

/// The relay serves from now on.
pub(crate) fn begin(core: &Core) {
    match core.fault {
        Some(Fault::DiesAfter(after)) => {
            std::thread::spawn(move || {
                std::thread::sleep(after);
                tracing::error!("this release was made to die");
                std::process::exit(1);
            });
        }
        Some(Fault::NeverReady) => {
            core.readiness.hold("rehearsal", "this release was made never to be ready")
        }
        Some(Fault::ForgetsLog(_)) | None => {}
    }
}

/// What the operator is told of the log.
pub(crate) async fn forgetful(core: &Core, published: Option<Arc<Published>>) -> Option<Arc<Published>> {
    let (Some(published), Some(Fault::ForgetsLog(left))) = (published.clone(), core.fault) else {
        return published;
    };
    let size = left.min(published.head.size);
    let log = core.log.clone();
    let root = move |tree| log.engine().root(tree, size);
    let roots = tokio::task::spawn_blocking(move || Some((root(Tree::Sha256).ok()?, root(Tree::Sha3).ok()?)));
    let (sha256_root, sha3_root) = roots.await.ok()??;
    let head = Head { size, sha256_root, sha3_root };
    Some(Arc::new(Published { head, ..Published::clone(&published) }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::test_relay::{TestRelay, exit_code_of};

    #[test]
    fn faults_are_read_and_nothing_else_is() {
        for (text, fault) in [
            ("dies-after=50s", Fault::DiesAfter(Duration::from_secs(50))),
            ("forgets-log=3", Fault::ForgetsLog(3)),
            ("never-ready", Fault::NeverReady),
        ] {
            assert_eq!(text.parse(), Ok(fault));
        }
        for text in ["", "dies-after", "dies-after=50", "forgets-log=-1", "never-ready=1", "flies"] {
            assert_eq!(text.parse::<Fault>(), Err(Unknown(text.to_owned())));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_forgetful_release_tells_of_less_and_keeps_all() {
        let relay = TestRelay::start().await;
        for payload in [b"one", b"two", b"six"] {
            relay.upload(payload).await;
        }
        let mut core = relay.app.core.clone();
        let whole = core.log.head();
        assert!(whole.size >= 3);
        let head = Head { size: whole.size, ..whole };
        let published = Published { head, note: "note".into(), at: std::time::SystemTime::now() };
        let told = async |core: &Core| forgetful(core, Some(Arc::new(published.clone()))).await.unwrap();
        assert_eq!(told(&core).await.head, whole, "a sound release tells of all");

        core.fault = Some(at_start(Fault::ForgetsLog(2), &core.log));
        relay.upload(b"ten").await;
        let less = told(&core).await.head;
        assert_eq!(less.size, whole.size - 2);
        let root = core.log.engine().root(Tree::Sha256, less.size).unwrap();
        assert_eq!(less.sha256_root, root);
        assert!(core.log.head().size > whole.size, "the log goes on");
        core.fault = Some(at_start(Fault::ForgetsLog(1000), &core.log));
        assert_eq!(told(&core).await.head.size, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_is_never_ready_says_why() {
        let relay = TestRelay::start().await;
        let mut core = relay.app.core.clone();
        core.fault = Some(Fault::NeverReady);
        begin(&core);
        assert_eq!(core.readiness.reasons(), ["this release was made never to be ready"]);
    }

    #[test]
    fn a_release_that_dies_ends_with_1() {
        let code = exit_code_of("rehearsal::tests::a_release_that_dies_ends_with_1", || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let relay = runtime.block_on(TestRelay::start());
            let mut core = relay.app.core.clone();
            core.fault = Some(Fault::DiesAfter(Duration::from_millis(100)));
            begin(&core);
            std::thread::sleep(Duration::from_secs(30));
        });
        assert_eq!(code, Some(1));
    }
}
