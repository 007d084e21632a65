//! What kind of change a roll is, as far as a policy tells them apart. Pure value.

/// What another template changes; `spec.updates.applies` of a policy names a gate for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Another image, whatever else.
    Image,
    /// Other pod settings, with the same image.
    Pod,
    /// Only another licence Secret.
    Licence,
}
