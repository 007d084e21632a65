//! The children as they should be, compared with those that live: what to apply, and what to take away.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use paramant_protocol::control::{AdmittedCourier, CourierPurpose, CouriersDirective};
use serde_json::Value;

use super::Pass;
use crate::children::{self, Contact, Courier, Subject};
use crate::covers::{Quantity, covers};
use crate::decision::{DeletedKind, Deletion};
use crate::durable::Durable;
use crate::machine::{Roll, Step};
use crate::observation::{Children, Refused};
use crate::situation::Hold;
use crate::validation;

/// The schema of `meta.db` of the first release that checks licences online.
const LICENSE_SCHEMA: u32 = 13;

impl Pass<'_> {
    /// The durable copy, if what is stored does not cover it.
    pub(super) fn state(&self, durable: &Durable) -> Option<Value> {
        let intent = children::state(&self.subject, durable);
        (!is_covered(&intent, live(self.seen.children.state.as_deref()))).then_some(intent)
    }

    /// The relay with the licence that it may follow: the rolled release must know what a licence may ask for, or it would refuse its
    /// whole settings.
    fn licensed(&self, durable: &Durable) -> Subject<'_> {
        let release = durable.template.as_ref().and_then(children::image_digest);
        let labelled = release.and_then(|digest| durable.verified(&digest)?.release.schema);
        let schema = labelled.or(durable.data.map(|data| data.schema));
        let known = schema.is_some_and(|schema| schema >= LICENSE_SCHEMA);
        self.subject.licensed(validation::followed(&self.seen.license, &self.context.license_servers, known))
    }

    /// The children that are not as they should be, in the order in which they need each other.
    pub(super) fn intents(&self, durable: &Durable, hold: Option<&Hold>) -> Vec<Value> {
        let Self { seen, context, .. } = *self;
        let subject = &self.licensed(durable);
        let Children { stateful_set, config, claim, .. } = &seen.children;
        if hold.is_some() {
            // Nothing but the CA certificates, so that the operator's own rotation never waits for a person.
            let kept =
                config.as_deref().and_then(|live| live.data.as_ref()?.get(children::RELAY_KEY).cloned());
            let intent = kept.map(|kept| children::config(subject, kept, &context.ca_bundle_pem));
            return intent
                .into_iter()
                .filter(|intent| !is_covered(intent, live(config.as_deref())))
                .collect();
        }
        let Some(template) = &durable.template else { return Vec::new() };
        let fixed =
            children::static_settings(template).unwrap_or_else(|| children::StaticSettings::wanted(subject));
        let relay_yaml = children::relay_yaml(subject, &fixed);
        let all = &seen.children;
        let mut intents = vec![
            (children::service_account(subject), live(all.service_account.as_deref())),
            (
                children::network_policy(subject, &context.operator_namespace, &context.metrics_from),
                live(all.network_policy.as_deref()),
            ),
            (children::config(subject, relay_yaml, &context.ca_bundle_pem), live(config.as_deref())),
            (children::headless(subject), live(all.headless.as_deref())),
            (children::service(subject), live(all.service.as_deref())),
            (
                children::stateful_set(
                    subject,
                    template,
                    stateful_set.as_deref(),
                    durable.image.as_ref(),
                    durable.offers.taken.as_ref(),
                ),
                live(stateful_set.as_deref()),
            ),
        ];
        if let Some(intent) = claim.as_deref().and_then(|claim| children::claim(subject, claim)) {
            intents.push((intent, live(claim.as_deref())));
        }
        for courier in Courier::wanted(*subject) {
            intents.extend(self.courier(&courier, durable));
        }
        if let Some(intent) = children::ingress(subject) {
            intents.push((intent, live(all.ingress.as_deref())));
        }
        if let Some(intent) = children::http_route(subject).filter(|_| context.gateway_api) {
            intents.push((intent, all.http_route.as_deref().cloned()));
        }
        intents
            .into_iter()
            .filter(|(intent, live)| !is_covered(intent, live.clone()))
            .map(|(intent, _)| intent)
            .collect()
    }

    /// What a courier consists of, as far as it can be made now: see [`children::Courier`] for the order.
    fn courier(&self, courier: &Courier<'_>, durable: &Durable) -> Vec<(Value, Option<Value>)> {
        let Some(image) = durable.template.as_ref().and_then(children::image_digest) else {
            return Vec::new();
        };
        let alive = self.seen.children.courier_for(courier.purpose());
        let address =
            alive.control.as_deref().and_then(|service| service.spec.as_ref()?.cluster_ip.as_deref());
        let made = alive.network_policy.is_some() && alive.service_account.is_some();
        let contact = match (address, durable.control_key.as_deref()) {
            (Some(address), Some(key)) if made && address != "None" => Some(Contact { address, key }),
            _ => None,
        };
        let mut intents = vec![(courier.deployment(&image, contact), live(alive.deployment.as_deref()))];
        if let Some(owner) = alive.deployment.as_deref().and_then(children::deployment_as_owner) {
            intents.extend([
                (courier.control_service(&owner), live(alive.control.as_deref())),
                (courier.network_policy(&owner), live(alive.network_policy.as_deref())),
                (courier.service_account(&owner), live(alive.service_account.as_deref())),
            ]);
        }
        intents
    }

    /// Who may offer the relay tunnels. While nothing but reporting is done, or the cluster's keys are not read yet, that is whoever
    /// might before.
    pub(super) fn couriers(&self, durable: &Durable, hold: Option<&Hold>) -> Option<CouriersDirective> {
        let before = durable.directives.as_ref().and_then(|issued| issued.couriers.clone());
        if hold.is_some() {
            return before;
        }
        let couriers = Courier::wanted(self.licensed(durable));
        if couriers.is_empty() {
            return None;
        }
        let token_keys = match &self.context.token_keys {
            Some(keys) => keys.to_string(),
            None => before?.token_keys,
        };
        let admitted = |courier: &Courier<'_>| AdmittedCourier {
            purpose: courier.purpose(),
            namespace: self.subject.namespace.to_owned(),
            service_account: courier.name(),
        };
        Some(CouriersDirective { token_keys, admitted: couriers.iter().map(admitted).collect() })
    }

    /// Whether a refusal is about what would be applied next: the very same intent, or any for that object. The durable copy
    /// differs from pass to pass and is known by its name.
    pub(super) fn stands(&self, refused: &Refused, intents: &[Value]) -> bool {
        let durable_copy = refused.kind == "ConfigMap" && refused.name == self.subject.state_name();
        durable_copy
            || intents.iter().any(|intent| {
                let text = |pointer: &str| intent.pointer(pointer).and_then(Value::as_str);
                text("/kind") == Some(refused.kind.as_str())
                    && text("/metadata/name") == Some(refused.name.as_str())
                    && (refused.sealed.is_none() || children::seal_of(intent) == refused.sealed.as_deref())
            })
    }

    /// Ways in and out that the spec no longer has, if they are ours.
    pub(super) fn surplus(&self, durable: &Durable, hold: Option<&Hold>) -> Vec<Deletion> {
        if hold.is_some() {
            return Vec::new();
        }
        let mut surplus = Vec::new();
        let expose = self.subject.spec.expose.as_ref();
        let name = self.subject.name.to_owned();
        let owned = |owners: Option<&Value>| {
            owners.and_then(Value::as_array).is_some_and(|all| {
                all.iter().any(|owner| owner.get("uid").and_then(Value::as_str) == Some(self.subject.uid))
            })
        };
        let mut consider = |kind, name: &str, wanted: bool, live: Option<Value>| {
            let Some(live) = live.filter(|_| !wanted) else { return };
            let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
            let going = live.pointer("/metadata/deletionTimestamp").is_some();
            if let (Some(uid), true, false) = (uid, owned(live.pointer("/metadata/ownerReferences")), going) {
                surplus.push(Deletion { kind, name: name.to_owned(), uid: uid.to_owned() });
            }
        };
        let by_class = expose.is_some_and(|expose| expose.ingress_class_name.is_some());
        let by_gateway = expose.is_some_and(|expose| expose.gateway.is_some());
        let children = &self.seen.children;
        consider(DeletedKind::Ingress, &name, by_class, live(children.ingress.as_deref()));
        consider(DeletedKind::HttpRoute, &name, by_gateway, children.http_route.as_deref().cloned());
        for purpose in [CourierPurpose::Witness, CourierPurpose::Webhook, CourierPurpose::License] {
            let wanted =
                Courier::wanted(self.licensed(durable)).iter().any(|courier| courier.purpose() == purpose);
            let name = crate::children::courier_name(self.subject.name, purpose);
            let alive = children.courier_for(purpose).deployment.as_deref();
            consider(DeletedKind::Courier, &name, wanted, live(alive));
        }
        surplus
    }

    /// A StatefulSet whose claim template asks for less than the claim has been given: the template cannot be changed in
    /// place, so the set is made anew around its pod. Only at rest, and only after the claim itself has grown.
    pub(super) fn outgrown(&self, roll: &Roll) -> Option<Deletion> {
        let set = self.seen.children.stateful_set.as_deref()?;
        let wanted = self.subject.spec.storage_or_default().size_or_default();
        let wanted: Quantity = wanted.as_str().parse().ok()?;
        let asked = |claim: &PersistentVolumeClaim| -> Option<Quantity> {
            claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()
        };
        let in_template = asked(set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?)?;
        let in_claim = asked(self.seen.children.claim.as_deref()?)?;
        let at_rest = roll.step == Step::Idle && set.metadata.deletion_timestamp.is_none();
        (at_rest && in_template < wanted && in_claim >= wanted).then_some(Deletion {
            kind: DeletedKind::StatefulSetOrphan,
            name: self.subject.name.to_owned(),
            uid: set.metadata.uid.clone()?,
        })
    }
}

/// The JSON of a live object.
fn live<T: serde::Serialize>(object: Option<&T>) -> Option<Value> {
    serde_json::to_value(object?).ok()
}

fn is_covered(intent: &Value, live: Option<Value>) -> bool {
    live.is_some_and(|live| covers(intent, &live))
}
