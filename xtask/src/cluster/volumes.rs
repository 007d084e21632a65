//! Persistent volumes: folders on the machine, one `local` volume each. Nothing provisions or recycles them, so this does:
//! it empties the released ones and adds new ones until as many are free as asked for.

use std::fs;

use super::kubectl::Kubectl;
use super::layout::Layout;
use crate::cache::make_directory;
use crate::failure::{Doing, Result};

/// A volume's name and phase, as kubectl prints them.
struct Volume {
    name: String,
    phase: String,
}

/// Makes sure that `wanted` volumes are free; returns how many are there in all.
pub(crate) fn ensure(layout: &Layout, kubectl: &Kubectl, wanted: usize) -> Result<usize> {
    let volumes = list(kubectl)?;
    let (released, kept): (Vec<_>, Vec<_>) =
        volumes.into_iter().partition(|volume| matches!(volume.phase.as_str(), "Released" | "Failed"));
    let mut wanted_manifests = String::new();
    for volume in &released {
        kubectl.run(["delete", "persistentvolume", &volume.name, "--ignore-not-found"]).done()?;
        empty(layout, &volume.name)?;
        wanted_manifests.push_str(&manifest(layout, &volume.name));
    }
    let free = kept.iter().filter(|volume| volume.phase == "Available").count() + released.len();
    let total = kept.len() + released.len();
    // Names count up and are never given twice: the highest so far is as good a place to go on as any.
    let highest =
        kept.iter().chain(&released).filter_map(|volume| volume.name.rsplit('-').next()?.parse().ok()).max();
    let next: usize = highest.map_or(0, |highest: usize| highest + 1);
    let missing = wanted.saturating_sub(free);
    for number in next..next + missing {
        let name = format!("local-{number:04}");
        make_directory(&layout.data.join("volumes").join(&name))?;
        wanted_manifests.push_str(&manifest(layout, &name));
    }
    if !wanted_manifests.is_empty() {
        kubectl.apply(wanted_manifests).done()?;
    }
    Ok(total + missing)
}

fn list(kubectl: &Kubectl) -> Result<Vec<Volume>> {
    let template = "{range .items[*]}{.metadata.name} {.status.phase}{\"\\n\"}{end}";
    let answer = kubectl
        .run([
            "get",
            "persistentvolumes",
            "-l",
            "paramant.app/test-volume",
            "-o",
            &format!("jsonpath={template}"),
        ])
        .output()?;
    Ok(answer
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, phase)| Volume { name: name.to_owned(), phase: phase.to_owned() })
        .collect())
}

fn manifest(layout: &Layout, name: &str) -> String {
    // One volume may not offer both modes. Relays ask for ReadWriteOncePod unless told otherwise.
    let access = if name.ends_with('9') { "ReadWriteOnce" } else { "ReadWriteOncePod" };
    layout.fill(include_str!("files/volume.yaml")).replace("{{VOLUME}}", name).replace("{{ACCESS}}", access)
}

fn empty(layout: &Layout, name: &str) -> Result<()> {
    let folder = layout.data.join("volumes").join(name);
    fs::remove_dir_all(&folder).doing(|| format!("empty {}", folder.display()))?;
    make_directory(&folder)
}
