//! A store of children as they came over the wire: JSON, deflated, decoded each time it is read.
//!
//! The first object of a kind is the dictionary of all later ones, which differ from it in names, addresses and hashes. Each
//! thread keeps one compressor: made anew for each object, their aligned memory left holes that nothing else fitted into.
//! Decoded, an object is mostly room for fields nobody set (a volume can be of thirty kinds). A pass reads a dozen children of
//! one relay, which takes less time than one request, and a thousand relays have ten thousand children that nobody reads most of
//! the time (adr/0059). Written by one watch stream; reading never waits for it longer than one insertion takes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::Resource;
use kube::runtime::watcher::Event;
use paramant_operator_core::children::RELAY_LABEL;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::key::RelayKey;

/// Objects of one kind by namespace and name. Clones are the same store.
pub struct Packed<K> {
    shelves: Arc<RwLock<Shelves>>,
    pattern: Arc<OnceLock<Box<[u8]>>>,
    kind: PhantomData<fn() -> K>,
}

#[derive(Default)]
struct Shelves {
    objects: Objects,
    /// A list that is not complete yet.
    incoming: Objects,
}

type Objects = BTreeMap<RelayKey, Object>;

struct Object {
    /// The relay it was made for.
    relay: Option<Box<str>>,
    /// Bytes of its JSON.
    length: usize,
    deflated: Box<[u8]>,
}

/// The smallest form; a pass reads more often than it writes.
const BEST: i32 = 9;
/// 32 KiB, all that the format has.
const WINDOW: u8 = 15;

thread_local! {
    static CODEC: RefCell<Codec> = RefCell::new(Codec {
        deflate: Deflate::new(BEST, false, WINDOW),
        inflate: Inflate::new(false, WINDOW),
        scratch: Vec::new(),
    });
}

struct Codec {
    deflate: Deflate,
    inflate: Inflate,
    scratch: Vec<u8>,
}

impl Codec {
    fn deflate(&mut self, pattern: &[u8], json: &[u8]) -> Option<Box<[u8]>> {
        self.deflate.reset();
        self.deflate.set_dictionary(pattern).ok()?;
        // What cannot be deflated grows by a few bytes for each block.
        self.scratch.resize(json.len() + json.len() / 8 + 64, 0);
        let status = self.deflate.compress(json, &mut self.scratch, DeflateFlush::Finish).ok()?;
        let length = usize::try_from(self.deflate.total_out()).ok()?;
        self.scratch.get(..length).filter(|_| matches!(status, Status::StreamEnd)).map(Box::from)
    }

    fn inflate(&mut self, pattern: &[u8], object: &Object) -> Option<&[u8]> {
        self.inflate.reset(false);
        self.inflate.set_dictionary(pattern).ok()?;
        self.scratch.resize(object.length, 0);
        self.inflate.decompress(&object.deflated, &mut self.scratch, InflateFlush::Finish).ok()?;
        (self.inflate.total_out() == object.length as u64).then_some(self.scratch.as_slice())
    }
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self { shelves: self.shelves.clone(), pattern: self.pattern.clone(), kind: PhantomData }
    }
}

impl<K> Default for Packed<K> {
    fn default() -> Self {
        Self { shelves: Arc::default(), pattern: Arc::default(), kind: PhantomData }
    }
}

impl<K: Resource + Serialize + DeserializeOwned> Packed<K> {
    /// Takes what a watch brought.
    pub fn take(&self, event: &Event<K>) {
        match event {
            Event::Init => self.write().incoming = Objects::new(),
            Event::InitApply(object) => {
                if let Some((key, packed)) = self.pack(object) {
                    self.write().incoming.insert(key, packed);
                }
            }
            Event::InitDone => {
                let mut shelves = self.write();
                shelves.objects = std::mem::take(&mut shelves.incoming);
            }
            Event::Apply(object) => {
                if let Some((key, packed)) = self.pack(object) {
                    self.write().objects.insert(key, packed);
                }
            }
            Event::Delete(object) => {
                if let Some(key) = key(object) {
                    self.write().objects.remove(&key);
                }
            }
        }
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let shelves = self.read();
        self.unpack(shelves.objects.get(&RelayKey::new(namespace, name))?).map(Arc::new)
    }

    /// Everything that was made for one relay.
    pub fn of_relay(&self, relay: &RelayKey) -> Vec<Arc<K>> {
        let shelves = self.read();
        let theirs = shelves.objects.iter().filter(|(key, object)| {
            key.namespace == relay.namespace && object.relay.as_deref() == Some(relay.name.as_str())
        });
        theirs.filter_map(|(_, object)| self.unpack(object)).map(Arc::new).collect()
    }

    /// Everything.
    pub fn all(&self) -> Vec<K> {
        self.read().objects.values().filter_map(|object| self.unpack(object)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.read().objects.len()
    }

    fn pack(&self, object: &K) -> Option<(RelayKey, Object)> {
        let relay = object.meta().labels.as_ref().and_then(|labels| labels.get(RELAY_LABEL));
        let json = serde_json::to_vec(object).ok()?;
        let pattern = self.pattern.get_or_init(|| json.as_slice().into());
        let deflated = CODEC.with_borrow_mut(|codec| codec.deflate(pattern, &json))?;
        Some((
            key(object)?,
            Object { relay: relay.map(|name| name.as_str().into()), length: json.len(), deflated },
        ))
    }

    fn unpack(&self, object: &Object) -> Option<K> {
        let pattern = self.pattern.get()?;
        CODEC.with_borrow_mut(|codec| serde_json::from_slice(codec.inflate(pattern, object)?).ok())
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: Resource>(object: &K) -> Option<RelayKey> {
    crate::triggers::key(object)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn service(name: &str, relay: &str, version: &str) -> Service {
        let metadata = json!({
            "namespace": "n", "name": name, "resourceVersion": version, "labels": { RELAY_LABEL: relay },
        });
        let spec = json!({ "clusterIP": "10.0.0.1", "ports": [ { "port": 80, "targetPort": "public" } ] });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    #[test]
    fn what_is_taken_is_given_back_whole_and_what_is_deleted_is_gone() {
        let store = Packed::default();
        let first = service("a", "a", "1");
        store.take(&Event::Apply(first.clone()));
        store.take(&Event::Apply(service("b", "b", "2")));
        assert_eq!(store.get("n", "a").as_deref(), Some(&first));
        assert_eq!(store.get("other", "a"), None);
        store.take(&Event::Apply(service("a", "a", "3")));
        assert_eq!(store.get("n", "a").unwrap().metadata.resource_version.as_deref(), Some("3"));
        store.take(&Event::Delete(service("a", "a", "3")));
        assert_eq!((store.get("n", "a"), store.count()), (None, 1));
    }

    #[test]
    fn an_object_like_the_first_takes_little_and_one_unlike_it_is_whole() {
        let store = Packed::default();
        let plain = service("first", "first", "1");
        let unlike = (0..500).map(|at| (format!("key-{at}"), format!("{}", at * 7919))).collect();
        let mut large = service("large", "large", "2");
        large.metadata.annotations = Some(unlike);
        let mut like = large.clone();
        like.metadata.name = Some("like".into());
        for object in [&plain, &large] {
            store.take(&Event::Apply(object.clone()));
        }
        assert_eq!(store.get("n", "large").as_deref(), Some(&large));
        let store = Packed::default();
        for object in [&large, &like, &plain] {
            store.take(&Event::Apply(object.clone()));
        }
        for object in [&large, &like, &plain] {
            assert_eq!(store.get("n", object.metadata.name.as_deref().unwrap()).as_deref(), Some(object));
        }
        let size = |name: &str| store.read().objects[&RelayKey::new("n", name)].deflated.len();
        assert!(size("like") < 200, "{}", size("like"));
    }

    #[test]
    fn a_list_counts_once_it_is_complete_and_replaces_what_was_there() {
        let store = Packed::default();
        store.take(&Event::Apply(service("old", "a", "1")));
        store.take(&Event::Init);
        store.take(&Event::InitApply(service("new", "a", "2")));
        assert_eq!(
            (store.get("n", "new"), store.count()),
            (None, 1),
            "an empty store and an absent object differ"
        );
        store.take(&Event::InitDone);
        assert!(store.get("n", "new").is_some() && store.get("n", "old").is_none());
        store.take(&Event::Init);
        store.take(&Event::InitApply(service("cut", "a", "3")));
        store.take(&Event::Init);
        store.take(&Event::InitDone);
        assert_eq!(store.count(), 0, "what a list that was cut off brought does not count");
    }

    #[test]
    fn a_relay_finds_what_carries_its_label_in_its_namespace() {
        let store = Packed::default();
        for (name, relay) in [("a", "a"), ("a-pods", "a"), ("b", "b")] {
            store.take(&Event::Apply(service(name, relay, "1")));
        }
        let found = store.of_relay(&RelayKey::new("n", "a"));
        let names: Vec<_> = found.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
        assert_eq!(names, ["a", "a-pods"]);
        assert_eq!(store.of_relay(&RelayKey::new("other", "a")).len(), 0);
        assert_eq!(store.all().len(), 3);
    }
}
