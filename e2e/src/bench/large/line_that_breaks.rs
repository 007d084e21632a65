//! A line that breaks once, after so many bytes in both directions together, and carries on for new connections.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

pub(super) struct Line {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    relay: String,
    breaks_after: u64,
    passed: AtomicU64,
    broke: AtomicU64,
}

impl Line {
    pub(super) fn to(url: &str, breaks_after: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let own = format!("http://{}", listener.local_addr()?);
        let relay = url.trim_start_matches("http://").to_owned();
        let shared =
            Arc::new(Shared { relay, breaks_after, passed: AtomicU64::new(0), broke: AtomicU64::new(0) });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(relay) = TcpStream::connect(&of_thread.relay) else { continue };
                for (from, to) in [(&client, &relay), (&relay, &client)] {
                    if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                        let shared = Arc::clone(&of_thread);
                        std::thread::spawn(move || carry(from, to, &shared));
                    }
                }
            }
        });
        Ok(Self { url: own, shared })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn broke(&self) -> u64 {
        self.shared.broke.load(Ordering::SeqCst)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if buffer.get(..read).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
        let passed = shared.passed.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
        if passed >= shared.breaks_after && shared.broke.swap(1, Ordering::SeqCst) == 0 {
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both); // one of them may be gone
    }
}
