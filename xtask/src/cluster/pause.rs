//! The sandbox image: a process that waits, on an empty base, in the cluster's own registry. Nothing is pulled from outside.

use super::layout::REGISTRY;
use super::probe::answers;
use crate::cache::Cache;
use crate::failure::Result;
use crate::images::layer::{File, Image};
use crate::step::Evidence;
use crate::tools;

/// Pushes the image unless the registry has it from an earlier run.
pub(crate) fn ensure(cache: &Cache, evidence: &Evidence) -> Result<()> {
    if answers(REGISTRY, "/v2/paramant-test/pause/manifests/1") {
        evidence.say("in the registry already");
        return Ok(());
    }
    let program = tools::pause(cache)?;
    let image = Image {
        name: "pause",
        title: "pause",
        files: vec![File { from: program, to: "/pause".into() }],
        entrypoint: "/pause".into(),
        version: "1".into(),
        labels: Vec::new(),
        environment: Vec::new(),
    };
    let digest = image.push(cache, &format!("docker://{REGISTRY}/paramant-test/pause:1"), true)?;
    evidence.say(digest);
    Ok(())
}
