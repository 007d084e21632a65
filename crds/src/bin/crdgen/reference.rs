//! `docs/api-reference.md`: every field of the three resources with its type and bounds, and every rule.

use std::fmt::Write;

use paramant_crds::{definition, table};
use serde_json::Value;

use crate::Error;

const HEAD: &str = "<!-- Generated from the Rust types by `cargo xtask generate`. Do not edit. -->\n
# API reference

Group `paramant.app`, version `v1alpha1`, namespaced, category `paramant` (`kubectl get paramant` lists all three).
The schemas hold no defaults: an absent field stays absent in storage, and its description says what then is in force.
";

pub(crate) fn page() -> Result<String, Error> {
    let mut page = HEAD.to_owned();
    for definition in definition::all()? {
        let names = &definition.spec.names;
        let version = definition.spec.versions.first();
        let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        let schema = serde_json::to_value(schema)?;
        let short = names.short_names.as_ref().map(|names| names.join(", ")).unwrap_or_default();
        line(&mut page, &format!("\n## {}\n", names.kind));
        line(&mut page, &format!("{}\n", text(&schema, "description")));
        line(&mut page, &format!("Short name: `{short}`. Name in URLs: `{}`.\n", names.plural));
        columns(&mut page, version.and_then(|version| version.additional_printer_columns.as_deref()));
        for part in ["spec", "status"] {
            let title = if part == "spec" { "Spec" } else { "Status" };
            line(&mut page, &format!("\n### {title}\n\n| field | type | |\n|---|---|---|"));
            if let Some(schema) = schema.get("properties").and_then(|parts| parts.get(part)) {
                fields(&mut page, schema, "");
            }
        }
        line(
            &mut page,
            "\n### Rules\n\nWhat the API server refuses, and what it then says to write instead.\n",
        );
        line(&mut page, "| where | message |\n|---|---|");
        for rule in table::placed_rules(&schema) {
            let at = if rule.at.is_empty() { "the object" } else { &rule.at };
            line(&mut page, &format!("| `{at}` | {} |", cell(&rule.message)));
        }
    }
    Ok(page)
}

fn columns(
    page: &mut String,
    columns: Option<
        &[k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition],
    >,
) {
    let columns = columns.unwrap_or_default();
    let named = |wide: bool| {
        let names = columns.iter().filter(|column| (column.priority.unwrap_or(0) > 0) == wide);
        names.map(|column| column.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let wide = named(true);
    let more = if wide.is_empty() { String::new() } else { format!("; with `-o wide` also {wide}") };
    line(page, &format!("Columns: {}{more}.", named(false)));
}

fn fields(page: &mut String, schema: &Value, at: &str) {
    let required = schema.get("required").and_then(Value::as_array);
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{at}{name}");
        let must = required.is_some_and(|names| names.iter().any(|required| required == name));
        let description = cell(&text(property, "description"));
        let must = if must { " **Required.**" } else { "" };
        line(page, &format!("| `{path}` | {} | {description}{must} |", shape(property)));
        let below = property
            .get("items")
            .map_or((property, format!("{path}.")), |items| (items, format!("{path}[].")));
        if name != "conditions" {
            fields(page, below.0, &below.1);
        }
    }
}

/// A type in a few words, with its bounds.
fn shape(schema: &Value) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<_> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => {
            let items = schema.get("items").map(shape).unwrap_or_default();
            let kind = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => "set",
                Some("map") => "list by key",
                _ => "list",
            };
            match number("maxItems") {
                Some(most) => format!("{kind} of {items}, at most {most}"),
                None => format!("{kind} of {items}"),
            }
        }
        Some("string") => match (schema.get("format").and_then(Value::as_str), number("maxLength")) {
            (Some("date-time"), _) => "instant".to_owned(),
            (_, Some(most)) => format!("text, at most {most}"),
            _ => "text".to_owned(),
        },
        Some("integer") => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("number from {least} to {most}"),
            (Some(least), None) => format!("number from {least}"),
            (None, Some(most)) => format!("number up to {most}"),
            (None, None) => "number".to_owned(),
        },
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("object") if schema.get("additionalProperties").is_some() => "map".to_owned(),
        _ => "object".to_owned(),
    }
}

fn text(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Text that cannot break a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn line(page: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}
