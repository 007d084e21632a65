//! Clients that make a history: they upload in every way, race for views, hang up, take back, and go on with whatever relay
//! comes next.
//!
//! Everything a client does follows from its number, so that a run can be repeated; what it sees does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use paramant_protocol::chunks::{UploadProgress, UploadState};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Blob, Did, Ended, Op, Uploaded};
use crate::relay::{User, hash, inbound, noise};
use crate::uploads::list_hash;

const CHUNK: usize = 64 << 10;
/// Longer than any answer takes on a busy machine, a relay under `strace` included.
const PATIENCE: Duration = Duration::from_secs(30);
/// What expires, expires while the history is made.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(3600);

/// The relay that lives now, if one does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alive {
    pub life: usize,
    pub url: Option<String>,
    /// No relay comes any more, or what is not finished is to be left alone.
    pub over: bool,
}

/// What all clients share.
#[derive(Clone)]
pub struct World {
    pub began: Instant,
    pub alive: watch::Receiver<Alive>,
    pub key: String,
    http: Client,
}

/// An entry that an answer named.
#[derive(Debug, Clone)]
pub struct Told {
    pub index: u64,
    pub leaf: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Json,
    Raw,
    Chunks,
}

/// What becomes of one blob.
#[derive(Debug, Clone)]
pub struct Plan {
    seed: u64,
    way: Way,
    payload: Arc<Vec<u8>>,
    views: usize,
    strict: bool,
    ttl: Duration,
    readers: u64,
    taken_back: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let die = |what: u64, sides: u64| {
            let bytes = noise(seed.wrapping_mul(31).wrapping_add(what), 8);
            u64::from_le_bytes(bytes.try_into().unwrap()) % sides
        };
        let way = [Way::Json, Way::Raw, Way::Chunks][usize::try_from(die(1, 3)).unwrap()];
        let size = match die(2, 6) {
            0 => 1,
            1 | 2 => 4 << 10,
            3 | 4 => 200_000,
            _ => 3 << 20,
        };
        Self {
            seed,
            way,
            payload: Arc::new(noise(seed, size + usize::try_from(seed % 7).unwrap())),
            views: [1, 1, 1, 3][usize::try_from(die(3, 4)).unwrap()],
            strict: die(4, 4) == 0,
            ttl: if die(5, 6) == 0 { SHORT } else { LONG },
            readers: die(6, 4),
            taken_back: die(7, 6) == 0,
        }
    }

    /// What it is, without its bytes.
    pub fn told(&self) -> String {
        let Self { seed, way, payload, views, strict, ttl, readers, taken_back } = self;
        format!(
            "{seed} ({way:?}, {} bytes, {views} views, strict {strict}, {ttl:?}, {readers} readers, taken back {taken_back})",
            payload.len()
        )
    }

    fn name(&self) -> String {
        if self.way == Way::Chunks { list_hash(&self.payload, CHUNK) } else { hash(&self.payload) }
    }

    fn terms(&self) -> Value {
        json!({
            "ttl_ms": u64::try_from(self.ttl.as_millis()).unwrap(),
            "max_views": self.views,
            "disclosure": if self.strict { "strict" } else { "recoverable" },
        })
    }
}

/// One blob's history, and the entry that its upload was answered with.
pub struct Made {
    pub plan: Plan,
    pub blob: Blob,
    pub told: Option<Told>,
}

impl World {
    pub fn new(alive: watch::Receiver<Alive>, key: String) -> Self {
        let http = Client::builder().timeout(PATIENCE).build().unwrap();
        Self { began: Instant::now(), alive, key, http }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The relay that lives, as soon as one does. `None`: no other comes.
    async fn relay(&mut self) -> Option<(usize, User)> {
        let there = self.alive.wait_for(|alive| alive.url.is_some() || alive.over).await.ok()?;
        let url = there.url.clone().filter(|_| !there.over)?;
        let user = User { url, http: self.http.clone(), key: self.key.clone(), account: String::new() };
        Some((there.life, user))
    }

    /// Waits until another relay than that one lives.
    async fn after(&mut self, life: usize) {
        drop(self.alive.wait_for(|alive| alive.life > life || alive.over).await);
    }

    /// All that becomes of one blob before the last pass.
    pub async fn live(mut self, plan: Plan) -> Made {
        let from = self.now();
        let told = match plan.way {
            Way::Chunks => self.upload_in_chunks(&plan).await,
            _ => self.upload_whole(&plan).await,
        };
        let uploaded = Uploaded { from, to: self.now(), acknowledged: told.is_some() };
        let readers = (0..plan.readers).map(|n| {
            let (mut world, plan) = (self.clone(), plan.clone());
            tokio::spawn(async move { world.reader(&plan, n).await })
        });
        let taker = plan.taken_back.then(|| {
            let (mut world, plan) = (self.clone(), plan.clone());
            tokio::spawn(async move {
                world.pause(plan.seed % 40).await;
                Vec::from_iter(world.take_back(&plan).await)
            })
        });
        let clients: Vec<_> = readers.chain(taker).collect();
        let mut ops = Vec::new();
        for client in clients {
            ops.extend(client.await.unwrap());
        }
        let Plan { payload, views, strict, ttl, .. } = &plan;
        let blob =
            Blob { payload: payload.to_vec(), views: *views, strict: *strict, ttl: *ttl, uploaded, ops };
        Made { plan, blob, told }
    }

    /// The last pass: reads one after another until there is nothing, while nobody else reads.
    pub async fn drain(&mut self, made: &mut Made) {
        let most = 6 * made.plan.views + 6;
        for _ in 0..most {
            let Some((life, user)) = self.relay().await else { return };
            let op = self.read(life, &user, &made.plan, None).await;
            let again = !matches!(op.did, Did::Absent);
            made.blob.ops.push(op);
            if !again {
                return;
            }
        }
        panic!("after {most} reads a blob of {} views is still there", made.plan.views);
    }

    async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn upload_whole(&mut self, plan: &Plan) -> Option<Told> {
        let (_, user) = self.relay().await?;
        let sent = if plan.way == Way::Json {
            let body = inbound(&plan.name(), &plan.payload, plan.terms()).to_string();
            user.request(Method::POST, "/v2/inbound").body(body).send().await
        } else {
            let terms = plan.terms();
            let query = format!(
                "ttl_ms={}&max_views={}&disclosure={}",
                terms["ttl_ms"],
                terms["max_views"],
                terms["disclosure"].as_str().unwrap()
            );
            let path = format!("/v3/blobs/{}?{query}", plan.name());
            user.request(Method::PUT, &path).body(plan.payload.to_vec()).send().await
        };
        told(sent).await
    }

    /// A client that does not give up: what was acknowledged of it need not be sent again.
    async fn upload_in_chunks(&mut self, plan: &Plan) -> Option<Told> {
        let mut place: Option<String> = None;
        loop {
            let (life, user) = self.relay().await?;
            let done = self.try_chunks(&user, plan, &mut place).await;
            if done.is_some() {
                return done;
            }
            // The relay died, or is in trouble that the one after it may not be in.
            tokio::select! {
                () = self.after(life) => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    async fn try_chunks(&self, user: &User, plan: &Plan, place: &mut Option<String>) -> Option<Told> {
        if place.is_none() {
            let mut body = json!({ "size": plan.payload.len(), "chunk_size": CHUNK });
            body.as_object_mut()?.extend(plan.terms().as_object()?.clone());
            let sent = user.request(Method::POST, "/v3/uploads").body(body.to_string()).send().await.ok()?;
            if sent.status() != StatusCode::CREATED {
                return None;
            }
            *place = Some(sent.headers().get("location")?.to_str().ok()?.to_owned());
        }
        let at = place.as_ref()?;
        let progress: UploadProgress = user.request(Method::GET, at).send().await.ok()?.json().await.ok()?;
        for (number, piece) in plan.payload.chunks(CHUNK).enumerate() {
            if progress.state == UploadState::Done || progress.has(number as u64) {
                continue;
            }
            let put = user.request(Method::PUT, &format!("{at}/chunks/{number}"));
            let put = put.header("X-Paramant-Chunk-Sha256", hash(piece)).body(piece.to_vec());
            if put.send().await.ok()?.status() != StatusCode::OK {
                return None;
            }
        }
        told(user.request(Method::POST, &format!("{at}/complete")).send().await).await
    }

    async fn reader(&mut self, plan: &Plan, number: u64) -> Vec<Op> {
        let mut ops = Vec::new();
        for again in 0..3 {
            self.pause((plan.seed * 7 + number * 13 + again * 29) % 60).await;
            let Some((life, user)) = self.relay().await else { break };
            // Some hang up after a while; those have a connection of their own, or hanging up would not end it.
            let hang_up = (plan.seed + number + again).is_multiple_of(5);
            let op = if hang_up {
                let user = User { http: Client::builder().timeout(PATIENCE).build().unwrap(), ..user };
                self.read(life, &user, plan, Some(plan.payload.len() / 2)).await
            } else {
                self.read(life, &user, plan, None).await
            };
            let missing = matches!(op.did, Did::Absent);
            ops.push(op);
            if missing && again > 0 {
                break;
            }
        }
        ops
    }

    /// Reads, and hangs up after so many bytes if they are given.
    async fn read(&self, life: usize, user: &User, plan: &Plan, hang_up: Option<usize>) -> Op {
        let from = self.now();
        let answer = user.request(Method::GET, &format!("/v2/outbound/{}", plan.name())).send().await;
        let did = match answer {
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => Did::Absent,
            Ok(answer) if answer.status() == StatusCode::OK => {
                let mut bytes = Vec::new();
                let mut pieces = answer.bytes_stream();
                let ended = loop {
                    if hang_up.is_some_and(|most| bytes.len() > most) {
                        break Ended::ByClient;
                    }
                    match pieces.next().await {
                        None => break Ended::Whole,
                        Some(Err(_)) => break Ended::ByRelay,
                        Some(Ok(piece)) => bytes.extend_from_slice(&piece),
                    }
                };
                Did::Read { at: 0, bytes, ended }
            }
            _ => Did::NoAnswer,
        };
        Op { from, to: self.now(), life, did }
    }

    async fn take_back(&mut self, plan: &Plan) -> Option<Op> {
        let (life, user) = self.relay().await?;
        let from = self.now();
        let answer = user.request(Method::DELETE, &format!("/v2/inbound/{}", plan.name())).send().await;
        let did = match answer.map(|answer| answer.status()) {
            Ok(StatusCode::OK) => Did::TookBack,
            Ok(StatusCode::NOT_FOUND) => Did::NothingToTakeBack,
            _ => Did::MayHaveTakenBack,
        };
        Some(Op { from, to: self.now(), life, did })
    }
}

async fn told(sent: reqwest::Result<reqwest::Response>) -> Option<Told> {
    let answer = sent.ok().filter(|answer| answer.status() == StatusCode::OK)?;
    let answer: Value = answer.json().await.ok()?;
    let proof = &answer["merkle_proof"];
    Some(Told { index: proof["leaf_index"].as_u64()?, leaf: proof["leaf_hash"].as_str()?.to_owned() })
}
