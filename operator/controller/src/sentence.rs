//! An error as one sentence for people: its own words and those of its causes, once each, without debug dumps.

use std::error::Error;

/// What a Kubernetes call failed with.
pub fn of_kube(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("the API server answered {}", status.code),
        other => of(other),
    }
}

/// An error and its causes. Many libraries repeat the cause in their own words; a repetition is left out.
pub fn of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner: refused")]
    struct Inner(#[source] std::io::Error);

    #[test]
    fn every_cause_is_named_once() {
        let error = Outer(Inner(std::io::Error::other("refused")));
        assert_eq!(of(&error), "outer: inner: refused");
    }

    #[test]
    fn an_answer_of_the_api_server_is_its_message() {
        let status = kube::core::Status::failure("pods is forbidden", "Forbidden").with_code(403);
        assert_eq!(of_kube(&kube::Error::Api(status.boxed())), "pods is forbidden");
    }
}
