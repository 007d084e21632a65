//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use paramant_crds::Digest;

use crate::named;

/// Look at Paramant relays and steer them.
#[derive(Debug, Parser)]
#[command(name = "kubectl paramant", bin_name = "kubectl paramant", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// What every command takes, named as kubectl names it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// The namespace; the context's own when absent.
    #[arg(short, long, global = true, value_parser = named::object)]
    pub(crate) namespace: Option<String>,
    /// All namespaces (with `status` and `license`).
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
    /// `server`: let the API server check the change and keep nothing.
    #[arg(long, global = true, value_name = "WHERE", value_enum)]
    pub(crate) dry_run: Option<DryRun>,
}

/// Where a change is only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// The API server does all but keep it.
    Server,
}

/// How `status` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For people with room.
    Wide,
    /// As stored.
    Json,
    /// As stored.
    Yaml,
}

/// For which shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    /// The program `kubectl_complete-paramant`, by which kubectl completes its plugins.
    Kubectl,
}

/// The relay a command is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Named {
    /// The relay.
    #[arg(value_parser = named::object)]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a relay does and what it waits for; a table of all without a name.
    Status {
        /// The relay.
        #[arg(value_parser = named::object)]
        name: Option<String>,
        /// How it is written.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        /// Look again every two seconds, and write when something changed.
        #[arg(short, long)]
        watch: bool,
    },
    /// Refuse new uploads, finish what is in flight, then idle.
    Drain {
        #[command(flatten)]
        relay: Named,
    },
    /// Take back `drain`. A policy, an update or the vendor may still ask for one.
    Undrain {
        #[command(flatten)]
        relay: Named,
        /// Take uploads even if the vendor asks for a drain, until `undrain` is said again without this. A policy and an update
        /// drain all the same.
        #[arg(long)]
        refuse: bool,
    },
    /// Observe and report, but change nothing.
    Pause {
        #[command(flatten)]
        relay: Named,
    },
    /// Take back `pause`.
    Resume {
        #[command(flatten)]
        relay: Named,
    },
    /// Agree to the update that waits.
    Approve {
        #[command(flatten)]
        relay: Named,
        /// The image that is agreed to; what waits for approval when absent.
        #[arg(long, value_parser = named::digest)]
        digest: Option<Digest>,
        /// The offer that is agreed to; that of what waits when absent.
        #[arg(long)]
        sequence: Option<u64>,
    },
    /// Go back to the last image that ran well, and hold it.
    Rollback {
        #[command(flatten)]
        relay: Named,
        /// The image; `status.update.lastGood` when absent.
        #[arg(long, value_name = "DIGEST", value_parser = named::digest, conflicts_with = "release")]
        to: Option<Digest>,
        /// Hold nothing any more: `spec.image` and offers count again.
        #[arg(long)]
        release: bool,
    },
    /// Try an image again that failed.
    Retry {
        #[command(flatten)]
        relay: Named,
        /// The image; the one that failed last when absent.
        #[arg(long, value_parser = named::digest)]
        digest: Option<Digest>,
    },
    /// Roll the update that waits now, whatever the window says. Once, and this image only.
    UpdateNow {
        #[command(flatten)]
        relay: Named,
        /// The image; what waits when absent.
        #[arg(long, value_parser = named::digest)]
        digest: Option<Digest>,
    },
    /// What a licence grants, when it ends, and how the check-ins of its relays went; a table of all without a name.
    License {
        /// The ParamantLicense.
        #[arg(value_parser = named::object)]
        license: Option<String>,
        /// How it is written.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// What the vendor asks of a relay, and what became of it.
    Requests {
        #[command(flatten)]
        relay: Named,
    },
    /// Agree to a request of the vendor that waits.
    Allow {
        #[command(flatten)]
        relay: Named,
        /// The request's id, as `requests` shows it.
        #[arg(value_parser = named::request_id)]
        request: String,
    },
    /// Refuse a request of the vendor that waits.
    Deny {
        #[command(flatten)]
        relay: Named,
        /// The request's id, as `requests` shows it.
        #[arg(value_parser = named::request_id)]
        request: String,
    },
    /// End a vendor's support key for good.
    RevokeSupportKey {
        #[command(flatten)]
        relay: Named,
        /// The key's id, as `status.support` shows it.
        #[arg(value_parser = named::key_id)]
        key: String,
    },
    /// Check what runs and what its log says, from outside.
    Verify {
        #[command(flatten)]
        relay: Named,
    },
    /// Gather a support bundle with nothing secret in it.
    Report(Report),
    /// Print a completion script.
    Completion {
        /// For which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// What kubectl asks while a word is typed.
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words so far.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// What a support bundle is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Report {
    /// One relay; all of the namespace when absent.
    #[arg(value_parser = named::object)]
    pub(crate) name: Option<String>,
    /// A file that ends in `.tar.gz`, or a directory that does not exist yet.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Where the operator runs.
    #[arg(long, default_value = "paramant-system", value_parser = named::object)]
    pub(crate) operator_namespace: String,
    /// The newest lines of each log that are taken.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tail: u32,
}

impl Command {
    /// Whether it changes something.
    fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Status { .. }
                | Self::License { .. }
                | Self::Requests { .. }
                | Self::Verify { .. }
                | Self::Report(_)
                | Self::Completion { .. }
                | Self::Complete { .. }
        )
    }
}

impl Cli {
    /// Why this makes no sense, if it does not.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let lists = matches!(
            self.command,
            Command::Status { name: None, .. } | Command::License { license: None, .. }
        );
        if self.global.all_namespaces && !lists {
            return Some(
                "--all-namespaces goes with `status` and `license` without a name; name the namespace with --namespace",
            );
        }
        if self.global.dry_run.is_some() && !self.command.changes() {
            return Some("--dry-run goes with commands that change something");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let contradicts =
            |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().contradiction().is_some();
        for line in [
            "x -A status health",
            "x drain health -A",
            "x resume health -A --explain",
            "x report -A",
            "x license acme -A",
            "x license --dry-run=server",
            "x status --dry-run=server",
            "x requests health --dry-run=server",
            "x verify health --dry-run server",
        ] {
            assert!(contradicts(line), "{line}");
        }
        for line in [
            "x -A status",
            "x license -A",
            "x status health",
            "x status -A --explain",
            "x drain health -n t",
            "x approve health --dry-run=server",
        ] {
            assert!(!contradicts(line), "{line}");
        }
    }

    #[test]
    fn odd_names_never_reach_a_path_or_a_shell() {
        for line in [
            "x status ../secrets",
            "x drain a;b",
            "x drain health -n a/b",
            "x approve health --digest sha256:1",
            "x rollback health --release --to sha256:1",
            "x allow health $(id)",
            "x deny health 0123456789ABCDEF0123456789ABCDEF",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn the_krew_manifest_is_one_and_holds_the_places_that_a_release_fills() {
        let text = include_str!("../../../config/krew/paramant.yaml");
        let manifest: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
        assert_eq!(manifest["kind"], "Plugin");
        assert_eq!(manifest["metadata"]["name"], "paramant");
        assert!(
            manifest["spec"]["shortDescription"].as_str().unwrap().len() <= 50,
            "as krew asks of its index"
        );
        let platforms = manifest["spec"]["platforms"].as_array().unwrap();
        assert!(!platforms.is_empty());
        let document = include_str!("../../../docs/kubectl-paramant.md");
        for platform in platforms {
            assert_eq!(platform["bin"], "kubectl-paramant");
            for field in ["uri", "sha256"] {
                let value = platform[field].as_str().unwrap();
                let place = value.split('@').nth(1).unwrap();
                assert!(document.contains(&format!("@{place}@")), "{place} is filled by no command");
            }
        }
    }
}
