//! The health script for Argo CD, run by a real Lua over a table of situations; each wrong script must be noticed there.

use std::fs;

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::packages;
use crate::run::Run;
use crate::step::Evidence;

const SCRIPT: &str = "config/gitops/argocd-health.lua";
const TABLE: &str = "config/gitops/argocd-health.test.lua";

/// What in the script is made wrong, one at a time.
const MUTANTS: &[(&str, &str)] = &[
    ("status.observedGeneration ~= obj.metadata.generation", "false"),
    ("\"Reconciling\"", "\"Reconciled\""),
    ("\"Stalled\"", "\"Stale\""),
    ("\"Paused\"", "\"Pause\""),
    ("ready.status ~= \"True\"", "ready.status == \"False!\""),
    ("condition.status == \"True\"", "condition.status ~= nil"),
];

/// The rung.
pub(crate) fn check(cache: &Cache, evidence: &Evidence) -> Result<()> {
    packages::ensure_for_manifests(cache)?;
    let (script, table) = (cache.checkout().join(SCRIPT), cache.checkout().join(TABLE));
    let lua = || Run::new("lua5.1").arg(&table);
    let told = lua().arg(&script).output()?;
    let text = fs::read_to_string(&script).doing(|| format!("read {}", script.display()))?;
    let folder = cache.root().join("rendered/gitops");
    make_directory(&folder)?;
    let mutant = folder.join("mutant.lua");
    for (right, wrong) in MUTANTS {
        if !text.contains(right) {
            return fail(format!("{SCRIPT} does not hold `{right}` any more: bring MUTANTS up to date"));
        }
        fs::write(&mutant, text.replace(right, wrong)).doing(|| format!("write {}", mutant.display()))?;
        if lua().arg(&mutant).succeeds() {
            return fail(format!("{TABLE} does not notice `{wrong}` in place of `{right}`"));
        }
    }
    evidence.say(format!("{told}, {} mutants noticed", MUTANTS.len()));
    Ok(())
}
