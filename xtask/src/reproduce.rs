//! `cargo xtask reproduce`: the release images built twice, in two surroundings, must have one digest.
//! What is compared is what a user would pull: the digest of the pushed manifest.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::build::{Build, COURIER, OPERATOR, Program, RELAY, cargo_home};
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::images::{is_rehearsed, program_image};
use crate::packages;
use crate::run::Run;
use crate::step::{Evidence, step};

/// Where one of the two builds happens.
struct Surroundings {
    /// They differ in length, depth and name.
    place: &'static str,
    /// What a builder's machine may have set otherwise.
    environment: &'static [(&'static str, &'static str)],
}

const SURROUNDINGS: [Surroundings; 2] = [
    Surroundings { place: "one", environment: &[("TZ", "UTC"), ("LC_ALL", "C"), ("USER", "one")] },
    Surroundings {
        place: "another/and/deeper",
        environment: &[("TZ", "Pacific/Kiritimati"), ("LC_ALL", "C.UTF-8"), ("USER", "another")],
    },
];

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
    let commit = head(cache)?;
    let mut digests = Vec::new();
    for surroundings in &SURROUNDINGS {
        let name = format!("release build in {}", root(cache).join(surroundings.place).display());
        digests.push(step(&name, |evidence| {
            let digests = build(cache, surroundings, &commit, &programs)?.digests;
            evidence.say(digests.join(", "));
            Ok(digests)
        })?);
    }
    step("compare the digests", |evidence| {
        evidence.say(same(cache, &digests)?.join(", "));
        fs::remove_dir_all(root(cache)).doing(|| format!("delete {}", root(cache).display()))
    })
}

/// The same for the relay's image alone, as a rung of the ladder. What was compiled stays, so the next run compiles only what changed.
pub(crate) fn two_builds_of_the_relay_are_one_image(cache: &Cache, evidence: &Evidence) -> Result<()> {
    packages::ensure(cache)?;
    let commit = head(cache)?;
    let [one, other] = &SURROUNDINGS;
    let (one, other) = (build(cache, one, &commit, &[RELAY])?, build(cache, other, &commit, &[RELAY])?);
    // Planted: a byte more in either program makes another image, or comparing digests would tell nothing.
    for program in [RELAY, COURIER] {
        if with_a_byte_more(cache, &one, program)? == other.digests {
            return fail(format!("a byte more in {} was not seen", program.binary));
        }
    }
    evidence.say(same(cache, &[one.digests, other.digests])?.join(", "));
    Ok(())
}

/// The digests when one of the programs is a byte longer.
fn with_a_byte_more(cache: &Cache, built: &Built, longer: Program) -> Result<Vec<String>> {
    let folder = root(cache).join("a-byte-more");
    make_directory(&folder)?;
    for program in [RELAY, COURIER] {
        let to = folder.join(program.binary);
        fs::copy(built.folder.join(program.binary), &to).doing(|| format!("write {}", to.display()))?;
        if program.binary == longer.binary {
            let file = OpenOptions::new().append(true).open(&to);
            file.and_then(|mut file| file.write_all(&[0])).doing(|| format!("write {}", to.display()))?;
        }
    }
    Ok(vec![digest(cache, &folder, &RELAY)?])
}

fn root(cache: &Cache) -> PathBuf {
    cache.root().join("reproduce")
}

/// Asked once: a commit made meanwhile must not become the source of the second build.
fn head(cache: &Cache) -> Result<String> {
    Run::new("git").args(["rev-parse", "HEAD"]).dir(cache.checkout()).output()
}

fn same<'a>(cache: &Cache, digests: &'a [Vec<String>]) -> Result<&'a [String]> {
    let [first, second] = digests else { return fail("two builds were made, but not two results") };
    if first != second {
        return fail(format!(
            "two builds of one source differ:\n    {first:?}\n    {second:?}\nBoth are in {}; diffoscope shows where they differ",
            root(cache).display()
        ));
    }
    Ok(first)
}

/// A copy of the files of a commit, as new: whatever was compiled from others before is not taken for it.
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
    Run::new("tar").arg("-xmf").arg(&archive).arg("-C").arg(&source).done()?;
    Ok(source)
}

/// What was built in one of the surroundings.
struct Built {
    folder: PathBuf,
    /// Of the programs' images.
    digests: Vec<String>,
}

fn build(cache: &Cache, surroundings: &Surroundings, commit: &str, programs: &[Program]) -> Result<Built> {
    let place = root(cache).join(surroundings.place);
    let (source, target) = (check_out(cache, commit, &place)?, place.join("target"));
    let log = cache.log("reproduce");
    let _ = fs::remove_file(&log);
    let built = [programs, &[COURIER]].concat();
    let build = Build {
        release: true,
        environment: surroundings.environment,
        cargo_home: Some(home_of_its_own(&place)?),
        ..Build::default()
    };
    let folder = build.programs(&source, &target, &log, &built)?;
    let digests = programs.iter().map(|program| digest(cache, &folder, program)).collect::<Result<_>>()?;
    Ok(Built { folder, digests })
}

/// A home for Cargo in this place, with all that the usual one has: the sources of other packages have another path too.
fn home_of_its_own(place: &Path) -> Result<PathBuf> {
    let (home, usual) = (place.join("cargo"), cargo_home()?);
    let _ = fs::remove_dir_all(&home);
    make_directory(&home)?;
    let kept = fs::read_dir(&usual).doing(|| format!("read {}", usual.display()))?;
    for entry in kept.filter_map(std::result::Result::ok) {
        let link = home.join(entry.file_name());
        symlink(entry.path(), &link).doing(|| format!("link {}", link.display()))?;
    }
    Ok(home)
}

fn digest(cache: &Cache, folder: &Path, program: &Program) -> Result<String> {
    let from = folder.join(program.binary);
    if program.binary == RELAY.binary {
        is_rehearsed(&from, false)?;
    }
    let image = program_image(program.binary, &from, env!("CARGO_PKG_VERSION"));
    let to = folder.join(format!("{}.image", program.binary));
    image.push(cache, &format!("oci:{}", to.display()), true)
}
