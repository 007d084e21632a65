//! `cargo xtask reproduce`: the release images built twice, from two directories of different depth, must have one digest.
//! What is compared is what a user would pull: the digest of the pushed manifest.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::build::{Build, COURIER, OPERATOR, Program, RELAY};
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::images::{is_rehearsed, program_image};
use crate::packages;
use crate::run::Run;
use crate::step::step;

/// Two places that differ in length, depth and name.
const PLACES: [&str; 2] = ["one", "another/and/deeper"];

/// `cargo xtask reproduce [operator|relay]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let wanted = arguments.word();
    arguments.end()?;
    let programs: Vec<Program> = [OPERATOR, RELAY]
        .into_iter()
        .filter(|program| wanted.as_ref().is_none_or(|wanted| program.binary.ends_with(wanted.as_str())))
        .collect();
    if programs.is_empty() {
        return fail("there is no such image; there are: operator, relay");
    }
    packages::ensure(cache)?;
    let root = cache.root().join("reproduce");
    // Once: a commit made meanwhile must not become the source of the second build.
    let commit = Run::new("git").args(["rev-parse", "HEAD"]).dir(cache.checkout()).output()?;
    let mut digests = Vec::new();
    for place in PLACES {
        let place = root.join(place);
        let source = check_out(cache, &commit, &place)?;
        digests.push(build(cache, &source, &place.join("target"), &programs)?);
    }
    step("compare the digests", |evidence| {
        let [first, second] = &digests[..] else { return fail("two builds were made, but not two results") };
        if first != second {
            return fail(format!(
                "two builds of one source differ:\n    {first:?}\n    {second:?}\nBoth are in {}",
                root.display()
            ));
        }
        evidence.say(first.join(", "));
        fs::remove_dir_all(&root).doing(|| format!("delete {}", root.display()))
    })
}

/// A copy of the files of a commit.
fn check_out(cache: &Cache, commit: &str, place: &Path) -> Result<PathBuf> {
    let source = place.join("source");
    let _ = fs::remove_dir_all(&source);
    make_directory(&source)?;
    let archive = place.join("source.tar");
    Run::new("git")
        .args(["archive", "--output"])
        .arg(&archive)
        .arg(commit.trim())
        .dir(cache.checkout())
        .done()?;
    Run::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source).done()?;
    Ok(source)
}

fn build(cache: &Cache, source: &Path, target: &Path, programs: &[Program]) -> Result<Vec<String>> {
    step(&format!("release build in {}", source.display()), |evidence| {
        let log = cache.log("reproduce");
        let _ = fs::remove_file(&log);
        let built = [programs, &[COURIER]].concat();
        let folder = Build { release: true, ..Build::default() }.programs(source, target, &log, &built)?;
        let digests = programs
            .iter()
            .map(|program| digest(cache, &folder, target, program))
            .collect::<Result<Vec<_>>>()?;
        evidence.say(digests.join(", "));
        Ok(digests)
    })
}

fn digest(cache: &Cache, folder: &Path, target: &Path, program: &Program) -> Result<String> {
    let from = folder.join(program.binary);
    let relay = program.binary == RELAY.binary;
    if relay {
        is_rehearsed(&from, false)?;
    }
    let image = program_image(program.binary, &from, env!("CARGO_PKG_VERSION"));
    let to = target.join(format!("{}.image", program.binary));
    image.push(cache, &format!("oci:{}", to.display()), true)
}
