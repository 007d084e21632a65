//! Witnesses: others who watch the log grow and sign what they saw, so that nobody can be shown another one unnoticed.
//!
//! One task asks all configured witnesses about one checkpoint at a time (`standing`), judges what they say (`verdict`) and
//! keeps it (`book`). A cosignature is verified before it is kept and durable before it is shown. Witnesses hold nothing up:
//! the log signs and publishes on its own, and a witness that is slow, away or hostile costs its own signature only. An idle log
//! stays idle: without an entry worth it there is no push, and the summaries of pushes (`calls`) are not worth one.

mod book;
mod desk;
mod push;
mod standing;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paramant_protocol::control::{CourierPurpose, WitnessReport, WitnessState, WitnessesReport};
use paramant_protocol::entry::body::OutboundPurpose;
use paramant_tlog::policy::{Log, Policy, Witness};
use paramant_tlog::vkey::Algorithm;
use tokio::sync::watch;

use self::book::{Shelf, with_lines};
pub use self::verdict::WitnessVerdict;
use crate::data_dir::DataDir;
use crate::log_service::{LogService, Published};
use crate::metrics::WitnessMetrics;
use crate::outbound::calls::Calls;
use crate::outbound::{Couriers, Trust, Way};
use crate::settings::{Reach, SettingsHandle, WitnessSettings};

/// The last verdicts, by the name of the witness in the settings.
pub type Verdicts = Arc<BTreeMap<String, WitnessVerdict>>;

/// So many rounds without a quorum are bad luck; more are a report.
const MISSED_ROUNDS: u32 = 3;

/// A handle on everything about witnesses; cheap to clone.
#[derive(Debug, Clone)]
pub struct Witnesses(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: LogService,
    settings: SettingsHandle,
    couriers: Couriers,
    shelf: Shelf,
    metrics: WitnessMetrics,
    verdicts: watch::Sender<Verdicts>,
    /// When the candidate last had its quorum; a start and a change of settings count as such.
    reached: Mutex<Instant>,
    /// The settings by which the book was last settled: what it calls witnessed is so by these.
    in_force: Mutex<Option<Arc<WitnessSettings>>>,
}

impl Witnesses {
    /// Reads what was kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(
        data: &DataDir,
        log: LogService,
        settings: SettingsHandle,
        couriers: Couriers,
        metrics: WitnessMetrics,
    ) -> std::io::Result<Self> {
        let config = settings.current().witnesses.clone();
        let shelf = Shelf::open(data.witnesses(), config.as_deref())?;
        let (verdicts, reached) = (watch::Sender::default(), Mutex::new(Instant::now()));
        let in_force = Mutex::new(config);
        Ok(Self(Arc::new(Inner { log, settings, couriers, shelf, metrics, verdicts, reached, in_force })))
    }

    /// Asks witnesses for as long as the process runs.
    pub async fn run(self) {
        desk::Desk::new(self).run().await;
    }

    /// Shows the last checkpoint of a log that ends to the witnesses, once, as far as they answer in time.
    pub async fn finish(&self, patience: Duration) {
        let (Some(config), Some(published)) = (self.config(), self.0.log.published()) else { return };
        let note = published.note.clone();
        if let Err(error) = self.0.shelf.change(|book| book.choose(note)).await {
            return tracing::warn!(%error, "the last checkpoint is not shown to witnesses");
        }
        let asked = config.members.iter().map(|member| async {
            let mut verdict = push::push(self, &config, member).await;
            if let WitnessVerdict::Behind { .. } = verdict {
                verdict = push::push(self, &config, member).await;
            }
            matches!(verdict, WitnessVerdict::Cosigned { .. })
        });
        match tokio::time::timeout(patience, futures::future::join_all(asked)).await {
            Ok(cosigned) => {
                let count = cosigned.into_iter().filter(|cosigned| *cosigned).count();
                tracing::info!(
                    cosigned = count,
                    size = published.head.size,
                    "the last checkpoint was shown to witnesses"
                );
            }
            Err(_) => tracing::warn!("not every witness has seen the last checkpoint"),
        }
    }

    /// Writes the entries for all pushes that have none yet, also of the hour that runs: the last act before a log is closed.
    pub async fn settle_calls(&self) {
        let all = self.0.shelf.read().calls.clone();
        self.record(all).await;
    }

    /// What each witness last said, and news of it. The fence reads here whether one has seen more than there is.
    pub fn verdicts(&self) -> watch::Receiver<Verdicts> {
        self.0.verdicts.subscribe()
    }

    /// A published checkpoint with the lines of the witnesses that cosigned this very one.
    pub fn shown(&self, published: &Published) -> String {
        let book = self.0.shelf.read();
        let same = |it: &&book::Cosigned| text(&it.note) == text(&published.note);
        match book.candidate.iter().chain(&book.witnessed).find(same) {
            Some(cosigned) => with_lines(&published.note, &cosigned.lines),
            None => published.note.clone(),
        }
    }

    /// The newest checkpoint that has the quorum, if witnesses are configured and there is one.
    pub fn witnessed(&self) -> Option<String> {
        self.settled()?.witnessed.as_ref().map(book::Cosigned::whole)
    }

    /// The checkpoint that the proof of an entry leads to, and its size: the newest with a quorum, so that a proof says what
    /// witnesses saw, if the entry lies under it and all keys that sign now have signed it; else the newest published.
    pub fn proving(&self, index: u64) -> Option<(u64, String)> {
        let published = self.0.log.published().filter(|published| index < published.head.size)?;
        let newest = published.head.size;
        let keys = self.0.log.verifiers();
        let witnessed = self.settled().and_then(|book| {
            let witnessed = book.witnessed.as_ref()?;
            let (size, _) = witnessed.checkpoint()?;
            let fits = index < size && size < newest && witnessed.is_signed_by(&keys);
            fits.then(|| (size, witnessed.whole()))
        });
        Some(witnessed.unwrap_or_else(|| (newest, self.shown(&published))))
    }

    /// The book, while it is settled by the settings in force. Readers never verify: that was done when a line came, and again when
    /// the settings changed.
    fn settled(&self) -> Option<Arc<book::Book>> {
        let config = self.config()?;
        let in_force = self.0.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (in_force? == config).then(|| self.0.shelf.read())
    }

    /// Whom to believe, in the form of C2SP tlog-policy. The ML-DSA-65 line has a type that outside readers refuse, so its key is
    /// only in `/log/vkeys`.
    pub fn policy(&self) -> String {
        const ALONE: &str = "# No witness watches this log: whoever holds its keys could show two readers two different logs.\n";
        let config = self.config();
        let keys = self.0.log.verifiers().into_iter().filter(|key| key.algorithm() != Algorithm::MlDsa65);
        let logs = keys.map(|key| Log { key, url: None });
        let members = config.iter().flat_map(|config| &config.members);
        let witnesses = members.map(|member| Witness {
            name: member.name.clone(),
            key: member.key.clone(),
            url: Some(member.url.to_string()),
        });
        let quorum = config.as_ref().map_or(0, |config| config.quorum());
        let note = if config.is_none() { ALONE } else { "" };
        match Policy::threshold(logs, witnesses, quorum) {
            Ok(policy) => format!("{note}{}", policy.to_text()),
            Err(error) => {
                // Settings are checked when they are read, so this is a mistake of the program.
                tracing::error!(%error, "the policy cannot be written");
                String::new()
            }
        }
    }

    /// For the operator; `None` when no witness is configured.
    pub fn report(&self) -> Option<WitnessesReport> {
        let config = self.config()?;
        let (book, verdicts) = (self.0.shelf.read(), self.0.verdicts.borrow().clone());
        let instant = |at: i64| Timestamp::from_second(at).ok().filter(|_| at > 0);
        let member = |member: &crate::settings::WitnessMember| {
            let (known, verdict) = (book.known(&member.key), verdicts.get(&member.name));
            WitnessReport {
                name: member.name.clone(),
                size: known.size,
                at: instant(known.at),
                state: verdict.map_or(WitnessState::Waiting, WitnessVerdict::state),
                message: verdict.and_then(WitnessVerdict::sentence),
            }
        };
        let settled = self.settled();
        let witnessed = settled.as_ref().and_then(|book| book.witnessed.as_ref());
        Some(WitnessesReport {
            quorum: config.quorum,
            size: witnessed.and_then(|it| it.checkpoint()).map(|(size, _)| size),
            at: witnessed.and_then(|it| instant(it.at)),
            reached: self.reached(&config),
            members: config.members.iter().map(member).collect(),
        })
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        let Some(config) = self.config() else { return self.0.metrics.clear() };
        let book = self.0.shelf.read();
        let published = self.0.log.published().map_or(0, |published| published.head.size);
        let (worth, now) = (self.0.log.worth_witnessing(), Timestamp::now().as_second());
        for member in &config.members {
            let known = book.known(&member.key);
            let age = if known.at > 0 { now.saturating_sub(known.at) } else { -1 };
            // Summaries of pushes are not pushed: a witness that has all before them lacks nothing.
            let lag = if known.size >= worth { 0 } else { published.saturating_sub(known.size) };
            self.0.metrics.witness(&member.name, known.size, lag, age);
        }
        let witnessed = book.witnessed.as_ref().and_then(|it| it.checkpoint());
        self.0.metrics.witnessed(witnessed.map_or(0, |(size, _)| size));
    }

    /// The settings about witnesses that are in force.
    fn config(&self) -> Option<Arc<WitnessSettings>> {
        self.0.settings.current().witnesses.clone()
    }

    /// Whether there is a quorum, and the candidate has it too or may still get it in time.
    fn reached(&self, config: &WitnessSettings) -> bool {
        let Some(book) = self.settled() else { return false };
        let Some(witnessed) = &book.witnessed else { return false };
        if book.candidate.as_ref().is_some_and(|candidate| text(&candidate.note) == text(&witnessed.note)) {
            self.begin_patience();
        }
        let reached = *self.0.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.elapsed() < patience(config.every)
    }

    fn begin_patience(&self) {
        *self.0.reached.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn way(&self, config: &WitnessSettings) -> Way {
        match config.reach {
            Reach::Direct => Way::Direct,
            Reach::Courier => Way::Courier(self.0.couriers.clone(), CourierPurpose::Witness),
        }
    }

    fn announce(&self, name: &str, verdict: &WitnessVerdict) {
        self.0.verdicts.send_modify(|all| {
            let mut next = BTreeMap::clone(all);
            next.insert(name.to_owned(), verdict.clone());
            *all = Arc::new(next);
        });
    }

    /// Writes the entries of these hours and crosses them off.
    async fn record(&self, hours: Vec<Calls>) {
        for hour in hours {
            let body = paramant_protocol::entry::Body::OutboundCall(hour.body(OutboundPurpose::Witness));
            match self.0.log.record(body).await {
                Ok(appended) => {
                    let (destination, salt) = hour.opening();
                    tracing::info!(
                        destination,
                        salt,
                        count = hour.count,
                        index = appended.index,
                        "pushes to a witness are summed in the log"
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "pushes to a witness have no entry yet");
                    return;
                }
            }
            let crossed = self.0.shelf.change(|book| book.calls.retain(|calls| *calls != hour)).await;
            if let Err(error) = crossed {
                tracing::warn!(%error, "an entry about pushes may be written twice");
            }
        }
    }
}

/// How long a candidate may lack its quorum before that is news.
fn patience(every: Duration) -> Duration {
    every * MISSED_ROUNDS + Duration::from_secs(15)
}

/// The text of a checkpoint's note: it has no blank line in it.
fn text(note: &str) -> &str {
    note.split_once("\n\n").map_or(note, |(text, _)| text)
}

/// For the settings: a bundle was checked when they were read.
fn trust(config: &WitnessSettings) -> Trust {
    config.ca_bundle.as_deref().and_then(|pem| Trust::bundle(pem).ok()).unwrap_or_else(Trust::public)
}
