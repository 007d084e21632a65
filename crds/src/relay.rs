//! `ParamantRelay`: one relay, its wishes (spec, owned by people and GitOps) and its report (status, owned by the operator).
//!
//! Nothing in this project writes `spec`. No field of it has a default in the schema: absent stays absent in storage,
//! and the value in force is a method here (`…_or_default`) and a field in status.

pub mod exposure;
pub mod image;
pub mod limits;
pub mod log;
pub mod pod;
pub mod status;
pub mod storage;
mod transfers;
pub mod update;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use exposure::{Expose, GatewayRef, Service, ServiceType};
pub use image::{ImageParts, ImageReference};
pub use limits::Limits;
pub use log::{Log, Webhooks, Witness, Witnesses};
pub use pod::Pod;
pub use status::*;
pub use storage::{AccessMode, Payload, Retention, Storage};
pub use transfers::{Disclosure, Transfers};
pub use update::{Approval, UpdateWish};

use crate::{
    clause,
    reference::{NameRef, SecretKeyRef},
    text::Label,
};

/// What one relay should be.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "paramant.app",
    version = "v1alpha1",
    kind = "ParamantRelay",
    plural = "paramantrelays",
    namespaced,
    shortname = "prelay",
    category = "paramant",
    status = "ParamantRelayStatus",
    derive = "PartialEq",
    doc = "A ParamantRelay is one relay: a pod that passes sealed files on, once each, and logs every transfer in public.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.image.version"),
    printcolumn(name = "Update", type_ = "string", json_path = ".status.update.step"),
    printcolumn(name = "Drain", type_ = "string", json_path = ".status.drain.state"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".status.license.tier"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.image.current", priority = 1),
    // Not a date: kubectl prints a date as an age, and one ahead as <invalid>.
    printcolumn(name = "Next-Window", type_ = "string", json_path = ".status.update.nextWindow", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = clause::RELAY_NAME,
    validation = clause::LOG_ORIGIN_STAYS
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::STORAGE_PRESENCE_STAYS)]
#[x_kube(validation = clause::STORAGE_CLASS_STAYS)]
#[x_kube(validation = clause::STORAGE_ACCESS_STAYS)]
#[x_kube(validation = clause::STORAGE_GROWS)]
pub struct ParamantRelaySpec {
    /// What to run first, and the floor: registry, repository, and a tag or a digest. A tag is resolved once per change of this field.
    #[x_kube(validation = clause::IMAGE_IS_COMPLETE)]
    pub image: ImageReference,
    /// Also follow the vendor's offers, as far as `updates.mode` of a named policy lets them be: whichever of `image` and the offer is
    /// the newer release is wanted. Absent: only `image` counts, and offers are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Label>,
    /// The sector written into every transfer's log entry; `relay` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sector: Option<Label>,
    /// The licence. Absent: Community Edition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_ref: Option<NameRef>,
    /// The policy. Absent: the built-in one (release key pinned, updates by hand, support keys and drains of the vendor ask).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<NameRef>,
    /// How admins sign in. Absent: a one-time set-up code in the pod's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// `true` asks for a drain, `false` refuses the vendor's, absent has no opinion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<bool>,
    /// A person's word on updates: approve, hold, try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateWish>,
    /// The volume. Absent: 10Gi of the default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How much the relay takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How files are sent and read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfers: Option<Transfers>,
    /// The transparency log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// Where users' webhooks may go. Absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Webhooks>,
    /// How the public listener is reached from outside. Absent: by its Service only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// The public Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

impl ParamantRelaySpec {
    /// The sector in force.
    pub fn sector_or_default(&self) -> &str {
        self.sector.as_ref().map_or("relay", Label::as_str)
    }

    /// The volume's wishes, with nothing set when the manifest has no `storage`.
    pub fn storage_or_default(&self) -> Storage {
        self.storage.clone().unwrap_or_default()
    }
}

/// How admins sign in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// The Secret key that holds the admin token. Mounted optionally: a missing Secret does not hold the pod back.
    pub token_secret_ref: SecretKeyRef,
}
