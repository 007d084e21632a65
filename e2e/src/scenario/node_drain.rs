//! A node is drained as `kubectl drain` does it: no new pods there, then an eviction. SIGTERM is the relay's drain: an upload in
//! progress is finished and acknowledged before the pod ends, and the pod that comes back has the rolled template.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    fixture::Fixture,
    template::{evict, pod, replaced},
};
use crate::{bed::Bed, process::wait_for, relay::Relay, relay::random_blob, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "node-drain")?;
    let relay = fixture.relay("health")?;
    relay.roundtrip(2000)?;
    let before = pod(&fixture)?;

    // A budget of the cluster's own holds the eviction back, and nothing is lost by trying.
    let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: held, namespace: NAMESPACE }\nspec: { minAvailable: 1, selector: { matchLabels: { paramant.app/relay: health } } }\n";
    bed.apply(&budget.replace("NAMESPACE", &fixture.namespace))?;
    wait_for("the budget to be counted", Duration::from_secs(30), || {
        let healthy = fixture.field("pdb/held", "/status/currentHealthy")?;
        Ok(if healthy == 1 { Ok(()) } else { Err(healthy.to_string()) })
    })?;
    match evict(&fixture) {
        Err(error) if format!("{error:#}").contains("disruption budget") => {}
        other => bail!("an eviction against the budget: {other:?}"),
    }
    bed.kubectl(&["-n", &fixture.namespace, "delete", "pdb", "held"])?;

    let cordon = Cordon::set(bed)?;
    let mut upload = Upload::begin(&relay, 200_000)?;
    evict(&fixture)?;
    wait_for("the relay to say that it ends", Duration::from_secs(30), || {
        let message = fixture.field("prelay/health", "/status/message")?;
        let says = message.as_str().unwrap_or_default().contains("finishing");
        Ok(if says { Ok(()) } else { Err(message.to_string()) })
    })?;
    ensure!(pod(&fixture)?.uid == before.uid, "the pod ended with an upload in progress");
    let digest = upload.finish()?;
    wait_for("the pod to wait for a node", Duration::from_secs(60), || {
        let message = fixture.field("prelay/health", "/status/message")?;
        let (now, said) = (pod(&fixture)?, message.as_str().unwrap_or_default().to_owned());
        let waits = now.uid != before.uid && said.contains("schedul");
        Ok(if waits { Ok(()) } else { Err(format!("{now:?}: {said}")) })
    })?;
    drop(cordon);
    let after = replaced(&fixture, &before.uid)?;
    ensure!(
        (&after.image, &after.hash) == (&before.image, &before.hash),
        "the pod came back as {after:?}, was {before:?}"
    );
    fixture.ready("health")?;
    wait_for("the relay to serve again", Duration::from_secs(30), || {
        Ok(relay.roundtrip(1000).map_err(|error| format!("{error:#}")))
    })?;
    let (status, got) = relay.download(&digest)?;
    ensure!(
        status == 200 && got == upload.bytes,
        "what was acknowledged while the pod ended answers {status}"
    );
    seen(
        (),
        "a budget held the eviction; then an upload in progress was finished and acknowledged before the pod ended, and read once from the next one",
    )
}

/// The node takes no new pods, until dropped.
struct Cordon<'a> {
    bed: &'a Bed,
    node: String,
}

impl<'a> Cordon<'a> {
    fn set(bed: &'a Bed) -> Result<Self> {
        let node = bed.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
        let node = node.trim().to_owned();
        bed.kubectl(&["cordon", &node])?;
        Ok(Cordon { bed, node })
    }
}

impl Drop for Cordon<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.bed.kubectl(&["uncordon", &self.node]) {
            println!("       {} stays cordoned: {error:#}", self.node);
        }
    }
}

/// An upload of which half is sent.
struct Upload {
    stream: TcpStream,
    rest: Vec<u8>,
    digest: String,
    bytes: Vec<u8>,
}

impl Upload {
    fn begin(relay: &Relay, length: usize) -> Result<Self> {
        let (bytes, digest) = random_blob(length)?;
        let body =
            json!({ "hash": digest, "payload": STANDARD.encode(&bytes), "ttl_ms": 3_600_000 }).to_string();
        let address = relay.url.strip_prefix("http://").context("the relay's address is no plain HTTP")?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let head = format!(
            "POST /v2/inbound HTTP/1.1\r\nHost: {address}\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            relay.key,
            body.len()
        );
        let (now, later) = body.as_bytes().split_at(body.len() / 2);
        stream.write_all(head.as_bytes())?;
        stream.write_all(now)?;
        stream.flush()?;
        // The relay has begun to read it, or an eviction could come before the upload.
        std::thread::sleep(Duration::from_millis(500));
        Ok(Upload { stream, rest: later.to_vec(), digest, bytes })
    }

    /// Sends the rest; what the relay acknowledged.
    fn finish(&mut self) -> Result<String> {
        self.stream.write_all(&self.rest)?;
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).context("the answer to the upload in progress")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the upload in progress was answered: {answer}");
        Ok(self.digest.clone())
    }
}
