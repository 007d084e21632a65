//! Directories change places. Each move is skipped when it was made before, and durable before the next begins.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use paramant_tlog::keys::Signer as _;

use super::plan::Plan;
use super::{AdoptError, adopting, io_at};
use crate::data_dir::{DataDir, durable, make_directory};
use crate::identity::{Identity, LogKeys};
use crate::log_service::key_book;

/// What goes.
const RETIRED: [&str; 3] = ["log", "log-keys", "sth"];
/// What comes. Tree heads begin anew by themselves.
const INSTALLED: [&str; 2] = ["log", "log-keys"];

pub(super) fn retire(data: &DataDir, plan: &Plan) -> Result<(), AdoptError> {
    let place = plan.retired_to(data);
    make_directory(&place).map_err(io_at(&place))?;
    durable::sync_directory(&data.retired_logs())
        .and_then(|()| durable::sync_directory(data.root()))
        .map_err(io_at(&place))?;
    let name = place.join("log-origin");
    if !name.exists() {
        write(&name, &format!("{}\n", plan.old_origin))?;
    }
    if !place.join("log-keys").exists() {
        write(&place.join("vkeys"), &public_keys(data, plan))?;
    }
    for part in RETIRED {
        // There already: moved before, and what lies in the old place now is not the old log's.
        if !place.join(part).exists() {
            rename(&data.root().join(part), &place.join(part))?;
        }
    }
    Ok(())
}

pub(super) fn install(data: &DataDir) -> Result<(), AdoptError> {
    for part in INSTALLED {
        let built = adopting(data).join(part);
        if built.exists() {
            // Over an empty directory at most, which opening the data directory makes again.
            rename(&built, &data.root().join(part))?;
        }
    }
    // The new log has no tree heads yet; a start that goes on right away wants their place.
    let heads = data.tree_heads();
    make_directory(&heads).map_err(io_at(&heads))?;
    durable::sync_directory(data.root()).map_err(io_at(data.root()))
}

pub(super) fn name(data: &DataDir, plan: &Plan) -> Result<(), AdoptError> {
    write(&data.log_origin(), &format!("{}\n", plan.new_origin))
}

pub(super) fn seal(data: &DataDir, plan: &Plan) -> Result<(), AdoptError> {
    let place = plan.retired_to(data);
    let keys = place.join("log-keys");
    let mut generations = vec![keys.clone()];
    if let Ok(found) = std::fs::read_dir(&keys) {
        generations.extend(found.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    for directory in generations {
        LogKeys::destroy(&directory)?;
    }
    read_only(&place).map_err(io_at(&place))
}

/// The public keys of the old log, for whoever wants to verify it later. Those that cannot be read are left out: a directory
/// that is damaged shall still be able to begin anew.
fn public_keys(data: &DataDir, plan: &Plan) -> String {
    let mut keys: Vec<String> = Vec::new();
    match key_book::recorded(&data.log_keys()) {
        Ok(recorded) if !recorded.is_empty() => keys.extend(recorded.into_iter().map(|key| key.vkey)),
        _ => {
            let pair = LogKeys::load(&data.log_keys()).ok();
            if let Some((ed25519, ml_dsa_44)) =
                pair.and_then(|pair| pair.checkpoint_keys(&plan.old_origin).ok())
            {
                keys.extend([ed25519.verifier().to_string(), ml_dsa_44.verifier().to_string()]);
            }
        }
    }
    let identity = Identity::open(data).ok().and_then(|it| it.checkpoint_key(&plan.old_origin).ok());
    keys.extend(identity.map(|key| key.verifier().to_string()));
    keys.iter().map(|key| format!("{key}\n")).collect()
}

fn write(path: &Path, text: &str) -> Result<(), AdoptError> {
    durable::write(path, text.as_bytes()).map_err(io_at(path))
}

fn rename(from: &Path, to: &Path) -> Result<(), AdoptError> {
    std::fs::rename(from, to).map_err(io_at(from))?;
    for directory in [from.parent(), to.parent()].into_iter().flatten() {
        durable::sync_directory(directory).map_err(io_at(directory))?;
    }
    Ok(())
}

/// Files 0400, directories 0500: nothing is changed by mistake.
fn read_only(path: &Path) -> io::Result<()> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(());
    }
    if !kind.is_dir() {
        return std::fs::set_permissions(path, Permissions::from_mode(0o400));
    }
    for entry in std::fs::read_dir(path)? {
        read_only(&entry?.path())?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o500))
}
