//! `transfer-scale`: small uploads and reads as the log grows, and as more of them are in flight, beside the bare durable step, which
//! is taken right after the uploads. With `--plots` the figures are drawn, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::plot::{Plot, Series};
use super::upload::SMALL;
use super::{Arguments, baseline, download, line, process, upload};

/// Entries of the log. The goal compares the second with the last.
const SIZES: [u64; 4] = [0, 1_000, 100_000, 1_000_000];
const IN_FLIGHT: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const USUAL_IN_FLIGHT: usize = 16;

/// Three rates, each in a second.
struct Point {
    at: f64,
    uploads: f64,
    reads: f64,
    bare: f64,
}

/// A place on a drawing, with what was uploaded there and is not read yet. All uploads come before all reads: a file system that
/// has just lost many files is slower at making others.
struct Uploaded {
    at: f64,
    in_flight: usize,
    relay: Arc<process::Relay>,
    sent: upload::Sent,
    bare: f64,
}

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let limit = arguments.limit();
    let (mut by_size, mut by_flight) = (Vec::new(), Vec::new());
    for size in SIZES {
        let own = directory.join(size.to_string());
        std::fs::create_dir(&own)?;
        let relay = Arc::new(process::Relay::with_log(&arguments.relay, &own, size).await?);
        by_size.push(uploaded(&relay, &own, USUAL_IN_FLIGHT, size as f64, limit).await?);
    }
    let own = directory.join("in-flight");
    std::fs::create_dir(&own)?;
    let relay = Arc::new(process::Relay::start(&arguments.relay, &own).await?);
    for in_flight in IN_FLIGHT {
        by_flight.push(uploaded(&relay, &own, in_flight, in_flight as f64, limit).await?);
    }
    let (by_size, by_flight) = (read(by_size, limit).await?, read(by_flight, limit).await?);

    told(&by_size, "entries");
    if let [_, small, .., large] = by_size.as_slice() {
        line::print("upload-4KiB-16-flat", large.uploads / small.uploads, "ratio", Some(0.9));
    }
    told(&by_flight, "in-flight");
    if let Some(plots) = &arguments.plots {
        plot("4 KiB, 16 in flight, as the log grows", "entries in the log before", &by_size)
            .draw(&plots.join("transfers-by-log-size.svg"))?;
        plot("4 KiB, as more are in flight", "in flight", &by_flight)
            .draw(&plots.join("transfers-by-concurrency.svg"))?;
    }
    Ok(())
}

async fn uploaded(
    relay: &Arc<process::Relay>,
    directory: &Path,
    in_flight: usize,
    at: f64,
    limit: Duration,
) -> Result<Uploaded> {
    let sent = upload::small(relay, in_flight, limit).await?;
    let directory = directory.to_owned();
    let bare = move || baseline::durable_files(&directory, SMALL, in_flight, limit);
    let bare = tokio::task::spawn_blocking(bare).await.context("the baseline ended")??;
    Ok(Uploaded { at, in_flight, relay: relay.clone(), sent, bare })
}

async fn read(places: Vec<Uploaded>, limit: Duration) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for Uploaded { at, in_flight, relay, sent, bare } in places {
        let urls = Arc::new(sent.urls);
        let reads = download::fetch(&relay.http, &relay.key, urls, SMALL, in_flight, limit).await?;
        points.push(Point { at, uploads: sent.rate, reads, bare });
    }
    Ok(points)
}

fn told(points: &[Point], of: &str) {
    for point in points {
        let name = |what: &str| format!("{what}-4KiB-{of}-{}", point.at);
        line::print(&name("upload"), point.uploads, "1/s", None);
        line::print(&name("read"), point.reads, "1/s", None);
        line::print(&name("durable-file-bare"), point.bare, "1/s", None);
    }
}

fn plot(title: &str, across: &str, points: &[Point]) -> Plot {
    let series = |name: &str, value: fn(&Point) -> f64| Series {
        name: name.to_owned(),
        points: points.iter().map(|point| (point.at, value(point))).collect(),
    };
    Plot {
        title: title.to_owned(),
        across: across.to_owned(),
        up: "in a second".to_owned(),
        series: vec![
            series("bare: write, fsync, rename, fsync directory", |point| point.bare),
            series("uploads", |point| point.uploads),
            series("reads that burn", |point| point.reads),
        ],
    }
}
