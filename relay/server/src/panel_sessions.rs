//! Who is signed in to the admin's pages: in memory, bounded, ended by time, by signing out and by a restart.
//!
//! A session begins with the admin's token, and opens nothing but the second factor until that was shown. Cookies are kept as their
//! SHA-256 only. Each session has a token of its own for forms, so that no other site can press a button here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use paramant_protocol::leaf::{Hash, sha256};
use subtle::ConstantTimeEq;

/// Without a request.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Altogether.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Admins are few; more than this are somebody's mistake. The oldest goes that has not shown the second factor, so that whoever has the
/// token alone cannot end the sessions of whoever has both.
const MOST: usize = 32;

/// All of them.
#[derive(Debug, Default)]
pub struct PanelSessions(Mutex<Vec<Session>>);

struct Session {
    cookie: Hash,
    /// SHA-256 of the token it began with: another token ends it.
    token: Hash,
    forms: String,
    began: Instant,
    seen: Instant,
    /// The second factor was shown.
    complete: bool,
    /// A secret offered for enrolment, until a code of it was shown.
    offered: Option<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session(complete: {})", self.complete)
    }
}

/// What a request with a valid cookie may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// For the forms of its pages.
    pub forms: String,
    /// The second factor was shown.
    pub complete: bool,
    /// SHA-256 of the token it began with.
    pub token: Hash,
}

impl PanelSessions {
    /// Begins one; answers its cookie.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn begin(&self, token: Hash) -> Result<String, getrandom::Error> {
        let (mut cookie, mut forms) = ([0; 32], [0; 32]);
        getrandom::fill(&mut cookie)?;
        getrandom::fill(&mut forms)?;
        let (cookie, now) = (hex::encode(cookie), Instant::now());
        let mut all = self.live(now);
        if all.len() >= MOST {
            let oldest = all.iter().position(|session| !session.complete).unwrap_or_default();
            all.remove(oldest);
        }
        all.push(Session {
            cookie: sha256(cookie.as_bytes()),
            token,
            forms: hex::encode(forms),
            began: now,
            seen: now,
            complete: false,
            offered: None,
        });
        Ok(cookie)
    }

    /// The session of a cookie.
    pub fn of(&self, cookie: &str) -> Option<Signed> {
        self.with(cookie, |session| Signed {
            forms: session.forms.clone(),
            complete: session.complete,
            token: session.token,
        })
    }

    /// The second factor was shown: the session goes on under another cookie, so that one which somebody planted before opens nothing.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn complete(&self, cookie: &str) -> Result<Option<String>, getrandom::Error> {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh)?;
        let fresh = hex::encode(fresh);
        Ok(self.with(cookie, |session| {
            session.complete = true;
            session.offered = None;
            session.cookie = sha256(fresh.as_bytes());
            fresh.clone()
        }))
    }

    /// The secret that this session was offered, or this one from now on.
    pub fn offer(&self, cookie: &str, secret: String) -> Option<String> {
        self.with(cookie, |session| session.offered.get_or_insert(secret).clone())
    }

    /// The secret that was offered.
    pub fn offered(&self, cookie: &str) -> Option<String> {
        self.with(cookie, |session| session.offered.clone()).flatten()
    }

    /// Ends one.
    pub fn end(&self, cookie: &str) {
        let digest = sha256(cookie.as_bytes());
        self.live(Instant::now()).retain(|session| session.cookie != digest);
    }

    fn with<T>(&self, cookie: &str, look: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let (digest, now) = (sha256(cookie.as_bytes()), Instant::now());
        let mut all = self.live(now);
        let session = all.iter_mut().find(|session| bool::from(session.cookie.ct_eq(&digest)))?;
        session.seen = now;
        Some(look(session))
    }

    fn live(&self, now: Instant) -> MutexGuard<'_, Vec<Session>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|it| now.duration_since(it.seen) < IDLE && now.duration_since(it.began) < LONGEST);
        all
    }
}

impl Signed {
    /// Whether a form came from a page of this session.
    pub fn sent(&self, forms: &str) -> bool {
        bool::from(self.forms.as_bytes().ct_eq(forms.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_opens_nothing_before_the_second_factor_and_ends() {
        let sessions = PanelSessions::default();
        let cookie = sessions.begin([7; 32]).unwrap();
        let signed = sessions.of(&cookie).unwrap();
        assert!(!signed.complete && signed.sent(&signed.forms) && !signed.sent("") && !signed.sent(&cookie));
        assert_eq!(sessions.of("another"), None);
        assert_eq!(sessions.offer(&cookie, "A".into()).as_deref(), Some("A"));
        assert_eq!(sessions.offer(&cookie, "B".into()).as_deref(), Some("A"), "one secret for one session");
        let before = cookie.clone();
        let cookie = sessions.complete(&before).unwrap().unwrap();
        assert_eq!(sessions.of(&before), None, "another cookie");
        assert!(sessions.of(&cookie).unwrap().complete && sessions.offered(&cookie).is_none());
        sessions.end(&cookie);
        assert_eq!(sessions.of(&cookie), None);
    }

    #[test]
    fn sessions_are_bounded_and_idle_ones_end() {
        let sessions = PanelSessions::default();
        let first = sessions.begin([7; 32]).unwrap();
        for _ in 0..MOST {
            sessions.begin([7; 32]).unwrap();
        }
        assert_eq!(sessions.of(&first), None, "the oldest went");
        let both = sessions.begin([7; 32]).unwrap();
        let both = sessions.complete(&both).unwrap().unwrap();
        for _ in 0..2 * MOST {
            sessions.begin([7; 32]).unwrap();
        }
        assert!(sessions.of(&both).unwrap().complete, "the token alone ended a session that showed both");
        assert_eq!(sessions.live(Instant::now()).len(), MOST);
        assert_eq!(sessions.live(Instant::now() + IDLE).len(), 0);
    }
}
