//! `fuzz-seeds DIRECTORY [TARGET]`: writes the seeds and the dictionary of each target for a run under libFuzzer, and prints the
//! targets' names.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use paramant_fuzz::{ALL, Target, seeds};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: fuzz-seeds DIRECTORY [TARGET]");
        return ExitCode::FAILURE;
    };
    let wanted = arguments.next();
    let chosen: Vec<&Target> =
        ALL.iter().filter(|target| wanted.as_ref().is_none_or(|wanted| wanted == target.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
        eprintln!("there is no such target; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    for target in chosen {
        if let Err(error) = write(target, &Path::new(&directory).join(target.name)) {
            eprintln!("{}: {error}", target.name);
            return ExitCode::FAILURE;
        }
        println!("{}", target.name);
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
