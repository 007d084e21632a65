//! Completion: scripts for shells, and the answers kubectl asks its plugins for.
//!
//! kubectl completes `kubectl paramant …` by running a program `kubectl_complete-paramant` with the words so far. It prints a
//! candidate a line and, last, a colon and a number that tells the shell how to go on.

use clap::CommandFactory as _;
use clap_complete::aot;

use crate::cli::{Cli, Global, Shell};
use crate::cluster::{Cluster, Kind, LICENSES, Place, RELAYS, text};

/// For kubectl: `kubectl_complete-paramant`.
const KUBECTL: &str = "#!/bin/sh\nexec kubectl paramant __complete -- \"$@\"\n";
/// Complete nothing but these: no file names.
const NO_FILES: u8 = 4;
/// File names are as good.
const DEFAULT: u8 = 0;

/// Prints a completion script.
pub(crate) fn script(shell: Shell) {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
        Shell::Kubectl => return print!("{KUBECTL}"),
    };
    // Shells complete programs, and this one is called `kubectl-paramant` unless kubectl runs it.
    let mut command = Cli::command().name("kubectl-paramant").bin_name("kubectl-paramant");
    aot::generate(shell, &mut command, "kubectl-paramant", &mut std::io::stdout());
}

/// Prints what the last word may become.
pub(crate) async fn candidates(words: &[String]) {
    let wanted = wanted(words);
    for candidate in &wanted.fixed {
        println!("{candidate}");
    }
    if let Some(kind) = wanted.names_of {
        for name in objects(words, kind).await.unwrap_or_default() {
            println!("{name}");
        }
    }
    println!(":{}", if wanted.files { DEFAULT } else { NO_FILES });
}

/// What may stand in the place of the last word.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    fixed: Vec<String>,
    names_of: Option<Kind>,
    files: bool,
}

fn wanted(words: &[String]) -> Wanted {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", [].as_slice()),
    };
    let root = Cli::command();
    // Flags that take a value: what follows is theirs.
    let takes_value = |word: &str, command: &clap::Command| {
        let mut known = command.get_arguments().chain(root.get_arguments());
        let flag = known.find(|it| is(it, word)).filter(|it| it.get_action().takes_values());
        flag.map(|it| {
            it.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>()
        })
    };
    let mut verb: Option<&clap::Command> = None;
    let mut positionals = 0;
    let mut skip = false;
    for word in before {
        let command = verb.unwrap_or(&root);
        if std::mem::take(&mut skip) {
            continue;
        }
        if word.starts_with('-') {
            skip = !word.contains('=') && takes_value(word, command).is_some();
        } else if verb.is_none() {
            verb = root.find_subcommand(word);
        } else {
            positionals += 1;
        }
    }
    let command = verb.unwrap_or(&root);
    if let Some(values) = before.last().filter(|_| skip).and_then(|flag| takes_value(flag, command)) {
        let is_a_path =
            before.last().is_some_and(|flag| ["--kubeconfig", "--output", "-o"].contains(&flag.as_str()));
        return Wanted {
            files: is_a_path && values.is_empty(),
            fixed: starting(values, last),
            names_of: None,
        };
    }
    if last.starts_with('-') {
        let flags = command.get_arguments().chain(root.get_arguments()).filter_map(|it| it.get_long());
        let mut flags: Vec<String> = flags.map(|flag| format!("--{flag}")).collect();
        flags.sort();
        flags.dedup();
        return Wanted { fixed: starting(flags, last), ..Wanted::default() };
    }
    let Some(verb) = verb else {
        let verbs = root.get_subcommands().filter(|it| !it.is_hide_set()).map(|it| it.get_name().to_owned());
        return Wanted { fixed: starting(verbs.collect(), last), ..Wanted::default() };
    };
    let Some(argument) = verb.get_positionals().nth(positionals) else { return Wanted::default() };
    let values = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let names_of = match argument.get_id().as_str() {
        "name" => Some(RELAYS),
        "license" => Some(LICENSES),
        _ => None,
    };
    Wanted { fixed: starting(values, last), names_of, files: false }
}

fn is(argument: &clap::Arg, word: &str) -> bool {
    let long = word.strip_prefix("--").is_some_and(|long| argument.get_long() == Some(long));
    let short = word
        .strip_prefix('-')
        .is_some_and(|short| argument.get_short().is_some_and(|known| short.chars().eq([known])));
    long || short
}

fn starting(mut candidates: Vec<String>, with: &str) -> Vec<String> {
    candidates.retain(|candidate| candidate.starts_with(with));
    candidates
}

/// The objects of the namespace that the words name, if this user may list them; silence otherwise.
async fn objects(words: &[String], kind: Kind) -> anyhow::Result<Vec<String>> {
    let after = |flags: [&str; 2]| {
        let at = words.iter().position(|word| flags.contains(&word.as_str()))?;
        words.get(at + 1).cloned()
    };
    let global = Global {
        namespace: after(["-n", "--namespace"]).and_then(|name| crate::named::object(&name).ok()),
        context: after(["--context", "--context"]),
        ..Global::default()
    };
    let cluster = crate::connect(&global).await?;
    let found = names(&cluster, kind).await?;
    let last = words.last().map(String::as_str).unwrap_or_default();
    Ok(starting(found, last))
}

async fn names(cluster: &Cluster, kind: Kind) -> anyhow::Result<Vec<String>> {
    let found = cluster.list(&Place::list(kind, Some(&cluster.namespace))).await?;
    Ok(found.iter().map(|relay| text(relay, "/metadata/name").to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> Wanted {
        wanted(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_complete_to_what_may_stand_there() {
        let (dr, health) = (after("dr"), after("drain h"));
        assert_eq!(dr.fixed, ["drain"]);
        assert!(health.names_of == Some(RELAYS) && health.fixed.is_empty() && !health.files);
        assert_eq!(after("status -o y").fixed, ["yaml"]);
        assert_eq!(after("-n t approve health --dig").fixed, ["--digest"]);
        assert_eq!(after("completion ").fixed, ["bash", "zsh", "fish", "kubectl"]);
        assert!(after("").fixed.contains(&"update-now".to_owned()));
        assert!(!after("").fixed.contains(&"__complete".to_owned()));
        assert!(after("report --output ").files && after("--kubeconfig ").files);
        assert_eq!(after("revoke-support-key health k").names_of, None);
        assert_eq!(after("license a").names_of, Some(LICENSES));
    }

    #[test]
    fn scripts_complete_every_verb() {
        for shell in [aot::Shell::Bash, aot::Shell::Zsh, aot::Shell::Fish] {
            let mut script = Vec::new();
            let mut command = Cli::command().name("kubectl-paramant").bin_name("kubectl-paramant");
            aot::generate(shell, &mut command, "kubectl-paramant", &mut script);
            let script = String::from_utf8_lossy(&script);
            for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
    }
}
