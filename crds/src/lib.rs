//! The three custom resources of `paramant.app/v1alpha1`.
//!
//! [`ParamantRelay`], [`ParamantLicense`] and [`ParamantPolicy`] as Rust types, the [`definition`]s the API server
//! gets, the [`clause`]s (CEL rules and their messages), the same rules in Rust ([`validation`]), and a table of
//! manifests ([`table`]) that shows each rule refusing and accepting. Knows nothing of the relay process.
//! Deserialising is lenient: whatever the API server's schema stores can be read, so one odd object never stops a
//! watch; text that must parse (sizes, spans, digests) is parsed where it is used, and [`validation`] says what is wrong.

// `KubeSchema` repeats each public struct inside a function, where `pub` reaches nobody.
#![allow(unreachable_pub)]

pub mod clause;
pub mod condition;
pub mod definition;
pub mod license;
pub mod network;
pub mod policy;
pub mod reference;
pub mod relay;
pub mod size;
pub mod span;
pub mod table;
pub mod text;
pub mod validation;

pub use license::{ParamantLicense, ParamantLicenseSpec, ParamantLicenseStatus};
pub use policy::{ParamantPolicy, ParamantPolicySpec, ParamantPolicyStatus};
pub use relay::{ParamantRelay, ParamantRelaySpec, ParamantRelayStatus};
pub use size::{ByteSize, Size};
pub use span::Span;
pub use text::Digest;

/// The API group of all three resources.
pub const GROUP: &str = "paramant.app";
/// The version served and stored.
pub const VERSION: &str = "v1alpha1";

/// Annotations a person may set on a [`ParamantRelay`].
pub mod annotation {
    /// `"true"`: observe, report, rotate certificates, lift drains; nothing else.
    pub const PAUSED: &str = "paramant.app/paused";
    /// A digest that may be rolled now, whatever the window says. One shot, that digest only.
    pub const UPDATE_NOW: &str = "paramant.app/update-now";
    /// On the StatefulSet, as `kubectl rollout restart` writes it; honoured.
    pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
}
