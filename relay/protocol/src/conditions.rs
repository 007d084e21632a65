//! What a request asks of a cached or partial answer: `If-None-Match`, `If-Modified-Since`, `Range`, `If-Range` (RFC 9110 §13, §14).
//!
//! Pure: given the validators and the length of what there is, [`Conditions::select`] says what is to be sent. One range is
//! served; several at once, and what is no byte range at all, are ignored, as the RFC allows: the whole is always right.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// By what an answer is recognised later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag, with its quotes.
    pub etag: String,
    /// When it last changed, to the second.
    pub modified: Option<Timestamp>,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// 304: the client has it.
    NotModified,
    /// 200.
    Whole,
    /// 206: from the first to the last byte, both included.
    Part {
        /// Counted from 0.
        first: u64,
        /// Not before the first.
        last: u64,
    },
    /// 416: the range lies beyond the end.
    Beyond,
}

/// The conditions of one request. Absent headers ask for the whole.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Only the header is wanted, for which ranges mean nothing.
    pub head: bool,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<Vec<String>>,
    if_modified_since: Option<Timestamp>,
}

impl Conditions {
    /// A request without conditions; `head`: only the header is wanted.
    pub fn new(head: bool) -> Self {
        Self { head, ..Self::default() }
    }

    /// Takes `Range` and `If-Range`.
    pub fn range(&mut self, range: Option<&str>, if_range: Option<&str>) {
        self.range = range.map(str::to_owned);
        self.if_range = if_range.map(str::to_owned);
    }

    /// Takes a line of `If-None-Match`; a list may be spread over several.
    pub fn if_none_match(&mut self, line: &str) {
        let tags = self.if_none_match.get_or_insert_default();
        tags.extend(line.split(',').map(|tag| tag.trim().to_owned()));
    }

    /// Takes `If-Modified-Since`; what is no date asks for nothing.
    pub fn if_modified_since(&mut self, line: Option<&str>) {
        self.if_modified_since = line.and_then(parse_date);
    }

    /// The entity tag that a broken-off download names to go on with.
    pub fn continued(&self) -> Option<&str> {
        self.if_range.as_deref()
    }

    /// What of a representation of this length is to be sent.
    pub fn select(&self, validators: &Validators, length: u64) -> Selection {
        if self.has_it(validators) {
            return Selection::NotModified;
        }
        match &self.range {
            Some(range) if !self.head && self.may_continue(validators) => byte_range(range, length),
            _ => Selection::Whole,
        }
    }

    fn has_it(&self, validators: &Validators) -> bool {
        match (&self.if_none_match, self.if_modified_since, validators.modified) {
            // Weak comparison: a compressed answer carried the same tag behind `W/`.
            (Some(tags), ..) => {
                tags.iter().any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == validators.etag)
            }
            (None, Some(since), Some(modified)) => modified.as_second() <= since.as_second(),
            _ => false,
        }
    }

    /// Strong comparison: what the client holds must be byte for byte the beginning of what there is.
    fn may_continue(&self, validators: &Validators) -> bool {
        match &self.if_range {
            None => true,
            Some(validator) if validator.starts_with('"') => *validator == validators.etag,
            Some(date) => {
                let same = |date: Timestamp| {
                    validators.modified.is_some_and(|modified| modified.as_second() == date.as_second())
                };
                parse_date(date).is_some_and(same)
            }
        }
    }
}

/// An instant as HTTP writes it; `None` outside the years HTTP can write.
pub fn http_date(at: Timestamp) -> Option<String> {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
}

fn parse_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn byte_range(text: &str, length: u64) -> Selection {
    let part = |first: u64, last: u64| {
        if first < length { Selection::Part { first, last: last.min(length - 1) } } else { Selection::Beyond }
    };
    let spec = text.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = spec.and_then(|(_, spec)| spec.trim().split_once('-')) else {
        return Selection::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => part(first, last),
        (Some(first), None) if last.is_empty() => part(first, u64::MAX),
        (None, Some(0)) if first.is_empty() => Selection::Beyond,
        (None, Some(count)) if first.is_empty() => part(length.saturating_sub(count), u64::MAX),
        _ => Selection::Whole,
    }
}

/// A run of digits, however long: what exceeds 64 bits is beyond any end.
fn number(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = 1000;

    fn conditions(lines: &[(&str, &str)]) -> Conditions {
        let mut conditions = Conditions::default();
        for (name, value) in lines {
            match *name {
                "range" => conditions.range = Some((*value).to_owned()),
                "if-range" => conditions.if_range = Some((*value).to_owned()),
                "if-none-match" => conditions.if_none_match(value),
                name => {
                    assert_eq!(name, "if-modified-since");
                    conditions.if_modified_since(Some(value));
                }
            }
        }
        conditions
    }

    fn validators() -> Validators {
        let modified = "2026-01-02T03:04:05.678Z".parse().unwrap();
        Validators { etag: "\"abc\"".into(), modified: Some(modified) }
    }

    fn selected(lines: &[(&str, &str)]) -> Selection {
        conditions(lines).select(&validators(), LENGTH)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        use Selection::{Beyond, Part, Whole};
        for (range, expected) in [
            ("bytes=0-0", Part { first: 0, last: 0 }),
            ("bytes=0-", Part { first: 0, last: 999 }),
            ("BYTES=10-19", Part { first: 10, last: 19 }),
            ("bytes=990-5000", Part { first: 990, last: 999 }),
            ("bytes=0-99999999999999999999999", Part { first: 0, last: 999 }),
            ("bytes=-1", Part { first: 999, last: 999 }),
            ("bytes=-99999999999999999999999", Part { first: 0, last: 999 }),
            ("bytes=1000-", Beyond),
            ("bytes=99999999999999999999999-", Beyond),
            ("bytes=-0", Beyond),
            // Not one byte range: ignored.
            ("bytes=5-1", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=a-b", Whole),
            ("bytes=--1", Whole),
            ("bytes=+1-2", Whole),
            ("bytes", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(selected(&[("range", range)]), expected, "{range}");
        }
        assert_eq!(conditions(&[("range", "bytes=0-")]).select(&validators(), 0), Beyond);
    }

    #[test]
    fn a_client_that_has_it_is_not_sent_it_again() {
        use Selection::{NotModified, Whole};
        for (name, value, expected) in [
            ("if-none-match", "\"abc\"", NotModified),
            ("if-none-match", "W/\"abc\"", NotModified),
            ("if-none-match", "\"x\", \"abc\"", NotModified),
            ("if-none-match", "*", NotModified),
            ("if-none-match", "\"abcd\"", Whole),
            ("if-none-match", "abc", Whole),
            ("if-modified-since", "Fri, 02 Jan 2026 03:04:05 GMT", NotModified),
            ("if-modified-since", "Fri, 02 Jan 2026 03:04:04 GMT", Whole),
            ("if-modified-since", "yesterday", Whole),
        ] {
            assert_eq!(selected(&[(name, value)]), expected, "{name}: {value}");
        }
        let both = [("if-none-match", "\"x\""), ("if-modified-since", "Fri, 02 Jan 2099 03:04:05 GMT")];
        assert_eq!(selected(&both), Whole, "the tag wins over the date");
        assert_eq!(selected(&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")]), NotModified);
    }

    #[test]
    fn a_download_goes_on_only_over_the_same_bytes() {
        let part = Selection::Part { first: 5, last: 999 };
        for (validator, expected) in [
            ("\"abc\"", part),
            ("Fri, 02 Jan 2026 03:04:05 GMT", part),
            ("\"other\"", Selection::Whole),
            ("W/\"abc\"", Selection::Whole),
            ("Fri, 02 Jan 2026 03:04:06 GMT", Selection::Whole),
        ] {
            let asked = [("range", "bytes=5-"), ("if-range", validator)];
            assert_eq!(selected(&asked), expected, "{validator}");
        }
    }

    #[test]
    fn dates_are_written_as_http_writes_them() {
        let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(http_date(at).unwrap(), "Fri, 02 Jan 2026 03:04:05 GMT");
    }

    proptest! {
        #[test]
        fn whatever_is_asked_a_part_lies_within(text in any::<String>(), a in any::<u64>(), b in any::<u64>(), length in 0..5000u64) {
            for range in [text, format!("bytes={a}-{b}"), format!("bytes=-{a}"), format!("bytes={b}-")] {
                if let Selection::Part { first, last } = byte_range(&range, length) {
                    prop_assert!(first <= last && last < length, "{range}");
                }
            }
        }
    }
}
