//! Who may do what: the operator, and people.

use serde_json::{Value, json};

use crate::{HOME, Shape, words};

const CLUSTER_WIDE: &[&str] = &[
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// What is wrong with the rules of one role, if anything is.
fn too_much(rules: &Value, at_home: bool) -> Option<String> {
    for rule in rules.as_array().unwrap() {
        let of = |key: &str| words(&rule[key]);
        let (resources, verbs) = (of("resources"), of("verbs"));
        if [of("apiGroups"), resources.clone(), verbs.clone()].concat().contains(&"*") {
            return Some(format!("a wildcard: {rule}"));
        }
        if verbs.iter().any(|verb| ["escalate", "bind", "impersonate"].contains(verb)) {
            return Some(format!("a way to more rights: {rule}"));
        }
        let secrets = resources.iter().any(|resource| resource.split('/').next() == Some("secrets"));
        let own = at_home && of("resourceNames") == ["paramant-operator-ca"] && verbs == ["get", "patch"];
        if secrets && !own {
            return Some(format!("a right on Secrets: {rule}"));
        }
    }
    None
}

#[test]
fn a_right_too_many_is_noticed() {
    let rule = |resource: &str, verbs: Value| json!([{ "apiGroups": [""], "resources": [resource], "verbs": verbs }]);
    for planted in
        [rule("secrets", json!(["get"])), rule("*", json!(["list"])), rule("roles", json!(["bind"]))]
    {
        assert!(too_much(&planted, true).is_some(), "{planted}");
    }
    let mut own = rule("secrets", json!(["get", "patch"]));
    own[0]["resourceNames"] = json!(["paramant-operator-ca"]);
    assert_eq!(too_much(&own, true), None);
    assert!(too_much(&own, false).is_some(), "not where relays are");
}

#[test]
fn no_shape_gives_a_right_on_secrets_where_relays_are() {
    let mut seen = 0;
    for shape in Shape::all() {
        for role in shape.of("Role").chain(shape.of("ClusterRole")) {
            let name = role["metadata"]["name"].as_str().unwrap();
            let at_home = name == "paramant-operator" && role["metadata"]["namespace"] == HOME;
            assert_eq!(too_much(&role["rules"], at_home), None, "{}: {name}", shape.name);
            seen += 1;
        }
    }
    assert!(seen > 10, "roles were looked at");
}

#[test]
fn with_namespaces_named_nothing_counts_in_the_whole_cluster_but_the_fence() {
    for shape in Shape::all() {
        let namespaces = shape.watched();
        let wide: Vec<&str> = shape
            .objects
            .iter()
            .filter_map(|it| it["kind"].as_str())
            .filter(|it| CLUSTER_WIDE.contains(it))
            .collect();
        if namespaces.is_empty() {
            continue;
        }
        let fence = shape.values["admissionPolicy"]["enabled"] == true;
        let allowed = |kind: &&str| fence && kind.starts_with("ValidatingAdmissionPolicy");
        assert!(wide.iter().all(allowed), "{}: {wide:?}", shape.name);
        for namespace in namespaces {
            for kind in ["Role", "RoleBinding"] {
                let there = |it: &&Value| {
                    it["metadata"]["namespace"] == namespace
                        && it["metadata"]["name"] == "paramant-operator-relays"
                };
                assert_eq!(shape.of(kind).filter(there).count(), 1, "{}: {kind} in {namespace}", shape.name);
            }
        }
    }
    assert!(Shape::named("default").of("ClusterRole").count() > 0, "the search finds cluster roles");
}

#[test]
fn nothing_is_put_into_a_namespace_that_was_not_named() {
    for shape in Shape::all() {
        for object in &shape.objects {
            let kind = object["kind"].as_str().unwrap();
            match object["metadata"]["namespace"].as_str() {
                None => assert!(CLUSTER_WIDE.contains(&kind), "{}: {kind} without a namespace", shape.name),
                Some(namespace) => {
                    assert!(
                        namespace == HOME || shape.watched().contains(&namespace),
                        "{}: {namespace}",
                        shape.name
                    );
                }
            }
        }
    }
}

#[test]
fn every_binding_is_to_the_operators_account_and_to_a_role_of_the_chart() {
    for shape in Shape::all() {
        let account = shape.only("Deployment")["spec"]["template"]["spec"]["serviceAccountName"].clone();
        for binding in shape.of("RoleBinding").chain(shape.of("ClusterRoleBinding")) {
            let subject = json!([{ "kind": "ServiceAccount", "name": account, "namespace": HOME }]);
            assert_eq!(binding["subjects"], subject, "{}", shape.name);
            let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
            let mut roles =
                shape.objects.iter().filter(|it| it["kind"] == *kind && it["metadata"]["name"] == *name);
            assert!(
                roles.any(|it| it["metadata"]["namespace"] == binding["metadata"]["namespace"]),
                "{binding}"
            );
        }
    }
}

#[test]
fn an_account_and_rights_from_elsewhere_are_used_and_not_made() {
    let shape = Shape::named("existing-account");
    for kind in ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
        assert_eq!(shape.of(kind).count(), 0, "{kind}");
    }
    assert_eq!(shape.only("Deployment")["spec"]["template"]["spec"]["serviceAccountName"], "ops");
}

#[test]
fn editors_edit_specs_and_viewers_look_and_neither_writes_a_status() {
    let shape = Shape::named("default");
    let role = |name: &str| {
        let role = shape.of("ClusterRole").find(|role| role["metadata"]["name"] == name).unwrap();
        let into: Vec<String> = crate::labels(role)
            .keys()
            .filter_map(|label| label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-"))
            .map(str::to_owned)
            .collect();
        let [rule] = role["rules"].as_array().unwrap().as_slice() else { panic!("{role}") };
        assert_eq!(words(&rule["apiGroups"]), ["paramant.app"]);
        assert_eq!(words(&rule["resources"]), ["paramantrelays", "paramantlicenses", "paramantpolicies"]);
        (into, words(&rule["verbs"]).into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let (into, verbs) = role("paramant-editor");
    assert_eq!(into, ["admin", "edit"]);
    assert!(verbs.iter().any(|verb| verb == "patch"));
    let (into, verbs) = role("paramant-viewer");
    assert_eq!(into, ["view"]);
    assert_eq!(verbs, ["get", "list", "watch"]);
}

#[test]
fn the_fence_is_around_the_operators_own_account_and_lets_nothing_pass_unjudged() {
    for (name, account) in [("admission-policy", "paramant-operator"), ("everything", "paramant")] {
        let shape = Shape::named(name);
        let policy = &shape.only("ValidatingAdmissionPolicy")["spec"];
        assert_eq!(policy["failurePolicy"], "Fail");
        let by = policy["matchConditions"][0]["expression"].as_str().unwrap();
        assert_eq!(by, format!("request.userInfo.username == 'system:serviceaccount:{HOME}:{account}'"));
        let rule = &policy["matchConstraints"]["resourceRules"][0];
        assert_eq!(words(&rule["operations"]), ["CREATE", "UPDATE"]);
        assert_eq!(words(&rule["resources"]), ["statefulsets", "deployments"]);
        let binding = &shape.only("ValidatingAdmissionPolicyBinding")["spec"];
        assert_eq!(words(&binding["validationActions"]), ["Deny"]);
        assert_eq!(binding["paramRef"]["parameterNotFoundAction"], "Deny");
        assert_eq!(binding["policyName"], shape.only("ValidatingAdmissionPolicy")["metadata"]["name"]);
        for what in ["hostPath", "envFrom", "projected", "optional", "automountServiceAccountToken"] {
            let told = policy["validations"].as_array().unwrap().iter();
            let mut told = told.filter_map(|it| it["expression"].as_str());
            assert!(told.any(|expression| expression.contains(what)), "{what}");
        }
    }
    assert_eq!(Shape::named("default").of("ValidatingAdmissionPolicy").count(), 0);
}
