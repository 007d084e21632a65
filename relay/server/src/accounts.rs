//! Users and API keys, and the Community cap.
