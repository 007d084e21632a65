//! A vendor's offers: which one a relay follows, and how that is remembered.
//!
//! A relay with `spec.channel` follows an offer as far as its policy lets it; `spec.image` is the floor, so whichever of the two
//! is the newer release is wanted. An offer that waits is wanted for as long as it stands: one that is withdrawn, recalled or that
//! failed here is not. One that ran well is taken: from then on it is what the relay runs, whatever becomes of the offer, until a
//! newer one or a newer `spec.image` comes. What a person pinned outranks all offers. Pure; called by [`crate::target`].

use jiff::Timestamp;
use paramant_protocol::control::RelayState;
use serde::{Deserialize, Serialize};

use crate::children::image_digest;
use crate::digest::Digest;
use crate::durable::Durable;
use crate::rules::Rules;
use crate::way_back::{is_lower, is_version};

/// The longest name of a release that status takes.
const VERSION: usize = 128;

/// The offer that stands, as the relay reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The image.
    pub digest: Digest,
    /// Its place among offers.
    pub sequence: u64,
    /// The release.
    pub version: String,
    /// When it was made.
    pub offered_at: Timestamp,
    /// Images that nobody should run any more.
    recalled: Vec<Digest>,
}

impl Offer {
    /// The offer in a report, if it names an image.
    pub fn standing(state: &RelayState) -> Option<Self> {
        let offer = state.remote.as_ref()?.offer.as_ref()?;
        Some(Self {
            digest: offer.digest.parse().ok()?,
            sequence: offer.sequence,
            version: offer.version.chars().filter(|c| !c.is_control()).take(VERSION).collect(),
            offered_at: offer.offered_at,
            recalled: offer.recalled.iter().filter_map(|digest| digest.parse().ok()).collect(),
        })
    }

    /// Whether the vendor says that nobody should run this image any more.
    pub fn recalls(&self, image: &Digest) -> bool {
        self.recalled.contains(image)
    }

    /// Whether a person is shown it beside a release that runs: not if that is the same or a newer one.
    pub fn is_worth_showing(&self, running: &Digest, version: Option<&str>) -> bool {
        let comparable = version.filter(|version| is_version(version) && is_version(&self.version));
        self.digest != *running
            && !self.recalls(&self.digest)
            && comparable.is_none_or(|version| is_lower(version, &self.version))
    }

    fn followed(&self, image: &str) -> Followed {
        Followed {
            digest: self.digest.clone(),
            sequence: self.sequence,
            version: self.version.clone(),
            offered_at: self.offered_at,
            image: image.to_owned(),
        }
    }
}

/// An offer that a relay follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// The image.
    pub digest: Digest,
    /// Its place among offers.
    pub sequence: u64,
    /// The release.
    pub version: String,
    /// When it was made.
    pub offered_at: Timestamp,
    /// `spec.image` as it was when the two were compared last.
    pub image: String,
}

/// The offers that a relay follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// One that shall run, and has not run well yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Followed>,
    /// The one that ran well last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Followed>,
}

/// What decides whether an offer is followed.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// The tier of the licence, as far as it is known.
    pub tier: Option<&'a str>,
    /// The relay has been heard, so that an offer it does not report stands no more.
    pub heard: bool,
    /// The offer that stands.
    pub standing: Option<&'a Offer>,
    /// The release that the relay reports.
    pub reported: Option<&'a str>,
}

/// What an offer is to `spec.image` as it is written now.
enum Anchor {
    /// It is the newer release.
    Holds(Followed),
    /// That cannot be said before the image is known.
    Open(Followed),
    /// The image counts.
    Gone,
}

impl Anchor {
    fn holding(&self) -> Option<&Followed> {
        match self {
            Self::Holds(it) => Some(it),
            Self::Open(_) | Self::Gone => None,
        }
    }

    fn kept(self) -> Option<Followed> {
        match self {
            Self::Holds(it) | Self::Open(it) => Some(it),
            Self::Gone => None,
        }
    }
}

impl Course<'_> {
    /// The offer that is followed in place of `floor`, which `spec.image` means. Remembers in `durable` what counts from now on.
    pub(crate) fn followed(&self, durable: &mut Durable, floor: &Digest, image: &str) -> Option<Followed> {
        let rolled = durable.template.as_ref().and_then(image_digest)?;
        let good = durable.last_good.as_ref().and_then(image_digest);
        let Offers { wanted, taken } = std::mem::take(&mut durable.offers);
        let ran_well = |it: &Followed| it.digest == rolled && good.as_ref() == Some(&rolled);
        let (wanted, taken) = match wanted {
            Some(wanted) if ran_well(&wanted) => (None, Some(wanted)),
            wanted => (wanted, taken),
        };
        // What the vendor recalled goes on where it runs, and is put back nowhere.
        let recalled = |it: &Followed| self.standing.is_some_and(|offer| offer.recalls(&it.digest));
        let taken = taken.filter(|it| it.digest == rolled || !recalled(it));
        let anchor = |it: Followed| self.anchor(it, durable, floor, image, &rolled);
        let taken = taken.map_or(Anchor::Gone, anchor);
        let wanted = match wanted {
            // Begun: it comes to its end.
            Some(begun) if begun.digest == rolled => anchor(begun),
            Some(waits) if !self.heard && self.rules.follow_offers(self.tier) => anchor(waits),
            before => self
                .candidate(durable, floor, image, &rolled, taken.holding(), before.as_ref())
                .map_or(Anchor::Gone, Anchor::Holds),
        };
        let counts = wanted.holding().or(taken.holding()).cloned();
        durable.offers = Offers { wanted: wanted.kept(), taken: taken.kept() };
        counts.filter(|it| it.digest != *floor)
    }

    /// Compares an offer with an image that was written after the two were compared last.
    fn anchor(
        &self,
        it: Followed,
        durable: &Durable,
        floor: &Digest,
        image: &str,
        rolled: &Digest,
    ) -> Anchor {
        if it.image == image {
            return Anchor::Holds(it);
        }
        if it.digest == *floor {
            return Anchor::Gone;
        }
        match (durable.verified(floor), self.version(durable, floor, rolled)) {
            (_, Some(version)) if is_version(version) && !is_lower(&it.version, version) => {
                Anchor::Holds(Followed { image: image.to_owned(), ..it })
            }
            (None, None) => Anchor::Open(it),
            // It is newer, or does not say what it is: then the later word counts.
            _ => Anchor::Gone,
        }
    }

    /// The offer that stands, if it shall run.
    fn candidate(
        &self,
        durable: &Durable,
        floor: &Digest,
        image: &str,
        rolled: &Digest,
        base: Option<&Followed>,
        before: Option<&Followed>,
    ) -> Option<Followed> {
        let offer = self.standing.filter(|_| self.rules.follow_offers(self.tier))?;
        let failed = durable.rejected.iter().any(|it| it.image.as_ref() == Some(&offer.digest));
        if failed || offer.recalls(&offer.digest) || offer.digest == *floor {
            return None;
        }
        let next = offer.followed(image);
        if before == Some(&next) {
            return Some(next);
        }
        if base.is_some_and(|base| offer.sequence <= base.sequence) {
            return None;
        }
        let least = match base {
            Some(base) => Some(base.version.as_str()),
            None => self.version(durable, floor, rolled),
        };
        let newer = |than: Option<&str>| than.is_some_and(|than| is_lower(than, &offer.version));
        let runs = offer.digest == *rolled;
        (newer(least) && (runs || newer(self.version(durable, rolled, rolled)))).then_some(next)
    }

    /// The release of an image: what it calls itself, or what the relay that runs it says.
    fn version<'v>(&'v self, durable: &'v Durable, of: &Digest, rolled: &Digest) -> Option<&'v str> {
        let labelled = durable.verified(of).and_then(|found| found.release.version.as_deref());
        labelled.or_else(|| self.reported.filter(|_| of == rolled))
    }
}

#[cfg(test)]
mod tests;
