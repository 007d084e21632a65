//! The derived files: full tiles of both trees and full entry bundles, and where they are.
//!
//! ```text
//! tile/<L>/<N>, tile/entries/<N>   SHA-256 tree and entries, laid out as C2SP tlog-tiles publishes them
//! sha3/tile/<L>/<N>                SHA3 tree, the same way; level 0 holds the legacy leaves
//! ```
//! Only full ones are files; partial ones are cut from the log's state when asked for.

use crate::disk::Disk;
use crate::error::{ReadError, read_io};
use crate::replay::corrupt;
use paramant_tlog::tile::{self, Coordinates, WIDTH};
use paramant_tlog::{Hash, Tree};
use std::path::{Path, PathBuf};

/// Path of a full tile.
pub(crate) fn tile_path(dir: &Path, tree: Tree, tile: Coordinates) -> PathBuf {
    let path = tile.path(WIDTH as u16);
    match tree {
        Tree::Sha256 => dir.join(path),
        Tree::Sha3 => dir.join("sha3").join(path),
    }
}

/// Path of a full entry bundle.
pub(crate) fn bundle_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(tile::bundle_path(index, WIDTH as u16))
}

/// The nodes of a full tile, or nothing when it has no file.
pub(crate) fn read_tile(
    disk: &dyn Disk,
    dir: &Path,
    tree: Tree,
    tile: Coordinates,
) -> Result<Option<Vec<Hash>>, ReadError> {
    let path = tile_path(dir, tree, tile);
    let Some(bytes) = disk.read(&path).map_err(read_io(&path))? else { return Ok(None) };
    match tile::decode(&bytes).filter(|nodes| nodes.len() as u64 == WIDTH) {
        Some(nodes) => Ok(Some(nodes)),
        None => {
            let what = format!("a full tile has 8192 bytes, found {}", bytes.len());
            Err(corrupt(&path, bytes.len() as u64, what).into())
        }
    }
}

/// The bytes of a full entry bundle, or nothing when it has no file.
pub(crate) fn read_bundle(disk: &dyn Disk, dir: &Path, index: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let path = bundle_path(dir, index);
    disk.read(&path).map_err(read_io(&path))
}
