//! May a child be made here: does its relay still stand, and whose is the object that stands in its place?
//!
//! The store of a child and the store of its relay are filled by two watches. A relay that is deleted takes its children
//! along, and they can be seen to be gone before the relay is. So before a child is made the relay itself is asked for.
//!
//! The local stores hold only what carries our label, so an object of somebody else reads as absent there. To apply over it
//! would put our owner reference on it, and delete it with the relay. So before a child is made it is looked for by its name;
//! the right to list is there anyway, and a child is made once. What appears between this look and the apply is not seen.

use kube::Resource as _;
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta};
use paramant_crds::ParamantRelay;
use paramant_operator_core::Observation;
use paramant_operator_core::children::RELAY_LABEL;

use super::{Inner, Stopped};
use crate::key::RelayKey;

impl Inner {
    /// Ends the application of a child whose relay is being deleted, is gone, or is another one of that name.
    pub(super) async fn still_stands(&self, key: &RelayKey, seen: &Observation) -> Result<(), Stopped> {
        let api: Api<ParamantRelay> = Api::namespaced(self.client.clone(), &key.namespace);
        let by_name = ListParams::default().fields(&format!("metadata.name={}", key.name));
        let kind = ParamantRelay::kind(&());
        let found = api.list_metadata(&by_name).await;
        let found = found.map_err(|error| self.stopped(key, "look for", &kind, error))?;
        let stands = |it: &ObjectMeta| it.uid == seen.relay.metadata.uid && it.deletion_timestamp.is_none();
        match found.iter().any(|it| stands(&it.metadata)) {
            true => Ok(()),
            false => Err(Stopped::Raced(kind.into_owned())),
        }
    }

    /// Ends the application of a child whose place is taken.
    pub(super) async fn is_free(
        &self,
        key: &RelayKey,
        seen: &Observation,
        api: &Api<DynamicObject>,
        kind: &str,
        name: &str,
    ) -> Result<(), Stopped> {
        let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = api.list(&by_name).await.map_err(|error| self.stopped(key, "look for", kind, error))?;
        // What belongs to a courier of the relay is as good as the relay's.
        let couriers = seen.children.couriers();
        let couriers = couriers.iter().map(|it| it.deployment.as_deref()?.metadata.uid.as_deref());
        let ours: Vec<Option<&str>> = couriers.chain([seen.relay.metadata.uid.as_deref()]).collect();
        if found.iter().all(|object| is_ours(&object.metadata, key, &ours)) {
            return Ok(());
        }
        Err(Stopped::Foreign { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// By its owner; where it has none, as what an earlier relay of this name left behind has not, by its label.
fn is_ours(found: &ObjectMeta, key: &RelayKey, ours: &[Option<&str>]) -> bool {
    let owners = found.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() {
        return found.labels.as_ref().and_then(|labels| labels.get(RELAY_LABEL)) == Some(&key.name);
    }
    owners.iter().any(|owner| ours.contains(&Some(owner.uid.as_str())))
}
