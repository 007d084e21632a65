//! Reading a log: bundle after bundle, with the tiles, tree heads and pages that belong to it.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use paramant_tlog::tile::{self, Coordinates, WIDTH};
use paramant_tlog::{Hash, Tree};

use super::heads::{Heads, Stream};
use super::keys::Opened;
use super::nodes::Nodes;
use super::pages::Pages;
use super::report::{Check, Finding, Report, finding};
use super::rules::{Known, Rules};
use super::walk::{self, Against, Bundle, Edge, Expected, Roots, Walk};
use super::{Source, Stop, source};
use crate::relay::Progress;

/// Requests in flight.
const AHEAD: usize = 16;

/// A log being read.
pub(super) struct Examination<'a, S> {
    pub(super) source: &'a S,
    pub(super) known: Known<'a>,
    pub(super) pages: Option<&'a Pages>,
    /// Anchors before this entry were checked in the earlier run.
    pub(super) anchors_from: u64,
    pub(super) rules: Rules,
    /// The bundle at which the next audit begins: the one with the newest tree head that will be checked, or the last.
    pub(super) next_start: u64,
    /// What is to be remembered for that.
    pub(super) resume: Option<(Edge, Rules)>,
    pub(super) heads: Heads,
    /// Sizes at which roots are to be noted.
    pub(super) sizes: BTreeSet<u64>,
    pub(super) roots: Roots,
    pub(super) walk: Walk,
}

impl<S: Source> Examination<'_, S> {
    /// Notes the roots where the walk begins.
    pub(super) fn note_start(&mut self) {
        let size = self.walk.size();
        if self.sizes.contains(&size) {
            self.roots.sha256.insert(size, self.walk.sha256_edge().root());
            self.roots.sha3.extend(self.walk.sha3_edge().map(|edge| (size, edge.root())));
        }
    }

    /// Reads the bundles up to `end`, comparing their tiles and taking the tree heads on the way.
    pub(super) async fn bundles(
        &mut self,
        stream: &mut Stream<'_, S>,
        end: u64,
        size: u64,
        progress: &Progress,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let source = self.source;
        let first = self.walk.next_bundle();
        progress.begin(end.saturating_sub(first * WIDTH));
        let fetch = |number: u64| async move {
            let coordinates = Coordinates { level: 0, index: number };
            let width = coordinates.width_at(size);
            let bundle_path = format!("/log/{}", tile::bundle_path(number, width));
            let tile_path = format!("/log/{}", coordinates.path(width));
            let (bundle, tile) = futures::try_join!(
                source::required(source, &bundle_path),
                source::required(source, &tile_path)
            )?;
            Ok::<_, Stop>((width, [(bundle_path, bundle), (tile_path, tile)]))
        };
        let mut answers = futures::stream::iter(first..end.div_ceil(WIDTH)).map(fetch).buffered(AHEAD);
        while let Some(answer) = answers.next().await {
            let (width, resources) = answer?;
            let [(_, bundle), (_, tile)] = &resources;
            if self.walk.next_bundle() == self.next_start {
                self.resume = Some((self.walk.edge(), self.rules.clone()));
            }
            let mut against = Against { known: self.known, rules: &mut self.rules, pages: self.pages };
            let (bundle, anchors) = self.walk.bundle(width, bundle, tile, &mut against)?;
            self.note_roots(&bundle);
            self.heads_of(stream, &bundle).await?;
            let (there, from) = (stream.there, self.anchors_from);
            for anchor in anchors.into_iter().filter(|anchor| there && anchor.index >= from) {
                if anchor.count > self.heads.so_far().count {
                    stream.again();
                    self.heads_of(stream, &bundle).await?;
                }
                self.heads.anchor(anchor)?;
            }
            for (path, bytes) in &resources {
                source.keep(path, bytes)?;
            }
            let full = self.walk.take(bundle)?;
            self.compare(full, size).await?;
            report.timing.entries += u64::from(width);
            progress.count(u64::from(width));
        }
        if self.resume.is_none() && self.walk.size().is_multiple_of(WIDTH) {
            self.resume = Some((self.walk.edge(), self.rules.clone()));
        }
        Ok(())
    }

    /// Takes the tree heads of sizes in a bundle.
    async fn heads_of(&mut self, stream: &mut Stream<'_, S>, bundle: &Bundle) -> Result<(), Stop> {
        while let Some(head) = stream.next_up_to(*bundle.sizes().end()).await? {
            let root = self.root_of(bundle, head.tree_size)?;
            self.heads.take(head, root).await?;
        }
        Ok(())
    }

    /// The SHA3-256 root at the size of a tree head.
    fn root_of(&self, bundle: &Bundle, size: u64) -> Result<Option<Hash>, Finding> {
        if bundle.sizes().contains(&size) {
            return Ok(self.walk.sha3_root(bundle, size));
        }
        if size == 0 {
            return Ok(Some(Tree::Sha3.empty_root()));
        }
        // Sizes only grow, and the walk has passed this one.
        Err(finding("tree heads", format!("the one of {size} entries does not follow the one before it")))
    }

    fn note_roots(&mut self, bundle: &Bundle) {
        for size in self.sizes.range(bundle.sizes()) {
            self.roots.sha256.insert(*size, self.walk.sha256_root(bundle, *size));
            self.roots.sha3.extend(self.walk.sha3_root(bundle, *size).map(|root| (*size, root)));
        }
    }

    pub(super) async fn partial_tiles(&mut self, size: u64) -> Result<(), Stop> {
        // A part of a log that ends before the checkpoint has fuller tiles there than its own entries give.
        if self.walk.size() < size {
            return Ok(());
        }
        let partial = self.walk.partial_tiles();
        self.compare(partial, size).await
    }

    async fn compare(&self, expected: Vec<Expected>, size: u64) -> Result<(), Stop> {
        for (place, bytes) in expected {
            let path = format!("/log/{}", place.path(place.width_at(size)));
            if source::required(self.source, &path).await? != bytes {
                return Err(walk::differs(place).into());
            }
            self.source.keep(&path, &bytes)?;
        }
        Ok(())
    }

    /// The SHA-256 root against the checkpoint's; entries behind the last one read are taken from the tiles.
    pub(super) async fn root(&mut self, nodes: &mut Nodes<'_, S>, opened: &Opened) -> Result<Check, Stop> {
        let checkpoint = &opened.checkpoint;
        let mut edge = self.walk.sha256_edge();
        let walked = edge.size();
        nodes.extend(&mut edge, checkpoint.size).await?;
        let root = edge.root();
        if root != checkpoint.root {
            let text = format!(
                "the entries give {}, the checkpoint says {}",
                hex::encode(root),
                hex::encode(checkpoint.root)
            );
            return Err(finding("sha256 root", text).into());
        }
        self.roots.sha256.insert(checkpoint.size, root);
        let rest = match checkpoint.size - walked {
            0 => String::new(),
            rest => format!("; the {rest} entries after {walked} by their tiles only"),
        };
        Ok(Check::passed("sha256 root", format!("{}{rest}", hex::encode(root))))
    }

    /// Tree heads of entries behind the last one read. On a live log only the JSON interface shows those yet; in a copy
    /// nothing does. Answers how many entries were taken from the JSON interface.
    pub(super) async fn beyond(&mut self, stream: &mut Stream<'_, S>, live: bool) -> Result<u64, Stop> {
        let mut roots = BTreeMap::new();
        if let (Some(pages), Some(mut edge)) = (self.pages, self.walk.sha3_edge()) {
            while let Some(leaf) = pages.leaf(edge.size())? {
                let index = edge.size();
                edge.append(leaf, |_, _| {});
                let root = edge.root();
                pages.entry(index, None, &leaf)?;
                pages.root_after(index, &root)?;
                roots.insert(edge.size(), root);
            }
        }
        let beyond = roots.len() as u64;
        if let Some(pages) = self.pages {
            let root = roots.get(&pages.size).copied();
            self.roots.sha3.extend(root.map(|root| (pages.size, root)));
        }
        while !stream.enough()
            && let Some(head) = stream.next_up_to(u64::MAX).await?
        {
            let size = head.tree_size;
            let root = roots.get(&size).copied();
            if root.is_none() && (live || self.pages.is_some()) {
                let text = format!("one is of {size} entries, which the log does not hold");
                return Err(finding("tree heads", text).into());
            }
            self.heads.take(head, root).await?;
        }
        Ok(beyond)
    }

    pub(super) fn entries(&self) -> String {
        let all = self.walk.size();
        format!("{all} entries in canonical form with the leaves they must have: {}", self.rules.summary())
    }
}
