//! Whether what came is what was expected; if not, where and why.

use regex::Regex;
use serde_json::Value as Json;

use crate::value::{Scope, call};

/// Collects every difference between an expectation and what is there (`None`: nothing is).
pub(crate) fn differences(expected: &Json, actual: Option<&Json>, scope: &Scope, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    compare(expected, actual, scope, place, &mut found);
    found
}

fn compare(expected: &Json, actual: Option<&Json>, scope: &Scope, place: &str, found: &mut Vec<String>) {
    if let Some((name, argument)) = call(expected)
        && let Some(differences) = matcher(name, argument, actual, scope, place)
    {
        found.extend(differences);
        return;
    }
    let Some(actual) = actual else {
        found.push(format!("{place} is absent"));
        return;
    };
    match (expected, actual) {
        (Json::Object(fields), Json::Object(there)) if call(expected).is_none() => {
            for (name, field) in fields {
                compare(field, there.get(name), scope, &format!("{place}.{name}"), found);
            }
        }
        (Json::Array(items), Json::Array(there)) => {
            if items.len() != there.len() {
                found.push(format!("{place} has {} elements, not {}", there.len(), items.len()));
            }
            for (n, item) in items.iter().enumerate() {
                compare(item, there.get(n), scope, &format!("{place}.{n}"), found);
            }
        }
        _ => match scope.json(expected) {
            Ok(value) if value == *actual => {}
            Ok(value) => found.push(format!("{place} is {}, not {}", short(actual), short(&value))),
            Err(error) => found.push(format!("{place}: {error}")),
        },
    }
}

/// What a matcher of that name says; `None` when it is a function.
fn matcher(
    name: &str,
    argument: &Json,
    actual: Option<&Json>,
    scope: &Scope,
    place: &str,
) -> Option<Vec<String>> {
    match (name, actual) {
        ("absent", None) => return Some(Vec::new()),
        ("absent", Some(there)) => {
            return Some(vec![format!("{place} must be absent and is {}", short(there))]);
        }
        ("optional", None) => return Some(Vec::new()),
        ("optional", Some(_)) => return Some(differences(argument, actual, scope, place)),
        _ => {}
    }
    let known = [
        "type", "matches", "any", "nullable", "one_of", "not", "at_least", "at_most", "below", "each", "has",
        "lacks", "count", "all", "exactly", "contains",
    ];
    if !known.contains(&name) {
        return None;
    }
    let Some(actual) = actual else { return Some(vec![format!("{place} is absent")]) };
    let holds = |holds: bool, what: String| if holds { Vec::new() } else { vec![format!("{place} {what}")] };
    let inner =
        |expected: &Json, actual: &Json, place: &str| differences(expected, Some(actual), scope, place);
    let seen = short(actual);
    let elements = actual.as_array().map(Vec::as_slice);
    Some(match name {
        "any" => Vec::new(),
        "type" => holds(argument.as_str() == Some(kind(actual)), format!("is {seen}, no {argument}")),
        "matches" => match (Regex::new(argument.as_str().unwrap_or_default()), actual.as_str()) {
            (Ok(pattern), Some(text)) => {
                holds(pattern.is_match(text), format!("is {seen}, which {pattern} does not match"))
            }
            (Ok(_), None) => vec![format!("{place} is {seen}, no string")],
            (Err(error), _) => vec![format!("{place}: {error}")],
        },
        "nullable" if actual.is_null() => Vec::new(),
        "nullable" => inner(argument, actual, place),
        "one_of" => {
            let choices = argument.as_array().map(Vec::as_slice).unwrap_or_default();
            holds(
                choices.iter().any(|choice| inner(choice, actual, place).is_empty()),
                format!("is {seen}, none of {argument}"),
            )
        }
        "not" => {
            holds(!inner(argument, actual, place).is_empty(), format!("is {seen}, which it must not be"))
        }
        "at_least" | "at_most" | "below" => {
            match (actual.as_i64(), scope.json(argument).map(|limit| limit.as_i64())) {
                (Some(number), Ok(Some(limit))) => {
                    let within = match name {
                        "at_least" => number >= limit,
                        "at_most" => number <= limit,
                        _ => number < limit,
                    };
                    holds(within, format!("is {number}, not {} {limit}", name.replace('_', " ")))
                }
                (_, Err(error)) => vec![format!("{place}: {error}")],
                _ => vec![format!("{place} is {seen}, no integer")],
            }
        }
        "each" | "has" | "lacks" | "count" => match elements {
            None => vec![format!("{place} is {seen}, no array")],
            Some(items) => match name {
                "each" => {
                    let each = items.iter().enumerate();
                    each.flat_map(|(n, item)| inner(argument, item, &format!("{place}.{n}"))).collect()
                }
                "has" => holds(
                    items.iter().any(|item| inner(argument, item, place).is_empty()),
                    format!("has no element like {argument}"),
                ),
                "lacks" => holds(
                    !items.iter().any(|item| inner(argument, item, place).is_empty()),
                    format!("has an element like {argument}"),
                ),
                _ => inner(argument, &Json::from(items.len()), &format!("the number of {place}")),
            },
        },
        "contains" => match (scope.text(argument), actual.as_str()) {
            (Ok(part), Some(text)) => holds(text.contains(&part), format!("is {seen}, without {part:?}")),
            (Err(error), _) => vec![format!("{place}: {error}")],
            (Ok(_), None) => vec![format!("{place} is {seen}, no string")],
        },
        "all" => {
            let all = argument.as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().flat_map(|one| inner(one, actual, place)).collect()
        }
        _ => {
            let mut found = inner(argument, actual, place);
            if let (Json::Object(fields), Json::Object(there)) = (argument, actual) {
                let more = there.keys().filter(|name| !fields.contains_key(*name));
                found.extend(more.map(|name| format!("{place}.{name} should not be there")));
            }
            found
        }
    })
}

pub(crate) fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_f64() => "float",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// A value for people: hashes and payloads end early.
pub(crate) fn short(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
