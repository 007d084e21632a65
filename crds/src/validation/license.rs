//! The rules of one ParamantLicense.

use super::{Findings, Violation, hours, minutes};
use crate::{clause, license::ParamantLicense};

/// What must be written differently in a licence.
pub fn license(license: &ParamantLicense) -> Vec<Violation> {
    let mut findings = Findings::default();
    let spec = &license.spec;
    findings.name(clause::LICENSE_NAME, license.metadata.name.as_ref(), 63);
    let enabled = spec.telemetry.as_ref().is_some_and(|telemetry| telemetry.enabled);
    findings.require(
        "spec.telemetry",
        clause::TELEMETRY_TRAVELS_WITH_CHECKS,
        !enabled || spec.online.is_some(),
    );
    findings.require(
        "spec.airGap",
        clause::AIR_GAP_OR_ONLINE,
        spec.air_gap.is_none() || spec.online.is_none(),
    );
    if let Some(telemetry) = &spec.telemetry {
        let consented = !telemetry.enabled || telemetry.consent.is_some();
        findings.require("spec.telemetry", clause::TELEMETRY_NEEDS_CONSENT, consented);
    }
    if let Some(online) = &spec.online {
        findings.span_in(
            "spec.online.interval",
            clause::CHECK_IN_RANGE,
            online.interval.as_ref(),
            minutes(15),
            hours(6),
        );
        findings.egress("spec.online.egress", &online.egress);
    }
    findings.0
}
