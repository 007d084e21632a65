//! Where something is in the API, and which right a request for it takes.
//!
//! Every request of this program is made from a [`Place`], so what RBAC it needs follows from one table of kinds.

use std::fmt;

/// A kind as RBAC and URLs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The API group; empty for the core one.
    pub(crate) group: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// Plural, lower case.
    pub(crate) resource: &'static str,
    /// For people.
    pub(crate) word: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $group:literal $version:literal $resource:literal $word:literal;)*) => {
        $(pub(crate) const $name: Kind = Kind { group: $group, version: $version, resource: $resource, word: $word };)*
    };
}

kinds! {
    RELAYS = "paramant.app" "v1alpha1" "paramantrelays" "relay";
    POLICIES = "paramant.app" "v1alpha1" "paramantpolicies" "policy";
    LICENSES = "paramant.app" "v1alpha1" "paramantlicenses" "licence";
    PODS = "" "v1" "pods" "pod";
    SERVICES = "" "v1" "services" "service";
    SERVICE_ACCOUNTS = "" "v1" "serviceaccounts" "service account";
    CONFIG_MAPS = "" "v1" "configmaps" "ConfigMap";
    CLAIMS = "" "v1" "persistentvolumeclaims" "volume claim";
    EVENTS = "" "v1" "events" "event";
    STATEFUL_SETS = "apps" "v1" "statefulsets" "StatefulSet";
    DEPLOYMENTS = "apps" "v1" "deployments" "Deployment";
    NETWORK_POLICIES = "networking.k8s.io" "v1" "networkpolicies" "NetworkPolicy";
}

/// An object, a list of them, or a subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// `None`: all namespaces.
    pub(crate) namespace: Option<String>,
    /// `None`: the list.
    pub(crate) name: Option<String>,
    sub: Option<&'static str>,
    /// The port that `proxy` names behind the object.
    port: Option<&'static str>,
    /// What follows `proxy/`.
    rest: String,
    query: Vec<(&'static str, String)>,
}

impl Place {
    /// All objects of a kind.
    pub(crate) fn list(kind: Kind, namespace: Option<&str>) -> Self {
        Self {
            kind,
            namespace: namespace.map(str::to_owned),
            name: None,
            sub: None,
            port: None,
            rest: String::new(),
            query: Vec::new(),
        }
    }

    /// One object.
    pub(crate) fn one(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::list(kind, Some(namespace)) }
    }

    /// What a port of a pod or a service answers, asked by the API server.
    pub(crate) fn proxy(kind: Kind, namespace: &str, name: &str, port: &'static str, path: &str) -> Self {
        Self {
            sub: Some("proxy"),
            port: Some(port),
            rest: path.trim_start_matches('/').to_owned(),
            ..Self::one(kind, namespace, name)
        }
    }

    /// What a container wrote.
    pub(crate) fn log(namespace: &str, pod: &str, container: &str) -> Self {
        let place = Self { sub: Some("log"), ..Self::one(PODS, namespace, pod) };
        place.with("container", container)
    }

    /// With a query parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Path and query.
    pub(crate) fn url(&self) -> String {
        let Kind { group, version, resource, .. } = self.kind;
        let mut url =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        if let Some(namespace) = &self.namespace {
            url.push_str(&format!("/namespaces/{namespace}"));
        }
        url.push_str(&format!("/{resource}"));
        if let Some(name) = &self.name {
            url.push_str(&format!("/{name}"));
        }
        if let Some(port) = self.port {
            url.push_str(&format!(":{port}"));
        }
        if let Some(sub) = self.sub {
            url.push_str(&format!("/{sub}"));
        }
        if !self.rest.is_empty() {
            url.push_str(&format!("/{}", self.rest));
        }
        if !self.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(self.query.iter().map(|(name, value)| (name, value)))
                .finish();
            url.push_str(&format!("?{query}"));
        }
        url
    }

    /// Whether something behind the API server answers.
    pub(crate) fn is_proxied(&self) -> bool {
        self.port.is_some()
    }

    /// The right a read of it takes.
    pub(crate) fn read(&self) -> Right {
        self.right(if self.name.is_some() { "get" } else { "list" })
    }

    /// The right a change of it takes.
    pub(crate) fn change(&self) -> Right {
        self.right("patch")
    }

    fn right(&self, verb: &'static str) -> Right {
        Right { verb, kind: self.kind, sub: self.sub, namespace: self.namespace.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.namespace) {
            (Some(name), Some(namespace)) => {
                write!(f, "{} {name} in namespace {namespace}", self.kind.word)
            }
            (None, Some(namespace)) => write!(f, "{} in namespace {namespace}", self.kind.resource),
            _ => write!(f, "{} in all namespaces", self.kind.resource),
        }
    }
}

/// A verb on a kind in a namespace, as a Role grants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    verb: &'static str,
    kind: Kind,
    sub: Option<&'static str>,
    namespace: Option<String>,
}

impl Right {
    /// Which role gives it: the chart's, and the built-in one that the chart's is aggregated to.
    pub(crate) fn role(&self) -> &'static str {
        match (self.kind.group, self.verb, self.sub) {
            ("paramant.app", "get" | "list", _) => {
                "the chart's ClusterRole paramant-viewer, or the built-in view"
            }
            ("paramant.app", ..) => "the chart's ClusterRole paramant-editor, or the built-in edit",
            (_, _, Some("proxy")) => "the built-in ClusterRole edit",
            _ => "the built-in ClusterRole view",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.kind.resource)?;
        if let Some(sub) = self.sub {
            write!(f, "/{sub}")?;
        }
        if !self.kind.group.is_empty() {
            write!(f, " ({})", self.kind.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" in all namespaces"),
        }
    }
}
