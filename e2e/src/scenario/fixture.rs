//! A namespace with a relay in it, gone when dropped.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{bed::Bed, demo, relay::Relay};

/// How long a relay may take to be ready on a loaded machine.
pub(crate) const READY: Duration = Duration::from_secs(180);

/// A namespace of one scenario.
pub(crate) struct Fixture<'a> {
    /// The bed it stands on.
    pub(crate) bed: &'a Bed,
    /// The namespace's name.
    pub(crate) namespace: String,
    /// The admin token of its relays.
    pub(crate) token: String,
}

impl<'a> Fixture<'a> {
    /// Makes the namespace, with restricted pod security and an admin token in Secret `relay-admin`.
    pub(crate) fn new(bed: &'a Bed, name: &str) -> Result<Self> {
        let namespace = format!("e2e-{name}");
        bed.delete_namespace(&namespace)?;
        bed.namespace(&namespace)?;
        let token = demo::admin_token(bed, &namespace, "relay-admin")?;
        Ok(Fixture { bed, namespace, token })
    }

    /// The manifest of a small relay; `more` is further lines of `spec`, indented by two.
    pub(crate) fn manifest(&self, name: &str, image: &str, more: &str) -> String {
        format!(
            "apiVersion: paramant.app/v1alpha1\nkind: ParamantRelay\nmetadata:\n  name: {name}\n  namespace: {}\nspec:\n  image: {image}\n  admin:\n    tokenSecretRef: {{ name: relay-admin, key: token }}\n{more}",
            self.namespace
        )
    }

    /// Applies a relay with the image under test and waits until it is ready.
    pub(crate) fn relay(&self, name: &str) -> Result<Relay> {
        self.apply(name, "")?;
        self.ready(name)?;
        self.connect(name)
    }

    /// Applies a policy; `spec` in YAML's flow style.
    pub(crate) fn policy(&self, name: &str, spec: &str) -> Result<()> {
        let namespace = &self.namespace;
        self.bed.apply(&format!(
            "apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec: {spec}\n"
        ))?;
        Ok(())
    }

    /// Applies a relay with the image under test.
    pub(crate) fn apply(&self, name: &str, more: &str) -> Result<()> {
        let image = self.bed.image("paramant-relay")?.to_owned();
        self.bed.apply(&self.manifest(name, &image, more))?;
        Ok(())
    }

    /// Waits for Ready.
    pub(crate) fn ready(&self, name: &str) -> Result<()> {
        self.bed.wait_condition(&self.namespace, &format!("prelay/{name}"), "Ready", READY)?;
        Ok(())
    }

    /// A new account on a ready relay.
    pub(crate) fn connect(&self, name: &str) -> Result<Relay> {
        let url = self.bed.service_url(&self.namespace, name)?;
        crate::process::wait_for("the relay's Service", Duration::from_secs(30), || {
            Ok(Ok(crate::relay::client()?.get(format!("{url}/health")).send()?.error_for_status()?))
        })?;
        crate::relay::revoke_labelled(&url, &self.token, "e2e")?;
        Relay::with_new_key(&url, &self.token, "e2e")
    }

    /// One field of an object, by a JSON pointer.
    pub(crate) fn field(&self, what: &str, pointer: &str) -> Result<serde_json::Value> {
        Ok(self.bed.get(&self.namespace, what)?.pointer(pointer).cloned().unwrap_or_default())
    }

    /// Whether there is such an object.
    pub(crate) fn exists(&self, what: &str) -> Result<bool> {
        let found = ["-n", &self.namespace, "get", what, "--ignore-not-found", "-o", "name"];
        Ok(!self.bed.kubectl(&found)?.trim().is_empty())
    }

    /// Waits until none of these objects is there.
    pub(crate) fn wait_gone(&self, what: &[&str]) -> Result<()> {
        crate::process::wait_for("objects to be gone", Duration::from_secs(60), || {
            let mut left = Vec::new();
            for what in what {
                if self.exists(what)? {
                    left.push(what);
                }
            }
            Ok(if left.is_empty() { Ok(()) } else { Err(format!("still there: {left:?}")) })
        })
    }

    /// The folder on this machine that a relay's volume is.
    pub(crate) fn data_folder(&self, relay: &str) -> Result<PathBuf> {
        let volume = self.field(&format!("pvc/data-{relay}-0"), "/spec/volumeName")?;
        let volume = self.bed.get("", &format!("pv/{}", volume.as_str().unwrap_or_default()))?;
        let path =
            volume["spec"]["local"]["path"].as_str().context("this scenario reads the test bed's volumes")?;
        Ok(PathBuf::from(path))
    }

    /// The condition of a relay as `status/reason`, or nothing.
    pub(crate) fn condition(&self, relay: &str, kind: &str) -> Result<Option<(String, String, String)>> {
        let object = self.bed.get(&self.namespace, &format!("prelay/{relay}"))?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Ok(object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["type"] == kind)
            .map(|one| (text(&one["status"]), text(&one["reason"]), text(&one["message"]))))
    }
}

impl Drop for Fixture<'_> {
    fn drop(&mut self) {
        // A scenario that failed leaves its namespace for a look, unless another run begins.
        if !std::thread::panicking() {
            self.bed
                .kubectl(&["delete", "namespace", &self.namespace, "--ignore-not-found", "--wait=false"])
                .ok();
        }
    }
}
