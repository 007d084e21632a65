//! A document whose signature and form were checked.

/// Holds a document and the very bytes that were verified. Only the verifiers of this crate make one.
#[derive(PartialEq, Eq)]
pub struct Verified<T> {
    document: T,
    bytes: Vec<u8>,
}

impl<T> Verified<T> {
    pub(crate) fn checked(document: T, bytes: Vec<u8>) -> Self {
        Self { document, bytes }
    }

    /// The document.
    pub fn get(&self) -> &T {
        &self.document
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Verified<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Verified").field(&self.document).finish()
    }
}
