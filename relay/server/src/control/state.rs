//! Puts together what the relay reports about itself.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use paramant_protocol::control::{
    CONTROL_SCHEMA, ConsistencyReport, IdentityReport, LogMark, LogReport, RelayState,
};
use paramant_tlog::Tree;

use super::OperatorCa;
use crate::app::Shared;
use crate::log_service::Published;

/// Reads the state; cheap to clone.
#[derive(Debug, Clone)]
pub struct StateReader {
    app: Shared,
    ca: OperatorCa,
    /// The last proof made: the same question comes again every second or so.
    proven: Arc<Mutex<Option<Proven>>>,
}

#[derive(Debug, Clone)]
struct Proven {
    from: u64,
    to: u64,
    report: ConsistencyReport,
}

impl StateReader {
    /// Over one relay.
    pub fn new(app: Shared, ca: OperatorCa) -> Self {
        Self { app, ca, proven: Arc::default() }
    }

    /// The CA bundle in force, for news of a change.
    pub(super) fn ca(&self) -> OperatorCa {
        self.ca.clone()
    }

    /// One relay.
    pub(super) fn app(&self) -> &Shared {
        &self.app
    }

    /// Everything, now.
    pub async fn read(&self) -> RelayState {
        let core = &self.app.core;
        let not_ready = core.readiness.reasons();
        RelayState {
            schema: CONTROL_SCHEMA,
            version: crate::VERSION.to_owned(),
            started_at: core.started_at,
            ready: not_ready.is_empty(),
            not_ready,
            identity: IdentityReport {
                fingerprint: core.identity.fingerprint().to_owned(),
                control_spki_sha256: core.control_key.spki_sha256().to_owned(),
            },
            drain: core.drain.report(),
            license: self.app.store.license_report(),
            log: self.log().await,
            directives: core.directives.mark(),
            ca_bundle_sha256: self.ca.sha256(),
            admin: self.app.store.admin.report(),
            remote: Some(self.app.store.actions.report()),
            data: Some(self.app.store.data_report()),
        }
    }

    async fn log(&self) -> LogReport {
        let log = &self.app.core.log;
        let origin = log.origin().to_owned();
        let (fence, retired) = (log.guard().report(), log.retired().to_vec());
        let published = log.published();
        #[cfg(any(test, feature = "rehearsal"))]
        let published = crate::rehearsal::forgetful(&self.app.core, published).await;
        let Some(published) = published else {
            let root = hex::encode(Tree::Sha256.empty_root());
            return LogReport {
                origin,
                size: 0,
                root,
                checkpoint_at: None,
                checkpoint: None,
                consistency: None,
                fence,
                retired,
                witnesses: self.app.core.witnesses.report(),
            };
        };
        let mark = self.app.core.directives.held().and_then(|held| held.log_high_water);
        let consistency = match mark {
            Some(mark) => self.continues(mark, &published).await,
            None => None,
        };
        LogReport {
            origin,
            size: published.head.size,
            root: hex::encode(published.head.sha256_root),
            checkpoint_at: Timestamp::try_from(published.at).ok(),
            checkpoint: Some(published.note.clone()),
            consistency,
            fence,
            retired,
            witnesses: self.app.core.witnesses.report(),
        }
    }

    /// A proof that the published head continues the mark. None when it does not reach that far: the operator draws its
    /// conclusion from the sizes.
    async fn continues(&self, mark: LogMark, published: &Arc<Published>) -> Option<ConsistencyReport> {
        let (from, to) = (mark.size, published.head.size);
        let another = mark.origin.is_some_and(|origin| origin != self.app.core.log.origin());
        if from > to || another {
            return None;
        }
        let known = self.proven.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(proven) = known.filter(|proven| (proven.from, proven.to) == (from, to)) {
            return Some(proven.report);
        }
        let log = self.app.core.log.clone();
        let nodes = if from == 0 || from == to {
            Vec::new()
        } else {
            match tokio::task::spawn_blocking(move || log.engine().consistency(Tree::Sha256, from, to)).await
            {
                Ok(Ok(nodes)) => nodes,
                Ok(Err(error)) => {
                    tracing::error!(%error, "no consistency proof for the operator");
                    return None;
                }
                Err(_) => return None,
            }
        };
        let report = ConsistencyReport { from, proof: nodes.iter().map(hex::encode).collect() };
        let proven = Proven { from, to, report: report.clone() };
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(proven);
        Some(report)
    }
}
