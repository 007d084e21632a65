//! The published client: a Python environment in the cache that holds `paramant-sdk` as users install it, and `mnemonic`, which its
//! drops ask for.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::failure::{Result, fail};
use crate::run::{Run, is_installed};
use crate::step::step;

/// The client that relays in the field are used with, and what it wants for drops.
const PACKAGES: [&str; 2] = ["paramant-sdk==3.0.0", "mnemonic==0.21"];

/// Makes the environment unless the cache has it; returns its Python.
pub(crate) fn python(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.root().join("sdk");
    let python = folder.join("bin/python");
    let wanted = PACKAGES.join(" ");
    if python.exists() && cache.is_current("sdk", &wanted) {
        return Ok(python);
    }
    if !is_installed("python3") {
        return fail(
            "Python 3.9 or newer is needed for the published client: install python3 and python3-venv, then run again",
        );
    }
    step("install the published client", |evidence| {
        let log = cache.log("sdk");
        let _ = std::fs::remove_file(&log);
        if let Err(failure) =
            Run::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).log(&log).done()
        {
            return fail(format!("{failure}\nOn Debian this needs the package python3-venv."));
        }
        Run::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES)
            .log(&log)
            .done()?;
        evidence.say(&wanted);
        cache.made("sdk", &wanted)
    })?;
    Ok(python)
}
