//! `log-http`: appends over HTTP by Tessera's `hammer`, beside the same server without a log.
//!
//! `/add` takes raw bytes and answers a decimal index. It exists only here: a relay takes no entries from outside. `hammer`
//! believes whatever it is told, so a run counts only if an outside fsck finds the log whole, with exactly the entries that
//! were acknowledged. Server, `hammer` and log share the machine, in both cases.

use std::{
    convert::Infallible,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use paramant_log::{CheckpointSigner, Entry, Head, Log, Options, SignError, Tree};
use paramant_tlog::{
    Checkpoint,
    hash::sha256,
    keys::{Ed25519Key, Seed, Signer},
    note::Note,
    tile::{self, Resource},
};
use tokio::process::Command;

use super::{Arguments, line};

const ORIGIN: &str = "bench.example/log";
/// Writers of `hammer`, and what it may write at most in a second: more than it can.
const WRITERS: &str = "256";
const MOST_WRITES: &str = "1000000";
/// Bytes of an entry, as in the other benchmarks of the log.
const LENGTH: &str = "512";

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let tools = arguments.tools.as_deref().context("--tools: where hammer and judge-fsck are")?;
    let whole = Duration::from_secs(arguments.seconds.unwrap_or(60));
    let bare_before = bare(tools, whole / 4).await?;
    let (rate, log) = logged(tools, &directory.join("log"), whole).await?;
    let bare_after = bare(tools, whole / 4).await?;
    let bare = f64::midpoint(bare_before, bare_after);
    line::print("log-http-bare", bare, "1/s", None);
    line::print("log-http", rate, "1/s", None);
    line::print("log-http-ratio", rate / bare, "of hammer against a server without a log", Some(0.4));
    let counters = log.counters();
    let syncs = (counters.batches + 2 * counters.segments + 2 * counters.checkpoints) as f64;
    line::print("log-http-entries", log.head().size as f64, "entries, found whole by an outside fsck", None);
    line::print("log-http-syncs-per-append", syncs / counters.appended as f64, "syncs", None);
    Ok(())
}

/// Entries a second that `hammer` gets rid of at a server that only counts them.
async fn bare(tools: &Path, time: Duration) -> Result<f64> {
    let keys = Keys::new()?;
    let empty = Head { size: 0, sha256_root: Tree::Sha256.empty_root(), sha3_root: Tree::Sha3.empty_root() };
    let note = keys.sign(&empty)?;
    let server = Server::start(Backend::Counter(note, AtomicU64::new(0))).await?;
    server.hammered(tools, &keys, time).await
}

/// The same with the log behind the server.
async fn logged(tools: &Path, home: &Path, time: Duration) -> Result<(f64, Log)> {
    let keys = Arc::new(Keys::new()?);
    let log = Log::open(Options::new(home), keys.clone())?;
    // `hammer` wants a checkpoint to begin with.
    log.append_blocking(Entry { bytes: b"the first entry".to_vec(), legacy_leaf: [0; 32] })?;
    log.publish_now()?;
    let server = Server::start(Backend::Log(log.clone())).await?;
    let rate = server.hammered(tools, &keys, time).await?;
    let published = log.publish_now()?;
    let acknowledged = server.acknowledged.load(Ordering::Relaxed) + 1;
    ensure!(
        published.head.size == acknowledged,
        "{acknowledged} entries were acknowledged, the log has {}",
        published.head.size
    );
    let verdict = Command::new(tools.join("judge-fsck"))
        .args(["-log", &server.url, "-vkey", &keys.0.verifier().to_string()])
        .status()
        .await
        .context("start judge-fsck")?;
    ensure!(verdict.success(), "the run does not count: fsck found the log damaged");
    Ok((rate, log))
}

struct Keys(Ed25519Key);

impl Keys {
    fn new() -> Result<Self> {
        Ok(Self(Ed25519Key::from_seed(ORIGIN, &Seed::new([1; 32]))?))
    }
}

impl CheckpointSigner for Keys {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        let text = Checkpoint::new(ORIGIN, head.size, head.sha256_root).to_text();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let keys: [&dyn Signer; 1] = [&self.0];
        Ok(Note::sign(&text, &keys, at)?.to_text())
    }
}

/// What `/add` does.
enum Backend {
    /// Counts, and shows this checkpoint of an empty log.
    Counter(String, AtomicU64),
    Log(Log),
}

struct Server {
    url: String,
    acknowledged: Arc<AtomicU64>,
}

impl Server {
    async fn start(backend: Backend) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (backend, acknowledged) = (Arc::new(backend), Arc::new(AtomicU64::new(0)));
        let counted = acknowledged.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (backend, counted) = (backend.clone(), counted.clone());
                stream.set_nodelay(true).ok();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (backend, counted) = (backend.clone(), counted.clone());
                        async move { Ok::<_, Infallible>(answer(&backend, &counted, request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Ok(Self { url, acknowledged })
    }

    /// Lets `hammer` write for so long; answers the entries acknowledged per second.
    async fn hammered(&self, tools: &Path, keys: &Keys, time: Duration) -> Result<f64> {
        let mut hammer = Command::new(tools.join("hammer"))
            .args(["--log_url", &self.url, "--log_public_key", &keys.0.verifier().to_string()])
            .args(["--num_writers", WRITERS, "--max_write_ops", MOST_WRITES, "--leaf_min_size", LENGTH])
            .args(["--num_readers_random", "0", "--num_readers_full", "0", "--max_read_ops", "1"])
            .args(["--dup_chance", "0", "--show_ui=false"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start hammer")?;
        // The first seconds are for connections.
        tokio::time::sleep(time.min(Duration::from_secs(3))).await;
        let (begun, before) = (std::time::Instant::now(), self.acknowledged.load(Ordering::Relaxed));
        tokio::time::sleep(time).await;
        let count = self.acknowledged.load(Ordering::Relaxed) - before;
        let took = begun.elapsed();
        if let Some(status) = hammer.try_wait()? {
            bail!("hammer ended by itself: {status}");
        }
        hammer.kill().await?;
        // What hammer had under way is still appended, and counted.
        tokio::time::sleep(Duration::from_secs(2)).await;
        ensure!(count > 0, "hammer wrote nothing");
        Ok(count as f64 / took.as_secs_f64())
    }
}

async fn answer(
    backend: &Arc<Backend>,
    acknowledged: &Arc<AtomicU64>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let found = if request.method() == Method::POST && request.uri().path() == "/add" {
        add(backend, acknowledged, request).await
    } else {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let backend = backend.clone();
        match tokio::task::spawn_blocking(move || read(&backend, &path)).await {
            Ok(found) => found,
            Err(error) => Err(error.into()),
        }
    };
    match found {
        Ok(Some(body)) => Response::new(Full::new(body)),
        Ok(None) => refused(StatusCode::NOT_FOUND, "not here"),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// Counts an entry when it is acknowledged, whether or not `hammer` still waits for the answer.
async fn add(
    backend: &Backend,
    acknowledged: &Arc<AtomicU64>,
    request: Request<Incoming>,
) -> Result<Option<Bytes>> {
    let bytes = request.into_body().collect().await?.to_bytes();
    let index = match backend {
        Backend::Counter(_, next) => {
            acknowledged.fetch_add(1, Ordering::Relaxed);
            next.fetch_add(1, Ordering::Relaxed)
        }
        Backend::Log(log) => {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            // A relay's entry carries the leaf of its other tree; here any 32 bytes that follow from the entry do.
            let entry = Entry { legacy_leaf: sha256(&bytes), bytes: bytes.into() };
            let acknowledged = acknowledged.clone();
            log.append(entry, move |outcome| {
                acknowledged.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
                drop(sender.send(outcome));
            });
            receiver.await??.index
        }
    };
    Ok(Some(Bytes::from(index.to_string())))
}

fn read(backend: &Backend, path: &str) -> Result<Option<Bytes>> {
    let log = match backend {
        Backend::Counter(note, _) => {
            return Ok((path == "checkpoint").then(|| Bytes::from(note.clone())));
        }
        Backend::Log(log) => log,
    };
    let found = match tile::parse_path(path) {
        _ if path == "checkpoint" => log.published().map(|published| published.note.clone().into_bytes()),
        Some(Resource::Tile(place, width)) => log.tile(place.level, place.index, width)?,
        Some(Resource::Bundle(index, width)) => log.entry_bundle(index, width)?,
        None => None,
    };
    Ok(found.map(Bytes::from))
}

fn refused(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(why.to_owned())));
    *response.status_mut() = status;
    response
}
