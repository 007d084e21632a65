//! When template changes may be rolled.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{clause, span::Span, text::shaped_text};

shaped_text! {
    /// A time of day, `HH:MM`.
    StartTime, length 5..=5, pattern "^([01][0-9]|2[0-3]):[0-5][0-9]$"
}

shaped_text! {
    /// A zone of the IANA database, such as `Europe/Amsterdam`. Whether it exists, the operator says.
    TimeZoneName, length 1..=64, pattern "^[A-Za-z][-+_A-Za-z0-9]*(/[-+_A-Za-z0-9]+)*$"
}

shaped_text! {
    /// An instant in UTC, such as `2026-12-20T00:00:00Z`.
    Moment, length 20..=20, pattern "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
}

impl Moment {
    /// The instant, or `None` when there is no such day or hour.
    pub fn instant(&self) -> Option<jiff::Timestamp> {
        self.0.parse().ok()
    }
}

/// When template changes may be rolled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::WINDOW_MODE_HAS_WINDOWS)]
pub struct Updates {
    /// ByTier when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// When a disruptive step may start, in every mode; at any time outside the exclusions when absent. Windows that overlap or
    /// adjoin are one. A step needs room for drain.deadline and healthTimeout before its window closes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// When none may start, whatever the windows say, and whatever applies Now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub exclusions: Vec<Exclusion>,
    /// Which gate a kind of change goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applies: Option<Applies>,
    /// What happens to a step that is still running when the window closes; Finish when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrun: Option<Overrun>,
    /// How long the new pod may take to become healthy; 60s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::HEALTH_TIMEOUT_RANGE)]
    pub health_timeout: Option<Span>,
    /// How long it must stay healthy; 5m when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::SETTLE_RANGE)]
    pub settle: Option<Span>,
    /// How often one digest is tried; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: Option<u32>,
    /// Whether an older release may be rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_downgrade: Option<bool>,
    /// Whether a release whose data the running one cannot read again may be rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_no_rollback: Option<bool>,
    /// Whether unclaimed files in memory may be lost at the drain's deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_loss: Option<bool>,
}

/// Who decides that a release is rolled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mode {
    /// As the licence's tier has it: offers are followed by hand (Community, Licensed), in a window (Pro), by approval (Enterprise).
    #[default]
    ByTier,
    /// A person, by `spec.image`: offers are only shown.
    Manual,
    /// The next window, for offers too.
    Window,
    /// A person's approval (of an offer: its digest and its sequence), then the next window.
    Approval,
}

/// When a disruptive step may start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Days on which it opens; every day when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// When it opens. A time that the clocks skip that day moves forward by as much; of one that they show twice the first counts.
    pub start: StartTime,
    /// How long it stays open, from 5m to 168h of real time, also when the clocks change meanwhile.
    #[x_kube(validation = clause::WINDOW_RANGE)]
    pub duration: Span,
    /// The zone of `days` and `start`; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// When no disruptive step may start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = clause::EXCLUSION_ENDS_AFTER_START)]
pub struct Exclusion {
    /// From this instant.
    #[schemars(extend("format" = "date-time"))]
    pub from: Moment,
    /// Up to this one.
    #[schemars(extend("format" = "date-time"))]
    pub to: Moment,
    /// Why, for people who wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// Which gate a kind of change goes through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Applies {
    /// Another image; Window when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Gate>,
    /// Other pod settings; Window when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Gate>,
    /// Another licence Secret; Now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<Gate>,
}

/// When a change may be rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Gate {
    /// At once, unless an exclusion forbids it.
    Now,
    /// In the next window.
    Window,
}

/// What happens to a step that is still running when the window closes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Overrun {
    /// It finishes.
    #[default]
    Finish,
    /// The last good template is put back.
    RollBack,
}
