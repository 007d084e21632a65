#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use clap::{CommandFactory as _, Parser as _};

use super::*;

fn explained(line: &str) -> Vec<String> {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    lines(&cli, cli.global.namespace.as_deref().unwrap_or("transfers"))
}

const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn each_verb_that_is_one_line_has_its_plain_equivalent() {
    let patch = "patch prelay health --type=merge --field-manager=paramant-admin";
    let annotate = "annotate prelay health --field-manager=paramant-admin --overwrite";
    let rows = [
        ("x license -A -o json".to_owned(), "kubectl get plic --all-namespaces -o json".to_owned()),
        ("x license acme -o yaml".to_owned(), "kubectl get plic acme -o yaml".to_owned()),
        ("x status".to_owned(), "kubectl get prelay -o wide".to_owned()),
        ("x status -A".into(), "kubectl get prelay --all-namespaces -o wide".into()),
        ("x status health -o json".into(), "kubectl get prelay health -o json".into()),
        ("x status -o yaml -n t".into(), "kubectl --namespace=t get prelay -o yaml".into()),
        ("x status health --watch".into(), "kubectl get prelay health -o wide --watch".into()),
        (
            "x drain health --context c".into(),
            format!(r#"kubectl --context=c {patch} -p '{{"spec":{{"drain":true}}}}'"#),
        ),
        ("x undrain health".into(), format!(r#"kubectl {patch} -p '{{"spec":{{"drain":null}}}}'"#)),
        ("x undrain health --refuse".into(), format!(r#"kubectl {patch} -p '{{"spec":{{"drain":false}}}}'"#)),
        (
            "x drain health --dry-run=server".into(),
            format!(r#"kubectl {patch} --dry-run=server -p '{{"spec":{{"drain":true}}}}'"#),
        ),
        ("x pause health".into(), format!("kubectl {annotate} paramant.app/paused=true")),
        ("x resume health".into(), format!("kubectl {annotate} paramant.app/paused-")),
        (
            format!("x approve health --digest {D} --sequence 7"),
            format!(
                r#"kubectl {patch} -p '{{"spec":{{"update":{{"approve":{{"digest":"{D}","sequence":7}}}}}}}}'"#
            ),
        ),
        (
            format!("x rollback health --to {D}"),
            format!(r#"kubectl {patch} -p '{{"spec":{{"update":{{"pin":"{D}"}}}}}}'"#),
        ),
        (
            "x rollback health --release".into(),
            format!(r#"kubectl {patch} -p '{{"spec":{{"update":{{"pin":null}}}}}}'"#),
        ),
        (
            format!("x retry health --digest {D}"),
            format!(r#"kubectl {patch} -p '{{"spec":{{"update":{{"retry":"{D}"}}}}}}'"#),
        ),
        (
            format!("x update-now health --digest {D}"),
            format!("kubectl {annotate} paramant.app/update-now={D}"),
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(explained(&line), [expected], "{line}");
    }
}

#[test]
fn a_verb_that_reads_first_makes_the_patch_of_one_read_and_holds_it_to_that_version() {
    let patch = r#"patch prelay health --type=merge --field-manager=paramant-admin -p "$patch""#;
    for (line, template) in [
        (
            "x approve health",
            r#"{"metadata":{"resourceVersion":"{{.metadata.resourceVersion}}"},"spec":{"update":{"approve":{"digest":"{{.status.update.target.digest}}","sequence":{{with .status.update.target.sequence}}{{.}}{{else}}null{{end}}}}}}"#,
        ),
        (
            "x rollback health",
            r#"{"metadata":{"resourceVersion":"{{.metadata.resourceVersion}}"},"spec":{"update":{"pin":"{{.status.update.lastGood}}"}}}"#,
        ),
        (
            "x retry health",
            r#"{"metadata":{"resourceVersion":"{{.metadata.resourceVersion}}"},"spec":{"update":{"retry":"{{$last := ""}}{{range .status.update.rejected}}{{$last = .digest}}{{end}}{{$last}}"}}}"#,
        ),
        (
            "x update-now health",
            r#"{"metadata":{"resourceVersion":"{{.metadata.resourceVersion}}","annotations":{"paramant.app/update-now":"{{.status.update.target.digest}}"}}}"#,
        ),
    ] {
        let read = format!("patch=$(kubectl get prelay health -o go-template='{template}')");
        assert_eq!(explained(line), [read, format!("kubectl {patch}")], "{line}");
    }
}

#[test]
fn revoking_writes_both_sets_as_they_were_read() {
    let lines = explained("x revoke-support-key health sk-1");
    assert_eq!(lines[0], "policy=$(kubectl get prelay health -o jsonpath='{.spec.policyRef.name}')");
    assert_eq!(
        lines[1],
        r#"patch=$(kubectl get ppol "$policy" -o go-template='{"metadata":{"resourceVersion":"{{.metadata.resourceVersion}}"},"spec":{"supportAccess":{ {{with .spec.supportAccess}}{{with .approved}}"approved":[{{$comma := ""}}{{range .}}{{if ne . "sk-1"}}{{$comma}}"{{.}}"{{$comma = ","}}{{end}}{{end}}],{{end}}{{end}}"revoked":["sk-1"{{with .spec.supportAccess}}{{range .revoked}}{{if ne . "sk-1"}},"{{.}}"{{end}}{{end}}{{end}}]}}}')"#
    );
    assert_eq!(
        lines[2],
        r#"kubectl patch ppol "$policy" --type=merge --field-manager=paramant-admin -p "$patch""#
    );
}

#[test]
fn an_answer_goes_where_the_shell_finds_that_it_belongs() {
    let id = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (verb, into, out_of) in [("allow", "approved", r#"'"$no"'"#), ("deny", r#"'"$no"'"#, "approved")] {
        let lines = explained(&format!("x {verb} health {id}"));
        assert_eq!(
            lines[0],
            format!(
                r#"kind=$(kubectl get prelay health -o jsonpath='{{.status.remoteActions.pending[?(@.id=="{id}")].kind}}') && : "${{kind:?no such request waits}}""#
            )
        );
        assert_eq!(lines[1], "section=remoteActions no=denied");
        assert_eq!(lines[2], r#"[ "$kind" != support_key ] || { section=supportAccess; no=revoked; }"#);
        assert_eq!(lines[3], "policy=$(kubectl get prelay health -o jsonpath='{.spec.policyRef.name}')");
        assert!(
            lines[4].contains(&format!(r#""{into}":["{id}"{{{{with .spec.'"$section"'}}}}"#)),
            "{}",
            lines[4]
        );
        assert!(lines[4].contains(&format!(r#"{{{{with .{out_of}}}}}"{out_of}":["#)), "{}", lines[4]);
        assert!(lines[5].ends_with(r#"--field-manager=paramant-admin -p "$patch""#), "{}", lines[5]);
    }
}

#[test]
fn what_only_reads_is_explained_by_reads() {
    for (line, all) in [
        (
            "x status health -n t",
            &["describe prelay health", "/namespaces/t/pods/health-0:9090/proxy/metrics"][..],
        ),
        (
            "x verify health -n t",
            &[
                "get prelay health",
                "get pod health-0",
                "get statefulset health",
                "/namespaces/t/services/health:80/proxy/log/checkpoint",
                "/log/vkeys",
            ],
        ),
        (
            "x report health -n t",
            &[
                "get prelay,ppol,plic",
                "-l paramant.app/relay=health",
                "logs health-0",
                "get events",
                "--namespace=paramant-system",
            ],
        ),
    ] {
        let lines = explained(line).join("\n");
        for part in all {
            assert!(lines.contains(part), "{line} without {part}:\n{lines}");
        }
        assert!(!lines.contains("patch") && !lines.contains("secret"), "{lines}");
    }
}

#[test]
fn what_comes_from_elsewhere_is_quoted() {
    let lines = lines(
        &Cli::try_parse_from(["x", "status", "--context", "admin@it's; rm -rf", "--kubeconfig", "/a b"])
            .unwrap(),
        "t",
    );
    assert_eq!(lines, [r"kubectl '--kubeconfig=/a b' '--context=admin@it'\''s; rm -rf' get prelay -o wide"]);
}

#[test]
fn no_verb_is_without_an_equivalent() {
    for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let rest = match verb.get_name() {
            "completion" => vec!["bash"],
            "revoke-support-key" => vec!["health", "sk-1"],
            "allow" | "deny" => vec!["health", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
            _ => vec!["health"],
        };
        let words = ["x", verb.get_name()].into_iter().chain(rest);
        let lines = lines(&Cli::try_parse_from(words).unwrap(), "t");
        assert!(lines.iter().any(|line| line.contains("kubectl ")), "{}", verb.get_name());
    }
}
