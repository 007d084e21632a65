//! Does the log that the relay serves continue the one that status remembers?
//!
//! Keys and checkpoint come from the relay itself, so two things tie them to what the operator saw: the ML-DSA-65 key must
//! be the identity in status, and the tree must be an extension of the head in status. The consistency proof is put together
//! here from tiles; a relay cannot choose it.

use std::collections::HashMap;

use paramant_crds::relay::{LogStatus, ParamantRelayStatus};
use paramant_tlog::note::Note;
use paramant_tlog::proof::{self, ProofError, ReadNode};
use paramant_tlog::tile::{self, Coordinates};
use paramant_tlog::vkey::{Algorithm, VerifierKey};
use paramant_tlog::{Checkpoint, Hash, Node, Tree, verify};
use sha3::{Digest as _, Sha3_256};

use super::{Answer, Checks, unseen};
use crate::cluster::{Cluster, Place, Refusal, SERVICES};

/// The Service's port, as the API server's proxy wants it named.
const PUBLIC_PORT: &str = "80";
/// More tiles than a proof between any two sizes below 2^64 takes.
const MOST_TILES: usize = 64;

/// Asks for keys, checkpoint and tiles, and says what they show.
pub(super) async fn check(cluster: &Cluster, name: &str, status: &ParamantRelayStatus, checks: &mut Checks) {
    let served = Served { cluster, name };
    let known = status.log.clone().unwrap_or_default();
    let keys = match served.keys().await {
        Ok(keys) => keys,
        Err(why) => return checks.put("the log's keys are the relay's", why),
    };
    let fingerprint = status.identity.as_ref().and_then(|identity| identity.fingerprint.clone());
    checks.put("the log's keys are the relay's", identity(&keys, fingerprint.as_ref().map(|it| it.as_str())));
    let checkpoint = match served.checkpoint(&keys).await {
        Ok(checkpoint) => checkpoint,
        Err(why) => return checks.put("every key signed the checkpoint", why),
    };
    let text = format!("{} keys, {} entries", keys.len(), checkpoint.size);
    checks.put("every key signed the checkpoint", Answer::Good(text));
    checks.put("the log has its name", origin(&checkpoint, &known));
    checks.put("the log continues what status remembers", served.continues(&checkpoint, &known).await);
    checks.put(
        "the operator found the log consistent",
        match known.consistent {
            Some(true) => Answer::Good("status.log.consistent".to_owned()),
            Some(false) => Answer::Wrong(
                "status.log.consistent is false; the condition LogConsistent says why".to_owned(),
            ),
            None => Answer::Open("the operator has not judged it yet".to_owned()),
        },
    );
}

/// The identity signs every checkpoint and never changes: its key must be the one status knows.
fn identity(keys: &[VerifierKey], fingerprint: Option<&str>) -> Answer {
    let mut of_identity = keys.iter().filter(|key| key.algorithm() == Algorithm::MlDsa65);
    let (Some(key), None) = (of_identity.next(), of_identity.next()) else {
        return Answer::Wrong("/log/vkeys does not hold exactly one ML-DSA-65 key".to_owned());
    };
    for needed in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        if !keys.iter().any(|key| key.algorithm() == needed) {
            return Answer::Wrong(format!("/log/vkeys holds no {needed} key"));
        }
    }
    let served = hex::encode(Sha3_256::digest(key.public_key()));
    match fingerprint {
        Some(known) if known == served => Answer::Good(format!("identity {served}")),
        Some(known) => {
            Answer::Wrong(format!("the relay signs as {served}, status.identity.fingerprint is {known}"))
        }
        None => Answer::Open(format!("it signs as {served}; status names no identity yet")),
    }
}

fn origin(checkpoint: &Checkpoint, known: &LogStatus) -> Answer {
    match &known.origin {
        Some(origin) if *origin == checkpoint.origin => Answer::Good(origin.clone()),
        Some(origin) => {
            Answer::Wrong(format!("it says {:?}, status.log.origin is {origin:?}", checkpoint.origin))
        }
        None => Answer::Open(format!("it says {:?}; status names no origin yet", checkpoint.origin)),
    }
}

/// What the relay serves, through the API server.
struct Served<'a> {
    cluster: &'a Cluster,
    name: &'a str,
}

impl Served<'_> {
    async fn get(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let path = format!("log/{path}");
        let place = Place::proxy(SERVICES, &self.cluster.namespace, self.name, PUBLIC_PORT, &path);
        Ok(self.cluster.bytes(&place).await?.to_vec())
    }

    async fn keys(&self) -> Result<Vec<VerifierKey>, Answer> {
        let served = self.get("vkeys").await.map_err(|refusal| unseen(&refusal))?;
        let text = String::from_utf8_lossy(&served);
        let keys = text.lines().map(VerifierKey::parse).collect::<Result<Vec<_>, _>>();
        keys.map_err(|error| Answer::Wrong(format!("/log/vkeys holds what is no key: {error}")))
    }

    /// The newest checkpoint, once every one of the keys is seen to have signed it.
    async fn checkpoint(&self, keys: &[VerifierKey]) -> Result<Checkpoint, Answer> {
        let served = self.get("checkpoint").await.map_err(|refusal| unseen(&refusal))?;
        signed_by_all(&served, keys).map_err(|why| Answer::Wrong(format!("/log/checkpoint: {why}")))
    }

    async fn continues(&self, checkpoint: &Checkpoint, known: &LogStatus) -> Answer {
        let (Some(size), Some(root)) = (known.size, known.root.as_ref()) else {
            return Answer::Open("status remembers no head yet".to_owned());
        };
        let mut old = Hash::default();
        if hex::decode_to_slice(root.as_str(), &mut old).is_err() {
            return Answer::Wrong("status.log.root is not 64 hex digits".to_owned());
        }
        if checkpoint.size < size {
            return Answer::Wrong(format!(
                "it has {} entries, status remembers {size}: an older copy of the volume was put back",
                checkpoint.size
            ));
        }
        let path = match self.proof(size, checkpoint.size).await {
            Ok(path) => path,
            Err(why) => return why,
        };
        match verify::consistency(Tree::Sha256, size, &old, checkpoint.size, &checkpoint.root, &path) {
            Ok(()) => Answer::Good(format!("{size} entries there, {} here, one tree", checkpoint.size)),
            Err(error) => Answer::Wrong(format!(
                "the first {size} of its {} entries are not those that status remembers: {error}",
                checkpoint.size
            )),
        }
    }

    /// Asks for the tiles that a proof turns out to need.
    async fn proof(&self, from: u64, to: u64) -> Result<Vec<Hash>, Answer> {
        let mut tiles = Tiles::default();
        loop {
            match proof::consistency(Tree::Sha256, &mut tiles, from, to) {
                Ok(path) => return Ok(path),
                Err(ProofError::Store(wanted)) if tiles.0.len() < MOST_TILES => {
                    let width = wanted.width_at(to);
                    let served = self.get(&wanted.path(width)).await.map_err(|refusal| unseen(&refusal))?;
                    let nodes = tile::decode(&served).filter(|nodes| nodes.len() == usize::from(width));
                    let nodes = nodes.ok_or_else(|| {
                        Answer::Wrong(format!("/log/{} is not {width} hashes", wanted.path(width)))
                    })?;
                    tiles.0.insert(wanted, nodes);
                }
                Err(_) => {
                    return Err(Answer::Wrong("no consistency proof can be made of its tiles".to_owned()));
                }
            }
        }
    }
}

/// Tiles at hand; says which one is missing.
#[derive(Default)]
struct Tiles(HashMap<Coordinates, Vec<Hash>>);

impl ReadNode for Tiles {
    type Error = Coordinates;

    fn node(&mut self, node: Node) -> Result<Hash, Coordinates> {
        let (holding, run) = Coordinates::holding(node);
        let run = self.0.get(&holding).and_then(|nodes| nodes.get(run));
        run.map(|run| tile::node_from_run(Tree::Sha256, run)).ok_or(holding)
    }
}

/// Reads a checkpoint that all of the keys signed.
fn signed_by_all(bytes: &[u8], keys: &[VerifierKey]) -> Result<Checkpoint, String> {
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    let verified = note.open(keys).map_err(|error| error.to_string())?;
    for (number, key) in keys.iter().enumerate() {
        if !verified.iter().any(|line| line.key == number) {
            return Err(format!("the {} key {} has not signed it", key.algorithm(), key.name()));
        }
    }
    Checkpoint::parse(&note.text).map_err(|error| error.to_string())
}
