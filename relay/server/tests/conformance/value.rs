//! Values of a case: JSON, or bytes, which have no place in JSON until a case says how they are written (`$hex`, `$base64`).
//! A template becomes a value by putting variables in the place of `${name}` and calling functions, objects of one key that
//! begins with `$`. `docs/spec/conformance/README.md` describes both for people.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::functions;

/// What a template stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Json(Json),
    Bytes(Vec<u8>),
}

/// The variables of one case, and the keys it made.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) variables: BTreeMap<String, Value>,
    pub(crate) keys: functions::Keys,
}

impl Value {
    /// As bytes: text is UTF-8.
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Json(Json::String(text)) => Ok(text.into_bytes()),
            Self::Json(other) => Err(format!("bytes or text expected, not {other}")),
        }
    }

    pub(crate) fn into_json(self) -> Result<Json, String> {
        match self {
            Self::Json(json) => Ok(json),
            Self::Bytes(_) => {
                Err("bytes have no place in JSON: write them with $hex, $base64 or $base64url".to_owned())
            }
        }
    }

    pub(crate) fn into_text(self) -> Result<String, String> {
        match self.into_json()? {
            Json::String(text) => Ok(text),
            Json::Number(number) => Ok(number.to_string()),
            other => Err(format!("text expected, not {other}")),
        }
    }
}

/// The name of the function or matcher an object calls, and what it is given.
pub(crate) fn call(template: &Json) -> Option<(&str, &Json)> {
    let object = template.as_object()?;
    let (name, argument) = object.iter().next()?;
    (object.len() == 1).then_some(())?;
    Some((name.strip_prefix('$')?, argument))
}

impl Scope {
    /// Resolves templates that may use each other, in whatever order they stand.
    pub(crate) fn define(&mut self, templates: &BTreeMap<String, Json>) -> Result<(), String> {
        let mut open: Vec<(&String, &Json)> = templates.iter().collect();
        while !open.is_empty() {
            let (mut later, mut problem) = (Vec::new(), String::new());
            let before = open.len();
            for (name, template) in open {
                match self.evaluate(template) {
                    Ok(value) => _ = self.variables.insert(name.clone(), value),
                    Err(error) => {
                        problem = format!("{name}: {error}");
                        later.push((name, template));
                    }
                }
            }
            if later.len() == before {
                return Err(problem);
            }
            open = later;
        }
        Ok(())
    }

    pub(crate) fn evaluate(&self, template: &Json) -> Result<Value, String> {
        if let Some((name, argument)) = call(template) {
            return functions::apply(name, argument, self).map_err(|error| format!("${name}: {error}"));
        }
        match template {
            Json::String(text) => self.interpolate(text),
            Json::Array(items) => Ok(Value::Json(Json::Array(
                items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?,
            ))),
            Json::Object(fields) => {
                let field = |(name, value): (&String, &Json)| Ok((name.clone(), self.json(value)?));
                Ok(Value::Json(Json::Object(fields.iter().map(field).collect::<Result<_, String>>()?)))
            }
            plain => Ok(Value::Json(plain.clone())),
        }
    }

    pub(crate) fn json(&self, template: &Json) -> Result<Json, String> {
        self.evaluate(template)?.into_json()
    }

    pub(crate) fn bytes(&self, template: &Json) -> Result<Vec<u8>, String> {
        self.evaluate(template)?.into_bytes()
    }

    pub(crate) fn text(&self, template: &Json) -> Result<String, String> {
        self.evaluate(template)?.into_text()
    }

    /// Text with variables; one that is a variable and nothing else keeps its kind.
    fn interpolate(&self, text: &str) -> Result<Value, String> {
        if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
            && !name.contains("${")
        {
            return self.variable(name);
        }
        let (mut made, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| format!("{text}: a brace is missing"))?;
            made.push_str(before);
            made.push_str(&self.variable(name)?.into_text().map_err(|error| format!("{name}: {error}"))?);
            rest = after;
        }
        made.push_str(rest);
        Ok(Value::Json(Json::String(made)))
    }

    fn variable(&self, name: &str) -> Result<Value, String> {
        let (variable, path) = name.split_once('.').unwrap_or((name, ""));
        let value = self.variables.get(variable).ok_or_else(|| format!("no variable {variable:?}"))?;
        match value {
            Value::Json(json) => {
                let found = at(json, path).ok_or_else(|| format!("{variable} has no {path:?}: {json}"))?;
                Ok(Value::Json(found.clone()))
            }
            Value::Bytes(_) if path.is_empty() => Ok(value.clone()),
            Value::Bytes(_) => Err(format!("{variable} is bytes and has no {path:?}")),
        }
    }
}

/// What stands at `a.b.0` in a document.
pub(crate) fn at<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(json, |place, part| match place {
        Json::Array(items) => items.get(part.parse::<usize>().ok()?),
        Json::Object(fields) => fields.get(part),
        _ => None,
    })
}
