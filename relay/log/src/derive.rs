//! Writing tiles and entry bundles, in the background, up to the published checkpoint.
//!
//! Everything is computed from bytes read back from the write-ahead log and compared with the nodes that the writer
//! computed before they were written: a difference is damage and ends the engine. Order in one round, and what a crash
//! between each two steps leaves:
//!
//! 1. files written under temporary names, then synced (one by one, or all at once when they are many): leftovers,
//!    overwritten when their turn comes again;
//! 2. new directories created, each synced in its parent: empty directories;
//! 3. renamed to their names, directories synced: complete files whose entries are in the write-ahead log as well;
//!    the next start writes them again, with the same bytes;
//! 4. memory trimmed; 5. segments removed, oldest first, whose every entry is in full groups below the derived size.

use crate::disk::{WriteError, create_dirs};
use crate::error::ReadError;
use crate::record::State;
use crate::replay::corrupt;
use crate::shared::{Durable, Shared};
use crate::tiles;
use paramant_tlog::tile::{self, Coordinates, HEIGHT, MAX_LEVEL, WIDTH};
use paramant_tlog::{Hash, Tree, bundle, entry_leaf};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Groups of 256 entries in one round: about 50 MB of temporary files at most, mostly far less.
const GROUPS_PER_ROUND: u64 = 256;
/// From this many files on, one `syncfs` is cheaper than a sync of each. The crash matrix gets there with less.
const MANY_FILES: usize = if cfg!(test) { 6 } else { 16 };
/// How many directories are remembered as durable: tiles are written in order, so few are in use at a time.
const KNOWN_DIRS: usize = 64;
/// How long to wait after a failure that may pass, such as a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// The state from which the next group is derived.
pub(crate) struct Deriver {
    state: State,
    /// Nodes of the started tile of each level, SHA-256 tree first. Level 0 is empty: groups are whole.
    started: [Vec<Vec<Hash>>; 2],
    work: Work,
    /// Directories of which this process knows that they are durable, at most [`KNOWN_DIRS`].
    dirs: BTreeSet<PathBuf>,
}

/// Memory that is used for one group after the other.
#[derive(Default)]
struct Work {
    read: Vec<u8>,
    whole: Vec<u8>,
    leaves: [Vec<Hash>; 2],
}

/// Why a round did not finish.
enum Trouble {
    /// May pass: nothing that counts was changed.
    Retry(io::Error),
    /// Must end the engine.
    Fatal(String),
}

/// Files of one round, under temporary names until they are durable.
#[derive(Default)]
struct Round {
    files: Vec<(PathBuf, PathBuf)>,
    /// Directories of files that were there already: a process may have died before it synced these.
    dirs: BTreeSet<PathBuf>,
}

impl Deriver {
    /// Takes up deriving at the size of `state`; the started tiles of the upper levels come from memory.
    pub(crate) fn new(state: State, durable: &Durable) -> Self {
        let size = state.size();
        let started = durable.edges.each_ref().map(|edge| {
            let level = |level: u8| {
                let count = tile::nodes_at(level, size).saturating_sub(edge.first(level)) as usize;
                if level == 0 {
                    Vec::new()
                } else {
                    edge.nodes(level).get(..count).unwrap_or_default().to_vec()
                }
            };
            (0..=MAX_LEVEL).map(level).collect()
        });
        Self { state, started, work: Work::default(), dirs: BTreeSet::new() }
    }

    /// Works until the log stops.
    pub(crate) fn run(mut self, shared: &Arc<Shared>) {
        while !shared.is_stopping() && !shared.has_failed() {
            match self.round(shared) {
                Ok(true) => {}
                Ok(false) => shared.derive_bell.wait(Duration::from_secs(60)),
                Err(Trouble::Retry(error)) => {
                    tracing::warn!(%error, "tiles could not be written; trying again");
                    shared.derive_bell.wait(RETRY);
                }
                Err(Trouble::Fatal(error)) => shared.fail("deriving tiles", &error),
            }
        }
    }

    /// Derives some groups. False when there is nothing to do.
    fn round(&mut self, shared: &Shared) -> Result<bool, Trouble> {
        let first = self.state.size() / WIDTH;
        let complete = shared.published_size() / WIDTH;
        let to = complete.min(first + GROUPS_PER_ROUND);
        if to <= first {
            return Ok(false);
        }
        let (state, started) = (self.state.clone(), self.started.clone());
        let mut round = Round::default();
        let outcome = (first..to)
            .try_for_each(|group| self.derive_group(shared, group, &mut round))
            .and_then(|()| round.finish(shared));
        if let Err(trouble) = outcome {
            (self.state, self.started) = (state, started);
            return Err(trouble);
        }
        let derived = to * WIDTH;
        let removable = trim(&mut shared.write(), derived);
        shared.derived_bell.ring();
        for path in removable {
            let removed = shared.disk.remove(&path).and_then(|()| shared.disk.sync_dir(&shared.wal()));
            removed.map_err(|e| Trouble::Fatal(format!("removing {}: {e}", path.display())))?;
        }
        Ok(true)
    }

    fn derive_group(&mut self, shared: &Shared, group: u64, round: &mut Round) -> Result<(), Trouble> {
        let Work { read, whole, leaves } = &mut self.work;
        whole.clear();
        leaves.iter_mut().for_each(Vec::clear);
        let [sha256_leaves, sha3_leaves] = leaves;
        let mut fits = true;
        let shown = shared.show_group(group, read, |legacy_leaf, bytes| {
            fits &= bundle::push(whole, bytes);
            sha256_leaves.push(entry_leaf(bytes));
            sha3_leaves.push(legacy_leaf);
        });
        shown.map_err(read_trouble)?;
        if !fits {
            return Err(Trouble::Fatal(format!("an entry of group {group} is too long for a bundle")));
        }
        round.add(shared, &mut self.dirs, tiles::bundle_path(&shared.options.dir, group), whole)?;
        let trees = Tree::BOTH.into_iter().zip(&mut self.state.ranges).zip(&self.work.leaves);
        for (((tree, range), leaves), started) in trees.zip(&mut self.started) {
            let mut full = Vec::new();
            range.extend(leaves, |first, run| {
                let level = first.level / HEIGHT;
                let tile = started.get_mut(usize::from(level));
                let Some(tile) = tile.filter(|_| first.level.is_multiple_of(HEIGHT)) else { return };
                // A whole group is a tile of level 0 and one node of the level above.
                tile.extend_from_slice(run);
                if tile.len() as u64 == WIDTH {
                    full.push((Coordinates { level, index: first.index / WIDTH }, std::mem::take(tile)));
                }
            });
            for (place, nodes) in full {
                check_against_memory(shared, tree, place, &nodes)?;
                let path = tiles::tile_path(&shared.options.dir, tree, place);
                round.add(shared, &mut self.dirs, path, nodes.as_flattened())?;
            }
        }
        Ok(())
    }
}

/// The nodes computed from bytes read back must be those that the writer computed.
fn check_against_memory(
    shared: &Shared,
    tree: Tree,
    place: Coordinates,
    nodes: &[Hash],
) -> Result<(), Trouble> {
    let held = shared.tile_nodes(tree, place, WIDTH as u16).map_err(read_trouble)?;
    if held == nodes {
        return Ok(());
    }
    let path = tiles::tile_path(&shared.options.dir, tree, place);
    let what = "the entries read back lead to other nodes than those that were appended";
    Err(Trouble::Fatal(corrupt(&path, 0, what).to_string()))
}

fn read_trouble(error: ReadError) -> Trouble {
    match error {
        ReadError::Io { source, .. } => Trouble::Retry(source),
        other => Trouble::Fatal(other.to_string()),
    }
}

impl Round {
    /// Writes a file under its temporary name, unless it is there already with these bytes.
    fn add(
        &mut self,
        shared: &Shared,
        durable_dirs: &mut BTreeSet<PathBuf>,
        path: PathBuf,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        let disk = shared.disk.as_ref();
        if let Some(dir) = path.parent()
            && !durable_dirs.contains(dir)
        {
            create_dirs(disk, &shared.options.dir, dir).map_err(|error| match error {
                WriteError::Refused(error) => Trouble::Retry(error),
                WriteError::SyncFailed(error) => Trouble::Fatal(format!("syncing a directory: {error}")),
            })?;
            if durable_dirs.len() >= KNOWN_DIRS {
                durable_dirs.clear();
            }
            durable_dirs.insert(dir.to_owned());
        }
        match disk.read(&path).map_err(Trouble::Retry)? {
            Some(found) if found == bytes => {
                self.dirs.extend(path.parent().map(Path::to_owned));
                return Ok(());
            }
            Some(_) => tracing::warn!(file = %path.display(), "a damaged file is written again from the log"),
            None => {}
        }
        let temporary = path.with_added_extension("tmp");
        let file = disk.create(&temporary).map_err(Trouble::Retry)?;
        file.write_at(bytes, 0).map_err(Trouble::Retry)?;
        self.files.push((temporary, path));
        Ok(())
    }

    /// Makes all files durable, then gives them their names, then makes the names durable.
    fn finish(self, shared: &Shared) -> Result<(), Trouble> {
        let disk = shared.disk.as_ref();
        let sync_failed = |e: io::Error| Trouble::Fatal(format!("syncing tiles: {e}"));
        if self.files.len() >= MANY_FILES {
            disk.sync_file_system(&shared.options.dir).map_err(sync_failed)?;
        } else {
            for (temporary, _) in &self.files {
                disk.open(temporary).map_err(Trouble::Retry)?.sync().map_err(sync_failed)?;
            }
        }
        let mut dirs = self.dirs;
        for (temporary, path) in &self.files {
            disk.rename(temporary, path).map_err(Trouble::Retry)?;
            dirs.extend(path.parent().map(Path::to_owned));
        }
        dirs.iter().try_for_each(|dir| disk.sync_dir(dir)).map_err(sync_failed)
    }
}

/// Forgets what is in files now; returns the segments that are not needed any more, oldest first.
fn trim(durable: &mut Durable, derived: u64) -> Vec<PathBuf> {
    for edge in &mut durable.edges {
        edge.trim(derived);
    }
    let gone = (derived - durable.derived).min(durable.locations.len() as u64);
    durable.locations.drain(..gone as usize);
    durable.derived = derived;
    let firsts: Vec<(u64, u64)> = durable.segments.iter().map(|(epoch, s)| (*epoch, s.first)).collect();
    let mut removable = Vec::new();
    for pair in firsts.windows(2) {
        let [(epoch, _), (_, next)] = pair else { continue };
        // The group that the end of this segment cuts must be whole in files.
        if *next > derived {
            break;
        }
        if let Some(segment) = durable.segments.remove(epoch) {
            removable.push(segment.path);
        }
    }
    removable
}
