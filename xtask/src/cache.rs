//! Where everything lives that is built, downloaded or running: one directory outside the checkout.
//! Built things are keyed by what made them, so an old one is never taken for a new one; anything here may be deleted
//! while no cluster is up, at the price of building it again.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::failure::{Doing, Failure, Result, fail};

/// The cache directory and the checkout it serves.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
    checkout: PathBuf,
}

impl Cache {
    /// `PARAMANT_CACHE`, else `$XDG_CACHE_HOME/paramant`, else `~/.cache/paramant`.
    pub(crate) fn open() -> Result<Self> {
        let root = if let Some(named) = path_from("PARAMANT_CACHE") {
            named
        } else if let Some(caches) = path_from("XDG_CACHE_HOME") {
            caches.join("paramant")
        } else {
            path_from("HOME")
                .ok_or_else(|| {
                    Failure("HOME is not set; set PARAMANT_CACHE to a directory for build results".into())
                })?
                .join(".cache/paramant")
        };
        let manifest = path_from("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let checkout = manifest.parent().map(Path::to_path_buf).unwrap_or(manifest);
        if !root.is_absolute() {
            return fail(format!("the cache directory must be an absolute path, found {}", root.display()));
        }
        let cache = Self { root, checkout };
        for directory in [cache.bin(), cache.logs(), cache.keys()] {
            make_directory(&directory)?;
        }
        Ok(cache)
    }

    /// The cache directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that holds the workspace's Cargo.toml.
    pub(crate) fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// Built programs.
    pub(crate) fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// One log per step, overwritten by the next run.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Which inputs each built thing was made from.
    fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The log file of a step.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        let name: String = step.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.logs().join(format!("{name}.log"))
    }

    /// Where Cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        path_from("CARGO_TARGET_DIR").unwrap_or_else(|| self.checkout.join("target"))
    }

    /// Whether `name` was last made from `key`.
    pub(crate) fn is_current(&self, name: &str, key: &str) -> bool {
        fs::read_to_string(self.keys().join(name)).is_ok_and(|made_from| made_from == key)
    }

    /// Records that `name` was made from `key`; call it only once the thing is whole.
    pub(crate) fn made(&self, name: &str, key: &str) -> Result<()> {
        let path = self.keys().join(name);
        fs::write(&path, key).doing(|| format!("write {}", path.display()))
    }
}

/// Creates a directory with its parents.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(|| format!("create the directory {}", path.display()))
}

fn path_from(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
