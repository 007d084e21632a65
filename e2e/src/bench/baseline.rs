//! The floor: what the machine does without us, in the same minute.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};

/// One-file-at-a-time fdatasync of a zero-filled file, per second.
pub(crate) fn fdatasync_rate(directory: &Path, limit: Duration) -> Result<f64> {
    let path = directory.join("fdatasync");
    let mut file = File::create(&path)?;
    file.write_all(&vec![0; 1 << 20])?;
    file.sync_all()?;
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < limit {
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 512], u64::from(count % 2048) * 512)?;
        file.sync_data()?;
        count += 1;
    }
    fs::remove_file(path)?;
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// “Write, fsync, rename, fsync directory” by so many threads, per second. What it made stays: some file systems pay for
/// inodes that were freed a moment ago when they make the next.
pub(crate) fn durable_files(directory: &Path, length: usize, threads: usize, limit: Duration) -> Result<f64> {
    let root = tempfile::tempdir_in(directory)?.keep();
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let (root, done) = (root.clone(), done.clone());
            thread::spawn(move || -> std::io::Result<()> {
                let bytes = vec![7_u8; length];
                let parent = File::open(&root)?;
                let mut index = 0_u64;
                while began.elapsed() < limit {
                    let (temporary, path) =
                        (root.join(format!("{worker}-{index}.tmp")), root.join(format!("{worker}-{index}")));
                    let mut file = File::create(&temporary)?;
                    file.write_all(&bytes)?;
                    file.sync_all()?;
                    fs::rename(&temporary, &path)?;
                    parent.sync_all()?;
                    done.fetch_add(1, Ordering::Relaxed);
                    index += 1;
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a baseline thread panicked"))??;
    }
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    Ok(rate)
}

/// A bare server: PUT hashes and syncs a file, GET sends `file`.
pub(crate) async fn server(directory: &Path, file: Bytes) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let directory: PathBuf = directory.join("bare");
    fs::create_dir_all(&directory)?;
    let count = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (directory, count, file) = (directory.clone(), count.clone(), file.clone());
            stream.set_nodelay(true).ok();
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (path, file) =
                        (directory.join(count.fetch_add(1, Ordering::Relaxed).to_string()), file.clone());
                    async move {
                        if request.method() != hyper::Method::PUT {
                            return Ok::<_, Infallible>(Response::new(Full::new(file)));
                        }
                        let body = keep(request, path).await.unwrap_or_else(|error| error.to_string());
                        Ok(Response::new(Full::new(Bytes::from(body))))
                    }
                });
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    Ok(url)
}

async fn keep(request: Request<Incoming>, path: PathBuf) -> Result<String> {
    let mut body = request.into_body();
    let mut hash = Sha256::new();
    let mut file = tokio::fs::File::create(path).await?;
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame?.into_data() {
            hash.update(&chunk);
            tokio::io::AsyncWriteExt::write_all(&mut file, &chunk).await?;
        }
    }
    file.sync_all().await?;
    Ok(hex::encode(hash.finalize()))
}
