//! `fuzz-seeds DIRECTORY [TARGET]`: writes the seeds and the dictionary of each target for a run under libFuzzer, and prints a
//! line for each: its name, and the feature of this crate that has it, if it takes one.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use paramant_fuzz::{GROUPS, Target, all, seeds};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: fuzz-seeds DIRECTORY [TARGET]");
        return ExitCode::FAILURE;
    };
    let wanted = arguments.next();
    let is_wanted = |target: &Target| wanted.as_ref().is_none_or(|wanted| wanted == target.name);
    if !all().any(is_wanted) {
        let names: Vec<&str> = all().map(|target| target.name).collect();
        eprintln!("there is no such target; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    for group in GROUPS {
        for target in group.targets.iter().filter(|target| is_wanted(target)) {
            if let Err(error) = write(target, &Path::new(&directory).join(target.name)) {
                eprintln!("{}: {error}", target.name);
                return ExitCode::FAILURE;
            }
            println!("{} {}", target.name, group.feature.unwrap_or_default());
        }
    }
    ExitCode::SUCCESS
}

fn write(target: &Target, folder: &Path) -> std::io::Result<()> {
    let seeds_folder = folder.join("seeds");
    fs::create_dir_all(&seeds_folder)?;
    for (number, seed) in seeds::of(target).iter().enumerate() {
        fs::write(seeds_folder.join(format!("{number:04}")), seed)?;
    }
    let quoted = |word: &&str| {
        let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"\n")
    };
    fs::write(folder.join("dictionary"), target.words.iter().map(quoted).collect::<String>())
}
