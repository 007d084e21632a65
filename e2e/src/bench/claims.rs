//! `transfer-claims`: 64 readers at once on a file that may be read once; in every round exactly one gets it.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::{Arguments, line, process};
use crate::relay::random_blob;

const ROUNDS: u64 = 10_000;
const READERS: usize = 64;
const LENGTH: usize = 1024;

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let relay = process::Relay::start(&arguments.relay, directory).await?;
    let rounds = arguments.rounds.unwrap_or(ROUNDS);
    let began = Instant::now();
    for round in 0..rounds {
        let (bytes, digest) = random_blob(LENGTH)?;
        let put = relay.http.put(format!("{}/v3/blobs/{digest}", relay.url)).header("X-Api-Key", &relay.key);
        let kept = put.body(bytes.clone()).send().await?;
        ensure!(kept.status() == 200, "round {round}: the upload answered {}", kept.status());
        kept.bytes().await?;
        let url = format!("{}/v2/outbound/{digest}", relay.url);
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let read = relay.http.get(&url).header("X-Api-Key", &relay.key).send();
            readers.spawn(async move {
                let answer = read.await?;
                let status = answer.status().as_u16();
                Ok::<_, reqwest::Error>((status, answer.bytes().await?))
            });
        }
        let mut winners = 0;
        while let Some(read) = readers.join_next().await {
            match read?? {
                (200, got) => {
                    ensure!(got == bytes, "round {round}: the winner got other bytes");
                    winners += 1;
                }
                (404, _) => {}
                (status, _) => anyhow::bail!("round {round}: a reader was answered {status}"),
            }
        }
        ensure!(winners == 1, "round {round}: {winners} of {READERS} readers got a file that is read once");
    }
    line::print("claim-rounds-with-one-winner", rounds as f64, "rounds of 64 readers", Some(ROUNDS as f64));
    line::print("claim-rounds-rate", rounds as f64 / began.elapsed().as_secs_f64(), "1/s", None);
    Ok(())
}
