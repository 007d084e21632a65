//! The one-time set-up code: printed once, redeemed once for the admin token.
