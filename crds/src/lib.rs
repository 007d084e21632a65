//! The three custom resources of `paramant.app/v1alpha1`.
