//! What decides about signatures: the fence, the rotation of keys, the anchors. Everything here blocks but for waiting.

use std::time::Duration;

use paramant_protocol::control::Directives;
use paramant_tlog::Tree;

use super::fence::Answer;
use super::guard::{self, Guard, Ours};
use super::{AnchorError, LogService, RotateError};

impl LogService {
    /// Lets the fence decide from now on. What the operator said in an earlier run lies in the same directory: it can show
    /// that this copy is old, never that it is the newest. Blocks.
    pub fn arm(&self, stored: Option<&Directives>) {
        if let Some(objection @ Answer::Objects(_)) = stored.and_then(|stored| self.judge(stored)) {
            self.0.guard.operator_says(Some(objection));
        }
        self.0.guard.arm();
        self.0.heads.wake();
    }

    /// Takes what the operator says now, and signs at once if that opens the fence. Blocks.
    pub fn hear(&self, directives: &Directives) {
        let answer = self.judge(directives);
        self.0.guard.operator_says(answer);
        self.sign_now();
    }

    /// Signs what the fence has let through, rather than at the next turn. Blocks.
    pub fn sign_now(&self) {
        if self.0.guard.may_sign().is_err() {
            return;
        }
        self.0.heads.wake();
        if let Err(error) = self.engine().publish_now() {
            tracing::warn!(%error, "no checkpoint was published; the log tries again");
        }
    }

    fn judge(&self, directives: &Directives) -> Option<Answer> {
        let ours = Ours {
            identity: &self.0.identity,
            origin: &self.0.names.origin,
            retired: &self.0.names.retired,
            head: self.head(),
        };
        guard::judge(directives, &ours, |size| self.engine().root(Tree::Sha256, size))
    }

    /// The fence against old copies.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Begins a rotation of the keys that sign checkpoints, and shows both under one checkpoint. Blocks.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn begin_rotation(&self) -> Result<(), RotateError> {
        self.0.ring.begin(&self.0.log)?;
        self.sign_now();
        Ok(())
    }

    /// Ends the overlap: the old keys sign no more. Blocks.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn finish_rotation(&self) -> Result<(), RotateError> {
        self.sign_now();
        self.0.ring.finish(&self.0.log)?;
        self.sign_now();
        Ok(())
    }

    /// Appends an `sth_anchor` if a tree head was signed since the last one for another reason than that one. Blocks.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn anchor(&self) -> Result<bool, AnchorError> {
        if self.0.guard.may_sign().is_err() {
            return Ok(false);
        }
        let anchored = self.0.anchors.anchor(&self.0.heads, &self.0.log)?;
        if anchored {
            self.0.heads.wake();
        }
        Ok(anchored)
    }

    /// Waits until the newest tree head covers the log, at most `patience`; at once if nothing is signed.
    pub async fn settle_heads(&self, patience: Duration) {
        if let Some(last) = self.head().size.checked_sub(1) {
            self.sth_covering(last, patience).await;
        }
    }
}
