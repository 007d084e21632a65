//! The generated files: written, or in a check compared with what is there.

use std::{fs, path::PathBuf};

use crate::Error;

pub(crate) struct Outputs {
    root: PathBuf,
    check: bool,
    drifted: Vec<PathBuf>,
}

impl Outputs {
    pub(crate) fn new(root: PathBuf, check: bool) -> Self {
        Self { root, check, drifted: Vec::new() }
    }

    /// Writes one file if its text differs, or notes the difference.
    pub(crate) fn put(&mut self, path: &str, text: &str) -> Result<(), Error> {
        let target = self.root.join(path);
        if fs::read_to_string(&target).is_ok_and(|there| there == text) {
            return Ok(());
        }
        if self.check {
            self.drifted.push(PathBuf::from(path));
            return Ok(());
        }
        let failed = |source| Error::File { path: target.clone(), source };
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&target, text).map_err(failed)?;
        println!("wrote {path}");
        Ok(())
    }

    /// Files that are not what they should be.
    pub(crate) fn drifted(self) -> Vec<PathBuf> {
        self.drifted
    }
}
