//! SIGTERM is the drain: refuse uploads, finish what is in flight, publish, end with 0. A second signal ends at once. Where payloads live
//! in memory, what nobody has read is in flight, until the drain's deadline.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::process::Running;
use crate::settings::Payload;

/// What the process answers to whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was closed in order.
    Clean,
    /// A second signal cut it short. What was acknowledged is safe: that never depends on a clean end.
    Cut,
    /// The disk failed under the log; only a restart may go on.
    LogFailed,
}

impl End {
    /// The exit code: 70 is `EX_SOFTWARE`, which the operator shows as a failed log.
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Cut => 130,
            Self::LogFailed => 70,
        }
    }
}

/// How long work in flight may take of the termination grace; the rest is for closing listeners, store and log.
fn patience(grace: Duration) -> Duration {
    grace.saturating_sub((grace / 5).min(Duration::from_secs(15)))
}

/// Runs until a signal or a failed log ends the process.
pub async fn run(relay: Running, mut signals: Signals) -> End {
    let log = relay.app.core.log.clone();
    tokio::select! {
        () = signals.next() => {}
        () = log.failed() => {
            tracing::error!("the disk failed under the log; ending, since nothing more may be acknowledged");
            return End::LogFailed;
        }
    }
    tracing::info!("ending: new uploads are refused, work in flight is finished");
    let core = relay.app.core.clone();
    core.drain.shut_down();
    let unread = core.drain.report().unclaimed;
    if core.settings.current().payload == Payload::Memory && unread > 0 {
        tracing::warn!(
            unread,
            "what nobody has read is in memory only and ends with the process; waiting for its readers, a second signal ends at once"
        );
    }
    let closing = async {
        tokio::join!(
            relay.finish_work(patience(core.settings.current().termination_grace)),
            relay.hear_why()
        );
        relay.close().await;
    };
    tokio::select! {
        () = closing => {
            tracing::info!("ended");
            End::Clean
        }
        () = signals.next() => End::Cut,
        () = log.failed() => End::LogFailed,
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to receive them. First of all, before anything is opened: as process 1 of a container, a signal that nobody
    /// receives is lost, and the pod would wait out its whole grace.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_the_grace_is_kept_for_closing() {
        assert_eq!(patience(Duration::from_secs(600)), Duration::from_secs(585));
        assert_eq!(patience(Duration::from_secs(10)), Duration::from_secs(8));
        assert_eq!(patience(Duration::ZERO), Duration::ZERO);
    }
}
