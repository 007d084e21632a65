//! `status`: one relay in full with its fast counters, many as a table, or either as it is stored.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::Output;
use crate::cluster::{Cluster, Place, RELAYS};
use crate::verb::typed;
use crate::{counters, view};

/// How often `--watch` looks: a drain or a roll takes seconds, and a read of one relay costs the API server little.
const AGAIN: Duration = Duration::from_secs(2);

/// Whose status: one object's, or that of all of its kind.
pub(crate) enum Whose<'a> {
    /// One of the namespace.
    Of(&'a str),
    /// All of the namespace.
    Namespace,
    /// All there are.
    Everywhere,
}

/// Writes it once, or again whenever it changed.
pub(crate) async fn run(
    cluster: &Cluster,
    whose: Whose<'_>,
    output: Output,
    watch: bool,
) -> anyhow::Result<()> {
    let mut last = String::new();
    loop {
        let text = text(cluster, &whose, output).await?;
        if text != last {
            print!("{text}");
        }
        if !watch {
            return Ok(());
        }
        last = text;
        tokio::time::sleep(AGAIN).await;
    }
}

pub(crate) async fn text(cluster: &Cluster, whose: &Whose<'_>, output: Output) -> anyhow::Result<String> {
    let namespace = cluster.namespace.as_str();
    match whose {
        Whose::Of(name) => {
            let stored = cluster.get(&Place::one(RELAYS, namespace, name)).await?;
            if let Some(text) = document(&stored, output)? {
                return Ok(text);
            }
            let mut text = view::one(&typed(&stored)?);
            text.push_str(&counters::line(cluster, namespace, name).await);
            Ok(text)
        }
        Whose::Namespace | Whose::Everywhere => {
            let everywhere = matches!(whose, Whose::Everywhere);
            let place = Place::list(RELAYS, (!everywhere).then_some(namespace));
            let mut items = cluster.list(&place).await?;
            if let Some(text) = documents(&mut items, "ParamantRelay", output)? {
                return Ok(text);
            }
            let relays = items.iter().map(typed).collect::<Result<Vec<_>, _>>()?;
            if relays.is_empty() && !everywhere {
                return Ok(format!("No relays found in namespace {namespace}.\n"));
            }
            Ok(view::relays(&relays, output == Output::Wide, Timestamp::now()))
        }
    }
}

/// A list as stored; its items come without their type.
pub(crate) fn documents(items: &mut [Value], kind: &str, output: Output) -> anyhow::Result<Option<String>> {
    for fields in items.iter_mut().filter_map(Value::as_object_mut) {
        fields.insert("apiVersion".to_owned(), json!("paramant.app/v1alpha1"));
        fields.insert("kind".to_owned(), json!(kind));
    }
    document(&json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }), output)
}

/// As stored, without the bookkeeping of field managers, which kubectl hides too.
pub(crate) fn document(stored: &Value, output: Output) -> anyhow::Result<Option<String>> {
    let mut shown = stored.clone();
    forget_managers(&mut shown);
    if let Some(Value::Array(items)) = shown.get_mut("items") {
        items.iter_mut().for_each(forget_managers);
    }
    Ok(match output {
        Output::Table | Output::Wide => None,
        Output::Json => Some(format!("{}\n", serde_json::to_string_pretty(&shown)?)),
        Output::Yaml => {
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            let yaml = serde_saphyr::to_string_with_options(&shown, options);
            Some(yaml.context("cannot write this as YAML; take -o json")?)
        }
    })
}

fn forget_managers(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests;
