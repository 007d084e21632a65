//! Somebody at a terminal: a kubeconfig of their own, and kubectl finds the plugin on their PATH.

use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{bed::Bed, process, process::Output};

/// Gathering a bundle asks for many things, some of which may have to run into a limit.
const LIMIT: Duration = Duration::from_secs(180);

/// Who runs `kubectl paramant`.
pub(crate) struct Person<'a> {
    bed: &'a Bed,
    namespace: String,
    /// Kubeconfig and completion program.
    home: TempDir,
    kubeconfig: OsString,
}

impl<'a> Person<'a> {
    /// With the bed's own rights.
    pub(crate) fn admin(bed: &'a Bed, namespace: &str) -> Result<Self> {
        let [_, (_, kubeconfig)] = bed.shell_environment()?;
        Ok(Self { bed, namespace: namespace.to_owned(), home: tempfile::tempdir()?, kubeconfig })
    }

    /// With the built-in role `view` in the namespace, to which the chart's viewer role is aggregated.
    pub(super) fn viewer(bed: &'a Bed, namespace: &str) -> Result<Self> {
        bed.kubectl(&["-n", namespace, "create", "serviceaccount", "viewer"])?;
        let account = format!("--serviceaccount={namespace}:viewer");
        bed.kubectl(&["-n", namespace, "create", "rolebinding", "viewer", "--clusterrole=view", &account])?;
        let token = bed.kubectl(&["-n", namespace, "create", "token", "viewer"])?;
        let config = bed.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])?;
        let mut config: Value = serde_json::from_str(&config)?;
        let user = config.pointer_mut("/users/0/user").context("the kubeconfig has no user")?;
        *user = json!({ "token": token.trim() });
        let home = tempfile::tempdir()?;
        let path = home.path().join("config");
        fs::write(&path, config.to_string())?;
        Ok(Self { bed, namespace: namespace.to_owned(), kubeconfig: path.into(), home })
    }

    fn command(&self) -> Result<Command> {
        let mut path = vec![self.home.path().to_owned(), self.bed.binaries.clone()];
        let [(_, rest), _] = self.bed.shell_environment()?;
        path.extend(std::env::split_paths(&rest));
        let mut command = Command::new("sh");
        command.env("PATH", std::env::join_paths(path)?).env("KUBECONFIG", &self.kubeconfig);
        Ok(command)
    }

    fn ran(&self, script: &str) -> Result<Output> {
        process::run(self.command()?.args(["-euc", script]), None, LIMIT)
    }

    /// Runs lines of a shell; the last one's exit code counts for all that went before.
    pub(super) fn shell(&self, script: &str) -> Result<String> {
        self.ran(script)?.success(script)
    }

    /// Runs kubectl.
    pub(super) fn kubectl(&self, line: &str) -> Result<String> {
        self.shell(&format!("kubectl {line}"))
    }

    /// Runs `kubectl paramant` in the namespace.
    pub(crate) fn paramant(&self, line: &str) -> Result<String> {
        self.kubectl(&self.line(line))
    }

    /// Runs `kubectl paramant` in the namespace, which must end with exit code 1; answers all it said.
    pub(super) fn refused(&self, line: &str) -> Result<String> {
        let output = self.ran(&format!("kubectl {}", self.line(line)))?;
        if output.code != Some(1) {
            bail!(
                "`kubectl paramant {line}` ended with {:?}, expected 1:\n{}{}",
                output.code,
                output.stdout,
                output.stderr
            );
        }
        Ok(output.stdout + &output.stderr)
    }

    fn line(&self, line: &str) -> String {
        if line.contains("-A") || line.starts_with("completion") {
            return format!("paramant {line}");
        }
        format!("paramant {line} --namespace={}", self.namespace)
    }

    /// Puts `kubectl_complete-paramant` on the PATH, as the documentation says.
    pub(super) fn install_completion(&self) -> Result<()> {
        let path = self.home.path().join("kubectl_complete-paramant");
        fs::write(&path, self.paramant("completion kubectl")?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A place of their own.
    pub(super) fn home(&self) -> &std::path::Path {
        self.home.path()
    }
}
