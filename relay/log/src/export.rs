//! Writing the published log into a directory in the layout of C2SP tlog-tiles, partial tiles and all: for outside
//! programs that read a directory, for archives, and at the end of a log's life.
//!
//! The checkpoint is written last, so a directory without one is an export that did not finish. Nothing is synced. What is
//! there already is not written again: tiles and bundles never change.

use crate::error::{ReadError, read_io};
use crate::shared::Shared;
use paramant_tlog::tile::{self, Coordinates, MAX_LEVEL, WIDTH};
use paramant_tlog::{Tree, bundle};
use std::fs;
use std::path::Path;

impl Shared {
    /// Writes checkpoint, tiles and bundles of the newest published checkpoint. Returns its size.
    pub(crate) fn export(&self, to: &Path) -> Result<u64, ReadError> {
        let Some(published) = self.published() else { return Ok(0) };
        self.export_tiles(to, published.head.size)?;
        write(&to.join("checkpoint"), published.note.as_bytes())?;
        Ok(published.head.size)
    }

    /// Makes the log's own directory a whole copy: adds the partial tiles and bundle that its files leave out.
    pub(crate) fn complete_directory(&self) -> Result<u64, ReadError> {
        let Some(published) = self.published() else { return Ok(0) };
        self.export_tiles(&self.options.dir, published.head.size)?;
        Ok(published.head.size)
    }

    fn export_tiles(&self, to: &Path, size: u64) -> Result<(), ReadError> {
        for level in 0..=MAX_LEVEL {
            for index in 0..tile::nodes_at(level, size).div_ceil(WIDTH) {
                let place = Coordinates { level, index };
                let width = place.width_at(size);
                let path = to.join(place.path(width));
                if !path.exists() {
                    write(&path, &tile::encode(&self.tile_nodes(Tree::Sha256, place, width)?))?;
                }
            }
        }
        for index in 0..size.div_ceil(WIDTH) {
            let width = Coordinates { level: 0, index }.width_at(size);
            let path = to.join(tile::bundle_path(index, width));
            if path.exists() {
                continue;
            }
            let mut bytes = Vec::new();
            for entry in self.entries(index * WIDTH, usize::from(width))? {
                let _fits_because_entries_are_below_16_kib = bundle::push(&mut bytes, &entry.bytes);
            }
            write(&path, &bytes)?;
        }
        Ok(())
    }
}

/// Under another name first: what is there is whole.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ReadError> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(read_io(dir))?;
    }
    let part = path.with_added_extension("part");
    fs::write(&part, bytes).map_err(read_io(&part))?;
    fs::rename(&part, path).map_err(read_io(path))
}
