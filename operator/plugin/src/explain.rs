//! For each command what plain `kubectl` would be told: lines for a POSIX shell, which do the same with the same rights.
//!
//! Where a command decides by what it reads, so do its lines: one read makes the patch, with the version that was read as
//! precondition. Names were checked when the command line was parsed, so only what comes from elsewhere is quoted.

use paramant_crds::annotation::{PAUSED, UPDATE_NOW};

use crate::change::Change;
use crate::cli::{Cli, Command, Output, Report};
use crate::cluster::FIELD_MANAGER;
use crate::verb::{Answer, Section};

/// The version that was read, as the beginning of a patch.
const SEEN: &str = r#""metadata":{"resourceVersion":"{{.metadata.resourceVersion}}""#;

/// The plain kubectl lines. `namespace` is the one in force, for paths that hold it.
pub(crate) fn lines(cli: &Cli, namespace: &str) -> Vec<String> {
    let words = Words::of(cli);
    match &cli.command {
        Command::Status { name, output, watch } => {
            words.status(name.as_deref(), *output, *watch, cli.global.all_namespaces, namespace)
        }
        Command::Drain { relay } => vec![words.patch(&relay.name, &Change::Drain(Some(true)))],
        Command::Undrain { relay, refuse } => {
            vec![words.patch(&relay.name, &Change::Drain(refuse.then_some(false)))]
        }
        Command::Pause { relay } => vec![words.annotate(&relay.name, &format!("{PAUSED}=true"))],
        Command::Resume { relay } => vec![words.annotate(&relay.name, &format!("{PAUSED}-"))],
        Command::Approve { relay, digest: Some(digest), sequence } => {
            vec![words.patch(&relay.name, &Change::Approve(digest.clone(), *sequence))]
        }
        Command::Approve { relay, digest: None, sequence } => {
            let sequence = match sequence {
                Some(sequence) => sequence.to_string(),
                None => r#"{{with .status.update.target.sequence}}{{.}}{{else}}null{{end}}"#.into(),
            };
            let approve = format!(
                r#"{{{SEEN}}},"spec":{{"update":{{"approve":{{"digest":"{{{{.status.update.target.digest}}}}","sequence":{sequence}}}}}}}}}"#
            );
            words.read_and_patch("prelay", &relay.name, &approve)
        }
        Command::Rollback { relay, release: true, .. } => {
            vec![words.patch(&relay.name, &Change::Pin(None))]
        }
        Command::Rollback { relay, to: Some(to), .. } => {
            vec![words.patch(&relay.name, &Change::Pin(Some(to.clone())))]
        }
        Command::Rollback { relay, to: None, .. } => {
            let pin =
                format!(r#"{{{SEEN}}},"spec":{{"update":{{"pin":"{{{{.status.update.lastGood}}}}"}}}}}}"#);
            words.read_and_patch("prelay", &relay.name, &pin)
        }
        Command::Retry { relay, digest: Some(digest) } => {
            vec![words.patch(&relay.name, &Change::Retry(digest.clone()))]
        }
        Command::Retry { relay, digest: None } => {
            let retry = format!(
                r#"{{{SEEN}}},"spec":{{"update":{{"retry":"{{{{$last := ""}}}}{{{{range .status.update.rejected}}}}{{{{$last = .digest}}}}{{{{end}}}}{{{{$last}}}}"}}}}}}"#
            );
            words.read_and_patch("prelay", &relay.name, &retry)
        }
        Command::UpdateNow { relay, digest: Some(digest) } => {
            vec![words.annotate(&relay.name, &format!("{UPDATE_NOW}={digest}"))]
        }
        Command::UpdateNow { relay, digest: None } => {
            let now = format!(
                r#"{{{SEEN},"annotations":{{"{UPDATE_NOW}":"{{{{.status.update.target.digest}}}}"}}}}}}"#
            );
            words.read_and_patch("prelay", &relay.name, &now)
        }
        Command::License { license, output } => {
            words.license(license.as_deref(), *output, cli.global.all_namespaces)
        }
        Command::Requests { relay } => vec![words.requests(&relay.name)],
        Command::Allow { relay, request } => words.answer(&relay.name, request, Answer::Yes),
        Command::Deny { relay, request } => words.answer(&relay.name, request, Answer::No),
        Command::RevokeSupportKey { relay, key } => words.revoke(&relay.name, key),
        Command::Verify { relay } => words.verify(&relay.name, namespace),
        Command::Report(report) => words.report(report, namespace),
        Command::Completion { .. } | Command::Complete { .. } => vec![words.say("completion bash")],
    }
}

/// How each line begins and a change ends.
struct Words {
    kubectl: String,
    dry: &'static str,
}

impl Words {
    fn of(cli: &Cli) -> Self {
        let mut words = vec!["kubectl".to_owned()];
        if let Some(kubeconfig) = &cli.global.kubeconfig {
            words.push(quoted(&format!("--kubeconfig={}", kubeconfig.display())));
        }
        words.extend(cli.global.context.iter().map(|context| quoted(&format!("--context={context}"))));
        words.extend(cli.global.namespace.iter().map(|namespace| format!("--namespace={namespace}")));
        let dry = if cli.global.dry_run.is_some() { " --dry-run=server" } else { "" };
        Self { kubectl: words.join(" "), dry }
    }

    fn say(&self, what: &str) -> String {
        format!("{} {what}", self.kubectl)
    }

    fn patch(&self, name: &str, change: &Change) -> String {
        let patch = change.patch();
        self.say(&format!(
            "patch prelay {name} --type=merge --field-manager={FIELD_MANAGER}{} -p '{patch}'",
            self.dry
        ))
    }

    fn annotate(&self, name: &str, what: &str) -> String {
        self.say(&format!(
            "annotate prelay {name} --field-manager={FIELD_MANAGER}{} --overwrite {what}",
            self.dry
        ))
    }

    fn read_and_patch(&self, kind: &str, name: &str, template: &str) -> Vec<String> {
        vec![
            format!("patch=$({})", self.say(&format!("get {kind} {name} -o go-template='{template}'"))),
            self.say(&format!(
                r#"patch {kind} {name} --type=merge --field-manager={FIELD_MANAGER}{} -p "$patch""#,
                self.dry
            )),
        ]
    }

    fn license(&self, name: Option<&str>, output: Output, everywhere: bool) -> Vec<String> {
        let all = if everywhere { " --all-namespaces" } else { "" };
        match (name, output) {
            (Some(name), Output::Table | Output::Wide) => vec![
                self.say(&format!("describe plic {name}")),
                self.say("get prelay -o custom-columns=NAME:.metadata.name,LICENSE:.spec.licenseRef.name,STATUS:.status.license"),
            ],
            (Some(name), _) => vec![self.say(&format!("get plic {name}{}", stored(output)))],
            (None, _) => vec![self.say(&format!("get plic{all}{}", stored(output)))],
        }
    }

    fn status(
        &self,
        name: Option<&str>,
        output: Output,
        watch: bool,
        everywhere: bool,
        namespace: &str,
    ) -> Vec<String> {
        let mut what = match (name, output) {
            (Some(name), Output::Table | Output::Wide) if !watch => {
                let metrics =
                    format!("get --raw /api/v1/namespaces/{namespace}/pods/{name}-0:9090/proxy/metrics");
                return vec![self.say(&format!("describe prelay {name}")), self.say(&metrics)];
            }
            (Some(name), _) => format!("get prelay {name}"),
            (None, _) if everywhere => "get prelay --all-namespaces".to_owned(),
            (None, _) => "get prelay".to_owned(),
        };
        what.push_str(stored(output));
        if watch {
            what.push_str(" --watch");
        }
        vec![self.say(&what)]
    }

    fn requests(&self, name: &str) -> String {
        self.say(&format!(
            "get prelay {name} -o jsonpath='{{.status.remoteActions}}{{\"\\n\"}}{{.status.support}}{{\"\\n\"}}'"
        ))
    }

    fn revoke(&self, name: &str, key: &str) -> Vec<String> {
        let section = Section::SupportAccess;
        let template = sets(section.as_str(), section.set(Answer::No), section.set(Answer::Yes), key);
        let mut lines = vec![self.policy(name)];
        lines.extend(self.read_and_patch("ppol", r#""$policy""#, &template));
        lines
    }

    /// Where the word belongs follows from what is asked, so the shell reads that first.
    fn answer(&self, name: &str, request: &str, answer: Answer) -> Vec<String> {
        let kind = self.say(&format!(
            "get prelay {name} -o jsonpath='{{.status.remoteActions.pending[?(@.id==\"{request}\")].kind}}'"
        ));
        let (others, keys) = (Section::RemoteActions, Section::SupportAccess);
        let (section, no) = (r#"'"$section"'"#, r#"'"$no"'"#);
        let (into, out_of) = match answer {
            Answer::Yes => (others.set(Answer::Yes), no),
            Answer::No => (no, others.set(Answer::Yes)),
        };
        let mut lines = vec![
            format!("kind=$({kind}) && : \"${{kind:?no such request waits}}\""),
            format!("section={} no={}", others.as_str(), others.set(Answer::No)),
            format!(
                "[ \"$kind\" != support_key ] || {{ section={}; no={}; }}",
                keys.as_str(),
                keys.set(Answer::No)
            ),
            self.policy(name),
        ];
        lines.extend(self.read_and_patch("ppol", r#""$policy""#, &sets(section, into, out_of, request)));
        lines
    }

    fn policy(&self, name: &str) -> String {
        let policy = self.say(&format!("get prelay {name} -o jsonpath='{{.spec.policyRef.name}}'"));
        format!("policy=$({policy})")
    }

    fn verify(&self, name: &str, namespace: &str) -> Vec<String> {
        let log = format!("get --raw /api/v1/namespaces/{namespace}/services/{name}:80/proxy/log");
        [
            format!("get prelay {name} -o yaml"),
            format!("get pod {name}-0 -o jsonpath='{{.status.containerStatuses[?(@.name==\"relay\")].imageID}} {{.metadata.labels.controller-revision-hash}}'"),
            format!("get statefulset {name} -o jsonpath='{{.status.updateRevision}}'"),
            format!("{log}/vkeys"),
            format!("{log}/checkpoint"),
        ]
        .iter()
        .map(|what| self.say(what))
        .collect()
    }

    fn report(&self, report: &Report, namespace: &str) -> Vec<String> {
        let operator =
            format!("--namespace={} -l app.kubernetes.io/name=paramant-operator", report.operator_namespace);
        let children = match &report.name {
            Some(name) => format!("-l paramant.app/relay={name}"),
            None => "-l paramant.app/relay".to_owned(),
        };
        let pod = report.name.as_ref().map_or("POD".to_owned(), |name| format!("{name}-0"));
        [
            "version".to_owned(),
            "get prelay,ppol,plic -o yaml".to_owned(),
            format!("get statefulset,deployment,pod,service,serviceaccount,configmap,networkpolicy,pvc {children} -o yaml"),
            "get events -o yaml".to_owned(),
            format!("logs {pod} --all-containers --tail={}", report.tail),
            format!("get --raw /api/v1/namespaces/{namespace}/pods/{pod}:9090/proxy/metrics"),
            format!("get deployment,pod {operator} -o yaml"),
            format!("logs {operator} --all-containers --tail={}", report.tail),
        ]
        .iter()
        .map(|what| self.say(what))
        .collect()
    }
}

/// The template of a patch that moves an id from one set of a policy to another. Both hold other people's entries too, so they are
/// written as they were read, with one more and one less.
fn sets(section: &str, into: &str, out_of: &str, id: &str) -> String {
    let less = format!(
        r#"{{{{with .{out_of}}}}}"{out_of}":[{{{{$comma := ""}}}}{{{{range .}}}}{{{{if ne . "{id}"}}}}{{{{$comma}}}}"{{{{.}}}}"{{{{$comma = ","}}}}{{{{end}}}}{{{{end}}}}],{{{{end}}}}"#
    );
    let more = format!(
        r#""{into}":["{id}"{{{{with .spec.{section}}}}}{{{{range .{into}}}}}{{{{if ne . "{id}"}}}},"{{{{.}}}}"{{{{end}}}}{{{{end}}}}{{{{end}}}}]"#
    );
    format!(r#"{{{SEEN}}},"spec":{{"{section}":{{ {{{{with .spec.{section}}}}}{less}{{{{end}}}}{more}}}}}}}"#)
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:@%+,".contains(c)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How kubectl is told to write what is stored.
fn stored(output: Output) -> &'static str {
    match output {
        Output::Table | Output::Wide => " -o wide",
        Output::Json => " -o json",
        Output::Yaml => " -o yaml",
    }
}

#[cfg(test)]
mod tests;
