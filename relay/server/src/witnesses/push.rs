//! One push: the proof, the request, the question, the verdict, what is kept of it.

use jiff::Timestamp;
use paramant_protocol::leaf::sha256;
use paramant_tlog::Tree;
use paramant_tlog::cosignature::MAX_ANSWER;
use paramant_tlog::note::Note;
use paramant_tlog::witness::{ADD_CHECKPOINT, AddCheckpoint, Answer};

use super::verdict::{Sent, WitnessVerdict, judge};
use super::{Witnesses, trust};
use crate::outbound::{self, OutboundError, Request, Way, calls};
use crate::settings::{WitnessMember, WitnessSettings};

/// Asks one witness about the candidate.
pub(super) async fn push(
    witnesses: &Witnesses,
    config: &WitnessSettings,
    member: &WitnessMember,
) -> WitnessVerdict {
    let way = witnesses.way(config);
    // What cannot leave is no call.
    if matches!(&way, Way::Courier(couriers, purpose) if !couriers.is_connected(*purpose)) {
        return OutboundError::NoCourier.into();
    }
    let prepared = match prepare(witnesses, member).await {
        Ok(prepared) => prepared,
        Err(verdict) => return verdict,
    };
    let digest = hex::encode(sha256(&prepared.body));
    let mut salt = [0; 32];
    if let Err(error) = getrandom::fill(&mut salt) {
        return WitnessVerdict::NotAsked(format!("the system gives no random bytes: {error}"));
    }
    let destination = member.url.authority();
    let (body, now) = (prepared.body.clone(), Timestamp::now().as_second());
    let counted =
        witnesses.0.shelf.change(|book| calls::count(&mut book.calls, &destination, &body, now, salt)).await;
    if let Err(error) = counted {
        return WitnessVerdict::NotAsked(format!("the push cannot be counted, so it is not made: {error}"));
    }
    let request = Request::new(ADD_CHECKPOINT, prepared.body).reading(MAX_ANSWER);
    let reply = outbound::ask(&way, &member.url, &trust(config), request).await;
    let status = reply.as_ref().map_or(0, |reply| reply.status);
    let (verdict, line) = match reply {
        Err(error) => (error.into(), None),
        Ok(reply) => {
            let answer = Answer::read(reply.status, reply.content_type.as_deref(), &reply.body);
            let published = witnesses.0.log.published().map_or(0, |published| published.head.size);
            let sent = Sent { old: prepared.old, size: prepared.size, text: &prepared.text };
            judge(answer, sent, &member.key, published)
        }
    };
    tracing::info!(
        destination,
        request = digest,
        old = prepared.old,
        size = prepared.size,
        status,
        outcome = verdict.label(),
        "pushed a checkpoint to a witness"
    );
    let now = Timestamp::now().as_second();
    let kept = witnesses.0.shelf.change(|book| match (&verdict, &line) {
        (WitnessVerdict::Cosigned { size }, Some(line)) => {
            book.cosign(&member.key, *size, &prepared.text, line, now);
            book.settle(config.quorum(), &config.members);
        }
        (WitnessVerdict::Behind { size }, _) => book.correct(&member.key, *size),
        _ => {}
    });
    match kept.await {
        Ok(()) => verdict,
        Err(error) => WitnessVerdict::NotAsked(format!("the witness's answer cannot be kept: {error}")),
    }
}

struct Prepared {
    body: Vec<u8>,
    old: u64,
    size: u64,
    text: String,
}

async fn prepare(witnesses: &Witnesses, member: &WitnessMember) -> Result<Prepared, WitnessVerdict> {
    let not_asked = |why: &dyn std::fmt::Display| WitnessVerdict::NotAsked(why.to_string());
    let book = witnesses.0.shelf.read();
    let candidate = book.candidate.as_ref().ok_or_else(|| not_asked(&"there is no checkpoint yet"))?;
    let note = Note::parse(candidate.note.as_bytes()).map_err(|error| not_asked(&error))?;
    let (size, text) = candidate.checkpoint().ok_or_else(|| not_asked(&"the checkpoint cannot be read"))?;
    // A witness that saw more is asked all the same: its answer tells how much more.
    let old = book.known(&member.key).size.min(size);
    let log = witnesses.0.log.clone();
    let proof = if old == 0 || old == size {
        Vec::new()
    } else {
        let proof = move || log.engine().consistency(Tree::Sha256, old, size);
        let proof = tokio::task::spawn_blocking(proof).await.map_err(|error| not_asked(&error))?;
        proof.map_err(|error| not_asked(&error))?
    };
    let request = AddCheckpoint::new(old, proof, &note, &witnesses.0.log.verifiers())?;
    Ok(Prepared { body: request.to_bytes(), old, size, text })
}
