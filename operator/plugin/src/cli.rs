//! The command line, and for each command what plain `kubectl` would be told.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use paramant_crds::annotation::PAUSED;

use crate::change::{Change, FIELD_MANAGER};

/// Look at Paramant relays and steer them.
#[derive(Debug, Parser)]
#[command(name = "kubectl paramant", bin_name = "kubectl paramant", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The namespace; the context's own when absent.
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// All namespaces (with `status`).
    #[arg(short = 'A', long, global = true)]
    pub(crate) all_namespaces: bool,
    /// The kubeconfig context.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// The kubeconfig file.
    #[arg(long, global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Print the plain kubectl equivalent and do nothing.
    #[arg(long, global = true)]
    pub(crate) explain: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a relay does and what it waits for; a table of all without a name.
    Status {
        /// The relay.
        name: Option<String>,
    },
    /// Refuse new uploads, finish what is in flight, then idle.
    Drain {
        /// The relay.
        name: String,
    },
    /// Take back `drain`. A policy, an update or the vendor may still ask for one.
    Undrain {
        /// The relay.
        name: String,
        /// Take uploads whoever else asks for a drain, until `undrain` is said again without this.
        #[arg(long)]
        refuse: bool,
    },
    /// Observe and report, but change nothing.
    Pause {
        /// The relay.
        name: String,
    },
    /// Take back `pause`.
    Resume {
        /// The relay.
        name: String,
    },
}

impl Cli {
    /// Why this makes no sense, if it does not: a name means one relay, and is looked for in one namespace.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let named = !matches!(self.command, Command::Status { name: None });
        let spread = self.all_namespaces && named;
        spread.then_some(
            "--all-namespaces goes with `status` without a name; name the relay's namespace with --namespace",
        )
    }

    /// The plain kubectl command.
    pub(crate) fn equivalent(&self) -> String {
        let mut words = vec!["kubectl".to_owned()];
        if let Some(kubeconfig) = &self.kubeconfig {
            words.push(format!("--kubeconfig={}", kubeconfig.display()));
        }
        words.extend(self.context.iter().map(|context| format!("--context={context}")));
        words.extend(self.namespace.iter().map(|namespace| format!("--namespace={namespace}")));
        let patch = |name: &str, change: Change| {
            format!(
                "patch prelay {name} --type=merge --field-manager={FIELD_MANAGER} -p '{}'",
                change.patch()
            )
        };
        words.push(match &self.command {
            Command::Status { name: Some(name) } => format!("describe prelay {name}"),
            Command::Status { name: None } if self.all_namespaces => {
                "get prelay --all-namespaces -o wide".to_owned()
            }
            Command::Status { name: None } => "get prelay -o wide".to_owned(),
            Command::Drain { name } => patch(name, Change::Drain(Some(true))),
            Command::Undrain { name, refuse } => patch(name, Change::Drain(refuse.then_some(false))),
            Command::Pause { name } => {
                format!("annotate prelay {name} --field-manager={FIELD_MANAGER} --overwrite {PAUSED}=true")
            }
            Command::Resume { name } => {
                format!("annotate prelay {name} --field-manager={FIELD_MANAGER} {PAUSED}-")
            }
        });
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn explained(line: &str) -> String {
        Cli::try_parse_from(line.split(' ')).unwrap().equivalent()
    }

    #[test]
    fn a_name_is_looked_for_in_one_namespace_only() {
        let contradicts =
            |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().contradiction().is_some();
        for line in ["x -A status health", "x drain health -A", "x resume health -A --explain"] {
            assert!(contradicts(line), "{line}");
        }
        for line in ["x -A status", "x status health", "x status -A --explain", "x drain health -n t"] {
            assert!(!contradicts(line), "{line}");
        }
    }

    #[test]
    fn each_command_has_its_plain_equivalent() {
        let rows = [
            ("x status", "kubectl get prelay -o wide"),
            ("x status -A", "kubectl get prelay --all-namespaces -o wide"),
            ("x status health -n t", "kubectl --namespace=t describe prelay health"),
            (
                "x drain health --context c",
                r#"kubectl --context=c patch prelay health --type=merge --field-manager=paramant-admin -p '{"spec":{"drain":true}}'"#,
            ),
            (
                "x undrain health",
                r#"kubectl patch prelay health --type=merge --field-manager=paramant-admin -p '{"spec":{"drain":null}}'"#,
            ),
            (
                "x undrain health --refuse",
                r#"kubectl patch prelay health --type=merge --field-manager=paramant-admin -p '{"spec":{"drain":false}}'"#,
            ),
            (
                "x pause health",
                "kubectl annotate prelay health --field-manager=paramant-admin --overwrite paramant.app/paused=true",
            ),
            (
                "x resume health",
                "kubectl annotate prelay health --field-manager=paramant-admin paramant.app/paused-",
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(explained(line), expected, "{line}");
        }
    }
}
