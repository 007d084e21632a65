//! What a benchmark prints, and the statistics it needs.

use std::time::Duration;

/// Prints a figure without a goal.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    line(name, value, unit, "null", "null");
}

/// Prints a figure that should be at least so much.
pub(crate) fn print_at_least(name: &str, value: f64, unit: &str, least: f64) {
    line(name, value, unit, &format!("{least}"), if value >= least { "true" } else { "false" });
}

/// Prints a figure that should be at most so much.
pub(crate) fn print_at_most(name: &str, value: f64, unit: &str, most: f64) {
    line(name, value, unit, &format!("{most:.4}"), if value <= most { "true" } else { "false" });
}

fn line(name: &str, value: f64, unit: &str, goal: &str, meets: &str) {
    println!(r#"{{"name":"{name}","value":{value:.4},"unit":"{unit}","goal":{goal},"meets":{meets}}}"#);
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The duration below which this share (of 1,000) of them lies.
pub(crate) fn per_mille(durations: &mut [Duration], share: usize) -> Duration {
    durations.sort_unstable();
    let last = durations.len().saturating_sub(1);
    durations.get((durations.len() * share / 1000).min(last)).copied().unwrap_or_default()
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
