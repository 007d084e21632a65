//! Writes what follows from the resource types, or says what drifted.
//!
//! `crdgen [--check] [DIR]`: the definitions (`config/crd` and the chart), `docs/api-reference.md`, the chart's README and
//! `config/alerts` and `config/dashboards`, below `DIR` (this checkout when absent); the hand-written samples of the checkout are read and held against the definitions.
//! `crdgen schemas DIR [--kubernetes swagger.json]`: JSON schemas as kubeconform wants them.
//! Exit codes: 0 in order, 1 drift (each file named), 2 anything else.

mod chart;
mod definitions;
mod outputs;
mod reference;
mod samples;
mod schemas;

use std::{path::PathBuf, process::ExitCode};

use outputs::Outputs;

/// Why the generator could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}\nusage: crdgen [--check] [DIR] | crdgen schemas DIR [--kubernetes FILE]")]
    Usage(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("a definition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a definition cannot be written as YAML: {0}")]
    Yaml(String),
    #[error("{path}: {reason}")]
    Sample { path: PathBuf, reason: String },
    #[error("{0}: this is no Kubernetes OpenAPI v2 document (no `definitions`)")]
    NotOpenApi(PathBuf),
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(drifted) if drifted.is_empty() => ExitCode::SUCCESS,
        Ok(drifted) => {
            for path in drifted {
                eprintln!(
                    "drift: {} is not what the sources say: run `cargo xtask generate`",
                    path.display()
                );
            }
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns the files that drifted (none when writing).
fn run(arguments: Vec<String>) -> Result<Vec<PathBuf>, Error> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.peek().is_some_and(|first| first == "schemas") {
        arguments.next();
        let target = arguments.next().ok_or_else(|| Error::Usage("schemas needs a folder".to_owned()))?;
        let kubernetes = match arguments.next().as_deref() {
            None => None,
            Some("--kubernetes") => Some(value("--kubernetes", arguments.next())?),
            Some(other) => return Err(Error::Usage(format!("unknown argument {other}"))),
        };
        schemas::write(target.as_ref(), kubernetes.as_deref().map(AsRef::as_ref))?;
        return Ok(Vec::new());
    }
    let checkout = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut check = false;
    let mut root = None;
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            flag if flag.starts_with('-') => return Err(Error::Usage(format!("unknown argument {flag}"))),
            folder => root = Some(PathBuf::from(folder)),
        }
    }
    samples::check(&checkout.join("config/samples"))?;
    let mut outputs = Outputs::new(root.unwrap_or_else(|| checkout.clone()), check);
    definitions::write(&mut outputs)?;
    chart::write(&mut outputs, &checkout)?;
    outputs.put("docs/api-reference.md", &reference::page()?)?;
    Ok(outputs.drifted())
}

fn value(flag: &str, value: Option<String>) -> Result<String, Error> {
    value.ok_or_else(|| Error::Usage(format!("{flag} needs a value")))
}
