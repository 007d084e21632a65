//! The preview of what telemetry would send, and the switch that it unlocks.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use paramant_licensing::online::request::CheckIn;
use paramant_licensing::online::telemetry::SCHEMA;

use super::{Admin, MAX_FORM, field, own_form, see, show};
use crate::app::Shared;
use crate::license::check_in::telemetry::{Consent, TelemetryError, digest};
use crate::public::body::Limited;
use crate::public::errors::Refused;
use crate::store::Digest;

#[derive(Template)]
#[template(path = "panel_telemetry.html")]
struct Page {
    here: &'static str,
    forms: String,
    enabled: bool,
    schema: u32,
    problem: Option<String>,
    preview: Option<Preview>,
}

struct Preview {
    sha256: String,
    text: String,
    /// The block itself, field by field.
    numbers: Vec<(String, String)>,
}

/// Showing the page serves a preview: what its form then names is what was shown here.
pub(super) async fn page(State(app): State<Shared>, Admin(signed): Admin) -> Result<Response, Refused> {
    let (preview, problem) = match app.store.check_ins.preview().await {
        Ok(bytes) => (Some(Preview::of(&bytes)), None),
        Err(TelemetryError::Step(error)) => return Err(error.into()),
        Err(error) => (None, Some(error.to_string())),
    };
    let enabled = app.store.check_ins.sends_telemetry();
    Ok(show(
        StatusCode::OK,
        &Page { here: "telemetry", forms: signed.forms, enabled, schema: SCHEMA, problem, preview },
    ))
}

pub(super) async fn switch(
    State(app): State<Shared>,
    Admin(signed): Admin,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    let form = own_form(&signed, &body.0)?;
    let consent = match field(&form, "enabled") {
        "true" => {
            let schema =
                field(&form, "schema").parse().map_err(|_| Refused::bad("the form names no schema"))?;
            let preview = Digest::parse(field(&form, "preview"));
            Some(Consent {
                schema,
                preview: preview.ok_or_else(|| Refused::bad("the form names no preview"))?,
            })
        }
        _ => None,
    };
    app.store.check_ins.switch_telemetry(consent).await?;
    Ok(see("/admin/telemetry"))
}

impl Preview {
    fn of(bytes: &[u8]) -> Self {
        let telemetry =
            CheckIn::parse(bytes).ok().and_then(|asked| serde_json::to_value(asked.telemetry).ok());
        let fields = telemetry.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten();
        Self {
            sha256: digest(bytes),
            text: String::from_utf8_lossy(bytes).into_owned(),
            numbers: fields.map(|(name, value)| (name.clone(), value.to_string())).collect(),
        }
    }
}
