//! What must outlive status, an operator and a leader: the content of the ConfigMap `<relay>-state`.
//!
//! Status is a view that backups and `replace --subresource=status` lose; this is not. Each entry is a key of its own, read
//! leniently: one damaged entry is as good as absent and is rebuilt from what is seen, and the others stay.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use paramant_protocol::control::{CouriersDirective, DataReport, DrainDirective, LogMark, RemoteDirective};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::children::image_digest;
use crate::digest::Digest;
use crate::offer::Offers;
use crate::release::Release;

/// The durable copy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durable {
    /// The relay this was written for. Another UID means a relay made again over what an earlier one left.
    pub relay_uid: Option<String>,
    /// What `spec.image` was resolved to, and the text that was resolved. A tag is resolved once per change of the text.
    pub image: Option<ResolvedImage>,
    /// The offers that are followed.
    pub offers: Offers,
    /// The template last rolled, whole.
    pub template: Option<Value>,
    /// The template that was healthy last, whole.
    pub last_good: Option<Value>,
    /// Templates that failed, oldest first.
    pub rejected: Vec<Rejection>,
    /// The `update.retry` that was last obeyed: it counts once.
    pub retried: Option<Digest>,
    /// Images that may run, as they were found; newest last.
    pub verified: Vec<VerifiedImage>,
    /// Images that ran well, newest last: going back to one of them is no downgrade.
    pub good_images: Vec<Digest>,
    /// The approval in the spec, and the keys it was first seen under.
    pub approved: Option<Approved>,
    /// The `paramant.app/update-now` that was obeyed: it counts once.
    pub hurried: Option<Digest>,
    /// How often the template that failed last did, while it may be tried again.
    pub failed: Option<Failed>,
    /// When the window closes in which the rolled template was written.
    pub closes: Option<Closes>,
    /// Which releases can read the relay's data, as it said last.
    pub data: Option<DataReport>,
    /// The highest log head ever seen.
    pub log: Option<LogHighWater>,
    /// The identity (fingerprint) whose log was judged by that mark and found to be nobody else's.
    pub identity: Option<String>,
    /// Lower-case hex SHA-256 of the pinned control key's SubjectPublicKeyInfo.
    pub control_key: Option<String>,
    /// The volume on which key and log were last found to be what is remembered of them.
    pub volume: Option<Volume>,
    /// The directives last issued.
    pub directives: Option<Issued>,
}

/// A relay's volume, known by its claim. Another volume under another relay has nothing to continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The claim's UID.
    pub claim_uid: String,
    /// The UID of the relay that used it.
    pub relay_uid: String,
}

/// An image reference and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// As `spec.image` had it.
    pub reference: String,
    /// Its digest.
    pub digest: Digest,
}

/// An image that may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedImage {
    /// Its digest.
    pub digest: Digest,
    /// The fingerprint of the trust it was judged by.
    pub trust: Digest,
    /// The name of the key that signed it; absent when it runs unsigned by permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it calls itself.
    #[serde(default)]
    pub release: Release,
    /// When it was found.
    pub at: Timestamp,
}

/// An approval, and the keys it was first seen under: under others it is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// What is approved.
    pub digest: Digest,
    /// The offer's sequence, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The fingerprint of the trust in force when it was first seen.
    pub trust: Digest,
}

/// How often a template failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The digest of the template.
    pub template: Digest,
    /// How often.
    pub times: u32,
    /// When the last roll back began: counted once.
    pub last: Timestamp,
}

/// The end of the window in which a template was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closes {
    /// The digest of the template.
    pub template: Digest,
    /// The end.
    pub at: Timestamp,
}

/// A template that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The digest of the template.
    pub template: Digest,
    /// The image in it, if it was the image that changed; otherwise only this template is rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// Why, in one sentence.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The highest log head ever seen, and when it was written here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHighWater {
    /// Size and root.
    #[serde(flatten)]
    pub mark: LogMark,
    /// When it was recorded.
    pub at: Timestamp,
}

/// The directives last issued: their place in the order, and their content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// Counts up whenever the content changes.
    pub seq: u64,
    /// What was asked.
    pub drain: DrainDirective,
    /// The mark that was sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_high_water: Option<LogMark>,
    /// Whose log was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_identity: Option<String>,
    /// Why the log must not be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_refused: Option<String>,
    /// The schema that was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_schema: Option<u32>,
    /// Who might offer tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub couriers: Option<CouriersDirective>,
    /// How a vendor's requests are answered; absent from what an older operator issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteDirective>,
}

/// Stands for a last good template that is the rolled one: nearly always, and a thousand relays are held in memory.
const SAME: &str = "template";
/// How many verified images are kept: what runs, what ran well, and what is wanted, with some room.
const MOST_VERIFIED: usize = 8;
/// How many images that ran well are kept. A person who goes back further names an older release than these on purpose.
const MOST_GOOD: usize = 6;
/// How many rejections are kept.
const MOST_REJECTIONS: usize = 16;

impl Durable {
    /// Reads the ConfigMap; an absent one is empty.
    pub fn read(state: Option<&ConfigMap>) -> Self {
        let empty = BTreeMap::new();
        let data = state.and_then(|state| state.data.as_ref()).unwrap_or(&empty);
        let template = json::<Value>(data, "template").filter(Value::is_object);
        let last_good = match json::<Value>(data, "lastGood") {
            Some(Value::String(same)) if same == SAME => template.clone(),
            other => other.filter(Value::is_object),
        };
        Self {
            relay_uid: data.get("relayUid").cloned(),
            image: json(data, "image"),
            offers: json(data, "offers").unwrap_or_default(),
            template,
            last_good,
            rejected: json(data, "rejected").unwrap_or_default(),
            retried: data.get("retried").and_then(|text| text.parse().ok()),
            verified: json(data, "verified").unwrap_or_default(),
            good_images: json(data, "goodImages").unwrap_or_default(),
            approved: json(data, "approved"),
            hurried: data.get("updateNow").and_then(|text| text.parse().ok()),
            failed: json(data, "failed"),
            closes: json(data, "closes"),
            data: json(data, "data"),
            log: json(data, "logHighWater"),
            identity: data.get("identity").cloned(),
            control_key: data.get("controlKey").cloned(),
            volume: json(data, "volume"),
            directives: json(data, "directives"),
        }
    }

    /// The keys and values of the ConfigMap.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        let same = self.last_good.is_some() && self.last_good == self.template;
        let rejected = (!self.rejected.is_empty()).then_some(&self.rejected);
        let verified = (!self.verified.is_empty()).then_some(&self.verified);
        let offers = (self.offers != Offers::default()).then_some(&self.offers);
        let good_images = (!self.good_images.is_empty()).then_some(&self.good_images);
        [
            ("relayUid", self.relay_uid.clone()),
            ("image", text(self.image.as_ref())),
            ("offers", text(offers)),
            ("template", text(self.template.as_ref())),
            ("lastGood", if same { text(Some(&SAME)) } else { text(self.last_good.as_ref()) }),
            ("rejected", text(rejected)),
            ("retried", self.retried.as_ref().map(Digest::to_string)),
            ("verified", text(verified)),
            ("goodImages", text(good_images)),
            ("approved", text(self.approved.as_ref())),
            ("updateNow", self.hurried.as_ref().map(Digest::to_string)),
            ("failed", text(self.failed.as_ref())),
            ("closes", text(self.closes.as_ref())),
            ("data", text(self.data.as_ref())),
            ("logHighWater", text(self.log.as_ref())),
            ("identity", self.identity.clone()),
            ("controlKey", self.control_key.clone()),
            ("volume", text(self.volume.as_ref())),
            ("directives", text(self.directives.as_ref())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// The rejection that a template with this digest and image falls under.
    pub fn rejection(&self, template: &Digest, image: &Digest) -> Option<&Rejection> {
        self.rejected.iter().find(|it| it.template == *template || it.image.as_ref() == Some(image))
    }

    /// Remembers a failure once; the oldest is forgotten when there are too many.
    pub fn reject(&mut self, rejection: Rejection) {
        if self.rejected.iter().any(|it| it.template == rejection.template) {
            return;
        }
        self.rejected.push(rejection);
        let surplus = self.rejected.len().saturating_sub(MOST_REJECTIONS);
        self.rejected.drain(..surplus);
    }

    /// What was found of an image, under whatever trust.
    pub fn verified(&self, image: &Digest) -> Option<&VerifiedImage> {
        self.verified.iter().find(|it| it.digest == *image)
    }

    /// Remembers that an image may run. What neither runs, nor ran well, nor is this one is forgotten first.
    pub fn verify(&mut self, found: VerifiedImage, running: Option<&Digest>) {
        self.verified.retain(|it| it.digest != found.digest);
        let needed =
            |it: &VerifiedImage| Some(&it.digest) == running || self.good_images.contains(&it.digest);
        while self.verified.len() >= MOST_VERIFIED {
            let spare = self.verified.iter().position(|it| !needed(it)).unwrap_or(0);
            self.verified.remove(spare);
        }
        self.verified.push(found);
    }

    /// The rolled template is good from now on.
    pub fn confirm(&mut self) {
        for good in [self.last_good.take(), self.template.clone()].into_iter().flatten() {
            self.last_good = Some(good);
            self.know_good();
        }
        self.failed = None;
    }

    /// The image of the last good template ran well here.
    pub fn know_good(&mut self) {
        if let Some(image) = self.last_good.as_ref().and_then(image_digest) {
            self.good_images.retain(|it| *it != image);
            self.good_images.push(image);
        }
        let surplus = self.good_images.len().saturating_sub(MOST_GOOD);
        self.good_images.drain(..surplus);
    }

    /// Sees an approval. One that stands is about the keys it was first seen under.
    pub fn approve(&mut self, wish: Option<(&Digest, Option<u64>)>, trust: &Digest) {
        let Some((digest, sequence)) = wish else {
            self.approved = None;
            return;
        };
        let same = |it: &Approved| it.digest == *digest && it.sequence == sequence;
        if !self.approved.as_ref().is_some_and(same) {
            self.approved = Some(Approved { digest: digest.clone(), sequence, trust: trust.clone() });
        }
    }

    /// Counts one failure, once for each instant at which a roll back began. Returns how often this template failed.
    pub fn fail(&mut self, template: &Digest, at: Timestamp) -> u32 {
        let before = self.failed.take().filter(|it| it.template == *template);
        let failed = match before {
            Some(same) if same.last == at => same,
            Some(same) => Failed { times: same.times.saturating_add(1), last: at, ..same },
            None => Failed { template: template.clone(), times: 1, last: at },
        };
        self.failed.insert(failed).times
    }

    /// Obeys `update.retry`, once for each value it takes.
    pub fn retry(&mut self, wish: Option<&Digest>) {
        match wish {
            Some(wish) if self.retried.as_ref() != Some(wish) => {
                self.rejected.retain(|it| it.template != *wish && it.image.as_ref() != Some(wish));
                self.failed = None;
                self.retried = Some(wish.clone());
            }
            Some(_) => {}
            None => self.retried = None,
        }
    }
}

fn json<T: DeserializeOwned>(data: &BTreeMap<String, String>, key: &str) -> Option<T> {
    serde_json::from_str(data.get(key)?).ok()
}

/// Canonical, so that equal content is equal text.
fn text(value: Option<&impl Serialize>) -> Option<String> {
    let value = value?;
    paramant_protocol::canonical::to_string(value).or_else(|_| serde_json::to_string(value)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;
    use crate::offer::Followed;

    fn digest(n: u8) -> Digest {
        Digest::of_json(&json!(n))
    }

    fn full() -> Durable {
        Durable {
            relay_uid: Some("u-1".into()),
            image: Some(ResolvedImage { reference: "r.example/a/b:1".into(), digest: digest(1) }),
            offers: Offers {
                wanted: None,
                taken: Some(Followed {
                    digest: digest(1),
                    sequence: 7,
                    version: "1.0.0".into(),
                    offered_at: Timestamp::UNIX_EPOCH,
                    image: "r.example/a/b:1".into(),
                }),
            },
            template: Some(json!({"spec": {"containers": []}})),
            last_good: Some(json!({"spec": {}})),
            rejected: vec![Rejection {
                template: digest(2),
                image: None,
                reason: "no".into(),
                at: Timestamp::UNIX_EPOCH,
            }],
            retried: Some(digest(3)),
            verified: vec![VerifiedImage {
                digest: digest(1),
                trust: digest(9),
                key: Some("release".into()),
                release: Release { version: Some("1.0.0".into()), ..Release::default() },
                at: Timestamp::UNIX_EPOCH,
            }],
            good_images: vec![digest(1)],
            approved: Some(Approved { digest: digest(4), sequence: None, trust: digest(9) }),
            hurried: Some(digest(5)),
            failed: Some(Failed { template: digest(6), times: 2, last: Timestamp::UNIX_EPOCH }),
            closes: Some(Closes { template: digest(6), at: Timestamp::UNIX_EPOCH }),
            data: Some(DataReport { schema: 2, min_reader: 1, committed: 1 }),
            log: Some(LogHighWater {
                mark: LogMark { origin: Some("o".into()), size: 7, root: "00".into() },
                at: Timestamp::UNIX_EPOCH,
            }),
            identity: Some("id".into()),
            control_key: Some("ab".into()),
            volume: Some(Volume { claim_uid: "c-1".into(), relay_uid: "u-1".into() }),
            directives: Some(Issued {
                seq: 4,
                remote: Some(RemoteDirective { denied: vec!["0".repeat(32)], ..RemoteDirective::default() }),
                ..Issued::default()
            }),
        }
    }

    #[test]
    fn what_an_older_operator_issued_can_be_read() {
        let older = r#"{"drain":{"deadlineSeconds":60,"settleSeconds":1},"seq":9}"#;
        let state = map([("directives".to_owned(), older.to_owned())].into());
        let issued = Durable::read(Some(&state)).directives.unwrap();
        assert_eq!((issued.seq, issued.remote), (9, None));
    }

    #[test]
    fn what_runs_and_what_ran_well_is_forgotten_last() {
        let found = |n| VerifiedImage { digest: digest(n), ..full().verified.remove(0) };
        let mut durable = Durable { good_images: vec![digest(1)], ..Durable::default() };
        for n in 1..30 {
            durable.verify(found(n), Some(&digest(2)));
        }
        assert_eq!(durable.verified.len(), MOST_VERIFIED);
        assert!([1, 2, 29].iter().all(|n| durable.verified(&digest(*n)).is_some()));
        durable.verify(found(29), None);
        assert_eq!(durable.verified.len(), MOST_VERIFIED, "one entry for one image");
    }

    #[test]
    fn a_roll_back_counts_once_and_another_template_begins_at_one() {
        let mut durable = Durable::default();
        let later = Timestamp::from_second(60).unwrap();
        assert_eq!(durable.fail(&digest(1), Timestamp::UNIX_EPOCH), 1);
        assert_eq!(durable.fail(&digest(1), Timestamp::UNIX_EPOCH), 1, "seen again");
        assert_eq!(durable.fail(&digest(1), later), 2);
        assert_eq!(durable.fail(&digest(2), later), 1);
        durable.confirm();
        assert_eq!(durable.failed, None);
    }

    #[test]
    fn an_approval_keeps_the_keys_it_was_first_seen_under() {
        let mut durable = Durable::default();
        durable.approve(Some((&digest(1), None)), &digest(8));
        durable.approve(Some((&digest(1), None)), &digest(9));
        assert_eq!(durable.approved.as_ref().unwrap().trust, digest(8));
        durable.approve(None, &digest(9));
        durable.approve(Some((&digest(1), None)), &digest(9));
        assert_eq!(durable.approved.unwrap().trust, digest(9), "given again");
    }

    fn map(data: BTreeMap<String, String>) -> ConfigMap {
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for durable in [full(), Durable::default(), Durable { last_good: full().template, ..full() }] {
            assert_eq!(Durable::read(Some(&map(durable.to_data()))), durable);
        }
        assert_eq!(Durable::read(None), Durable::default());
        let same = Durable { last_good: full().template, ..full() };
        assert_eq!(same.to_data()["lastGood"], "\"template\"", "kept once");
    }

    #[test]
    fn one_damaged_entry_costs_only_itself() {
        for key in full().to_data().into_keys() {
            let mut data = full().to_data();
            data.insert(key.clone(), "{".into());
            let read = Durable::read(Some(&map(data)));
            let kept = read.to_data().into_iter().filter(|(_, value)| value != "{").count();
            assert_eq!(kept, full().to_data().len() - 1, "{key}");
        }
    }

    #[test]
    fn rejections_are_bounded_and_named_by_template_or_image() {
        let mut durable = Durable::default();
        for n in 0..40 {
            let image = (n % 2 == 0).then(|| digest(n + 100));
            durable.reject(Rejection {
                template: digest(n),
                image,
                reason: "no".into(),
                at: Timestamp::UNIX_EPOCH,
            });
        }
        assert_eq!(durable.rejected.len(), MOST_REJECTIONS);
        assert!(durable.rejection(&digest(39), &digest(0)).is_some());
        assert!(durable.rejection(&digest(0), &digest(138)).is_some());
        assert!(durable.rejection(&digest(0), &digest(1)).is_none());
        durable.retry(Some(&digest(138)));
        assert!(durable.rejection(&digest(0), &digest(138)).is_none());
    }
}
