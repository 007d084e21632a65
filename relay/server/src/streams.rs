//! WebSockets of account holders (`GET /v2/stream`, protocol §4.3): who is connected, and telling them of an upload.
//!
//! [`Streams`] knows the open sockets by account and hands each a word at once or not at all: a socket whose reader is too slow
//! is closed, and an upload never waits for one. Sockets are bounded in total and per account, each takes constant memory, and
//! what is said to nobody is lost here: the device queue is what lasts. One socket's life is in `session`, tickets are in
//! `tickets`; the handler in `public` makes both.

mod session;
mod tickets;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use paramant_protocol::moment;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::session::Ending;
use self::session::Session;
use self::tickets::Tickets;
pub use self::tickets::{LIFE as TICKET_LIFE, NoTicket};
use crate::accounts::{Accounts, Principal};
use crate::metrics::StreamMetrics;
use crate::store::AccountId;
use crate::store::blob_rows::{BlobRow, Space};

/// Sockets altogether: one descriptor and some 16 KiB each.
pub const MOST: usize = 4096;
/// Sockets of one account: its devices, and those that it lost and that are not noticed yet.
pub const MOST_PER_ACCOUNT: usize = 64;
/// Words that wait for one reader. An account whose uploads come faster than this reader takes them loses the reader.
const INBOX: usize = 256;
/// How long the end waits for the last words.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A handle on the sockets; cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sockets: Mutex<Sockets>,
    tickets: Mutex<Tickets>,
    next: AtomicU64,
    closing: CancellationToken,
    running: TaskTracker,
    metrics: StreamMetrics,
}

#[derive(Debug, Default)]
struct Sockets {
    by_account: HashMap<AccountId, Vec<Entry>>,
    open: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    kid: String,
    inbox: mpsc::Sender<Utf8Bytes>,
    end: watch::Sender<Option<Ending>>,
}

/// A place for one socket; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    streams: Streams,
    account: AccountId,
    number: u64,
    inbox: mpsc::Receiver<Utf8Bytes>,
    end: watch::Receiver<Option<Ending>>,
}

/// There is no place for one more socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSeat {
    /// On the relay.
    #[error("the relay has as many streams open as it takes; try again, or ask /v2/stream-next")]
    Relay,
    /// For this account.
    #[error("this account has {MOST_PER_ACCOUNT} streams open; close one")]
    Account,
}

impl Streams {
    /// None yet; all of them end when `closing` is cancelled.
    pub fn new(closing: CancellationToken, metrics: StreamMetrics) -> Self {
        Self(Arc::new(Inner {
            sockets: Mutex::default(),
            tickets: Mutex::default(),
            next: AtomicU64::new(0),
            closing,
            running: TaskTracker::new(),
            metrics,
        }))
    }

    /// A ticket that opens one stream for this key, soon.
    ///
    /// # Errors
    /// [`NoTicket`] when there are too many that nobody used.
    pub fn issue_ticket(&self, who: &Arc<Principal>) -> Result<String, NoTicket> {
        self.tickets().issue(who, std::time::Instant::now())
    }

    /// Whose ticket this is; it is used up by the question.
    pub fn redeem_ticket(&self, ticket: &str) -> Option<Arc<Principal>> {
        self.tickets().redeem(ticket, std::time::Instant::now())
    }

    /// A place for one more socket of this key. What is told from now on waits for it.
    ///
    /// # Errors
    /// [`NoSeat`].
    pub fn take_seat(&self, who: &Principal) -> Result<Seat, NoSeat> {
        let mut sockets = self.sockets();
        if sockets.open >= MOST {
            return Err(NoSeat::Relay);
        }
        let of_account = sockets.by_account.entry(who.account).or_default();
        if of_account.len() >= MOST_PER_ACCOUNT {
            return Err(NoSeat::Account);
        }
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (sender, inbox) = mpsc::channel(INBOX);
        let (end, told) = watch::channel(None);
        of_account.push(Entry { number, kid: who.kid.clone(), inbox: sender, end });
        sockets.open += 1;
        self.0.metrics.open.inc();
        Ok(Seat { streams: self.clone(), account: who.account, number, inbox, end: told })
    }

    /// Speaks with the peer on this connection, whose handshake is done, until one of them ends it.
    pub fn serve<S>(&self, seat: Seat, connection: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let this = self.clone();
        self.0.running.spawn(async move {
            let config = Some(session::config());
            let socket = WebSocketStream::from_raw_socket(connection, Role::Server, config).await;
            let ending = Session::new(socket, seat, this.0.closing.clone()).run().await;
            this.0.metrics.ended(ending.label());
            tracing::debug!(ending = ending.label(), "a stream ended");
        });
    }

    /// Tells an account's sockets of its upload that may be read now. A drop is for whoever has its words, and not told of.
    pub fn tell_of(&self, blob: &BlobRow) {
        if blob.space == Space::Drop {
            return;
        }
        self.tell(blob.account, || {
            let mut said = json!({
                "type": "blob_ready",
                "hash": blob.lookup.to_string(),
                "size": blob.size,
                "sig_valid": blob.sig_valid,
                "ts": moment::millis(Timestamp::now()),
            });
            if let (Some(device), Some(fields)) = (&blob.device, said.as_object_mut()) {
                fields.insert("device".to_owned(), device.as_str().into());
            }
            said.to_string()
        });
    }

    /// Says something to every socket of an account. `words` are made only if there is one.
    pub fn tell(&self, account: AccountId, words: impl FnOnce() -> String) {
        let mut sockets = self.sockets();
        let Some(of_account) = sockets.by_account.get_mut(&account) else { return };
        let words = Utf8Bytes::from(words());
        for entry in of_account {
            if entry.inbox.try_send(words.clone()).is_err() {
                entry.end.send_replace(Some(Ending::TooSlow));
            }
        }
    }

    /// Closes the sockets of keys that are not active any more, whenever keys change.
    pub async fn follow(self, accounts: Accounts) {
        let mut news = accounts.subscribe();
        while news.changed().await.is_ok() {
            self.keep_only(&accounts.active_kids());
        }
    }

    /// Waits until every socket has been told that the relay ends, which `closing` began.
    pub async fn close(&self) {
        self.0.running.close();
        if tokio::time::timeout(LAST_WORDS, self.0.running.wait()).await.is_err() {
            tracing::debug!("not every stream was closed in order");
        }
    }

    fn keep_only(&self, active: &HashSet<String>) {
        for entry in self.sockets().by_account.values().flatten() {
            if !active.contains(&entry.kid) {
                entry.end.send_replace(Some(Ending::KeyRevoked));
            }
        }
        self.tickets().keep_only(active);
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When somebody else ended a socket, and why.
async fn told_to_end(end: &mut watch::Receiver<Option<Ending>>) -> Ending {
    let told = end.wait_for(Option::is_some).await.ok().and_then(|ending| *ending);
    told.unwrap_or(Ending::Closing)
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sockets = self.streams.sockets();
        if let Some(of_account) = sockets.by_account.get_mut(&self.account) {
            of_account.retain(|entry| entry.number != self.number);
            if of_account.is_empty() {
                sockets.by_account.remove(&self.account);
            }
        }
        sockets.open = sockets.open.saturating_sub(1);
        drop(sockets);
        self.streams.0.metrics.open.dec();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
