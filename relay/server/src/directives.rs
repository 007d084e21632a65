//! Directives of the operator: ordered, persisted, restored.
