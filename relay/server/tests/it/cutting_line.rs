//! A line between client and relay that breaks after so many bytes, as often as a test wants.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub struct CuttingLine {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the relay is; a relay that was killed comes back elsewhere. `None`: nowhere, or the line would lead to whoever is given
    /// the port next.
    relay: Mutex<Option<SocketAddr>>,
    /// Bytes of all connections, in both directions, after which each cut comes; in order.
    cuts: Mutex<Vec<u64>>,
    passed: AtomicU64,
    made: AtomicU64,
}

impl CuttingLine {
    /// A line to a relay that breaks whenever so many more bytes have passed.
    pub async fn to(url: &str, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            relay: Mutex::new(Some(address(url))),
            cuts: Mutex::new(cuts.to_vec()),
            passed: AtomicU64::new(0),
            made: AtomicU64::new(0),
        });
        let of_task = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&of_task);
                tokio::spawn(async move { carry(client, &shared).await });
            }
        });
        Self { url: own, shared }
    }

    pub fn leads_to(&self, url: &str) {
        *self.shared.relay.lock().unwrap() = Some(address(url));
    }

    /// New connections end at once; those that are made go on.
    pub fn leads_nowhere(&self) {
        *self.shared.relay.lock().unwrap() = None;
    }

    /// How often it broke.
    pub fn cuts(&self) -> u64 {
        self.shared.made.load(Ordering::SeqCst)
    }
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

async fn carry(client: TcpStream, shared: &Shared) {
    let Some(address) = *shared.relay.lock().unwrap() else { return };
    let Ok(relay) = TcpStream::connect(address).await else { return };
    let ((mut from_client, mut to_client), (mut from_relay, mut to_relay)) =
        (client.into_split(), relay.into_split());
    tokio::select! {
        () = one_way(&mut from_client, &mut to_relay, shared) => {}
        () = one_way(&mut from_relay, &mut to_client, shared) => {}
    }
}

async fn one_way(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    shared: &Shared,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        let passed = shared.passed.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
        let mut cuts = shared.cuts.lock().unwrap();
        if cuts.first().is_some_and(|cut| passed >= *cut) {
            cuts.remove(0);
            shared.passed.store(0, Ordering::SeqCst);
            shared.made.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
}
