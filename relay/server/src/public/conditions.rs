//! What a request asks of a cached or partial answer, out of its headers. What follows from it is [`paramant_protocol::conditions`].

use std::convert::Infallible;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use paramant_protocol::conditions;

pub(super) use paramant_protocol::conditions::{Selection, Validators, http_date};

/// The conditions of one request. Absent headers ask for the whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(conditions::Conditions);

impl Deref for Conditions {
    type Target = conditions::Conditions;

    fn deref(&self) -> &conditions::Conditions {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.method, &parts.headers))
    }
}

impl Conditions {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut conditions = conditions::Conditions::new(method == Method::HEAD);
        conditions.range(text(header::RANGE), text(header::IF_RANGE));
        conditions.if_modified_since(text(header::IF_MODIFIED_SINCE));
        // A list may be spread over several lines.
        for line in headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()) {
            conditions.if_none_match(line);
        }
        Self(conditions)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn select(method: &Method, lines: &[(&str, &str)]) -> Selection {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let modified = "2026-01-02T03:04:05Z".parse().unwrap();
        let validators = Validators { etag: "\"abc\"".into(), modified: Some(modified) };
        Conditions::of(method, &headers).select(&validators, 1000)
    }

    #[test]
    fn each_header_is_read_under_its_name_and_a_list_over_all_its_lines() {
        let (old, now) = ("Fri, 02 Jan 2026 03:04:04 GMT", "Fri, 02 Jan 2026 03:04:05 GMT");
        let part = Selection::Part { first: 5, last: 999 };
        for (lines, expected) in [
            (vec![], Selection::Whole),
            (vec![("range", "bytes=5-")], part),
            (vec![("range", "bytes=5-"), ("if-range", now)], part),
            (vec![("range", "bytes=5-"), ("if-range", old)], Selection::Whole),
            (vec![("if-modified-since", now)], Selection::NotModified),
            (vec![("if-modified-since", old)], Selection::Whole),
            (vec![("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], Selection::NotModified),
            (vec![("if-none-match", "\"x\""), ("if-modified-since", now)], Selection::Whole),
        ] {
            assert_eq!(select(&Method::GET, &lines), expected, "{lines:?}");
        }
        assert_eq!(select(&Method::HEAD, &[("range", "bytes=5-")]), Selection::Whole);
    }
}
