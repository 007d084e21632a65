//! The ServiceAccount a relay's pod runs as. It holds no right; its bound token only proves which pod a relay is.

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::Value;

use super::{Subject, seal, to_value};

/// The intent.
pub fn service_account(subject: &Subject<'_>) -> Value {
    seal(to_value(&ServiceAccount {
        metadata: subject.metadata(subject.name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }))
}
