//! What the spec wants to run: the image by digest, and the pod template around it.
//!
//! A tag means what it meant when its text was first resolved; only another text asks again, never a lost status, a restart
//! or a new leader. A pin outranks all; an offer that is followed outranks `spec.image`: see [`crate::offer`]. Pure; called by [`crate::decide`].

use paramant_crds::annotation::RESTARTED_AT;
use serde_json::Value;

use crate::change::Change;
use crate::children::{self, PodWishes, Subject};
use crate::digest::Digest;
use crate::durable::{Durable, ResolvedImage};
use crate::machine::Target;
use crate::observation::{Observation, Referenced, Resolution};
use crate::offer::{Course, Followed, Offers};

/// What the spec wants, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Desired {
    /// This template.
    Known {
        /// What the machine calls it.
        target: Target,
        /// The template itself.
        template: Value,
        /// What it changes in the rolled one.
        change: Change,
        /// The offer that it follows, if it is not what the spec itself names.
        offer: Option<Followed>,
    },
    /// The image is not known by digest yet.
    Unresolved(Unresolved),
}

/// Why an image is not known by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The registry has been asked.
    Asked,
    /// There is no such image; only a person can help.
    Refused(String),
    /// The registry cannot be asked now.
    Unavailable(String),
}

impl Desired {
    /// What the machine calls it, if it is known.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Known { target, .. } => Some(target),
            Self::Unresolved(_) => None,
        }
    }

    /// The template, if it is known.
    pub fn template(&self) -> Option<&Value> {
        match self {
            Self::Known { template, .. } => Some(template),
            Self::Unresolved(_) => None,
        }
    }

    /// What it changes, if it is known.
    pub fn change(&self) -> Option<Change> {
        match self {
            Self::Known { change, .. } => Some(*change),
            Self::Unresolved(_) => None,
        }
    }

    /// The offer it follows, if it does.
    pub fn offer(&self) -> Option<&Followed> {
        match self {
            Self::Known { offer, .. } => offer.as_ref(),
            Self::Unresolved(_) => None,
        }
    }

    /// Renders what is wanted. Remembers in `durable` what a tag was resolved to, and which offers are followed.
    pub fn of(subject: &Subject<'_>, seen: &Observation, durable: &mut Durable, course: &Course<'_>) -> Self {
        let (image, offer) = match image(subject, &seen.resolution, durable, course) {
            Ok(image) => image,
            Err(unresolved) => return Self::Unresolved(unresolved),
        };
        let rolled = durable.template.as_ref();
        let wishes = wishes(seen, rolled, &image);
        // Another release of the operator may have rendered the same wishes in another way: no reason to restart a relay, nor
        // to take what ran well for something else.
        let made_before = [rolled, durable.last_good.as_ref()].into_iter().flatten();
        let template = match made_before.into_iter().find(|made| children::grants(made, subject, wishes)) {
            Some(made) => made.clone(),
            None => children::pod_template(subject, wishes),
        };
        let change = change(subject, rolled, wishes);
        Self::Known {
            target: Target { template: Digest::of_json(&template), image },
            template,
            change,
            offer,
        }
    }
}

/// The template that the spec wants, but with this image in it.
pub fn with_image(subject: &Subject<'_>, seen: &Observation, rolled: &Value, image: &Digest) -> Value {
    children::pod_template(subject, wishes(seen, Some(rolled), image))
}

fn wishes<'w>(seen: &'w Observation, rolled: Option<&'w Value>, image: &'w Digest) -> PodWishes<'w> {
    let live = seen.children.stateful_set.as_deref();
    let asked = live.and_then(|set| {
        let annotations = set.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?;
        annotations.get(RESTARTED_AT).map(String::as_str)
    });
    PodWishes {
        image,
        licence_secret: match &seen.license {
            Referenced::Unreferenced => None,
            Referenced::Found(license) => Some(license.spec.secret_ref.name.as_str()),
            // An object deleted by mistake shall not restart relays.
            Referenced::Missing { .. } => rolled.and_then(children::licence_secret),
        },
        air_gap: match &seen.license {
            Referenced::Unreferenced => None,
            Referenced::Found(license) => {
                license.spec.air_gap.as_ref().map(|air_gap| air_gap.capability_set_ref.name.as_str())
            }
            Referenced::Missing { .. } => rolled.and_then(children::air_gap_secret),
        },
        restarted_at: asked.or_else(|| rolled.and_then(children::restarted_at)),
    }
}

/// A restart changes no more than a pod setting does.
fn change(subject: &Subject<'_>, rolled: Option<&Value>, wishes: PodWishes<'_>) -> Change {
    let Some(rolled) = rolled else { return Change::Image };
    if children::image_digest(rolled).as_ref() != Some(wishes.image) {
        return Change::Image;
    }
    let same_licence = PodWishes {
        licence_secret: children::licence_secret(rolled),
        air_gap: children::air_gap_secret(rolled),
        ..wishes
    };
    let another =
        (same_licence.licence_secret, same_licence.air_gap) != (wishes.licence_secret, wishes.air_gap);
    let only_licence = another && children::grants(rolled, subject, same_licence);
    if only_licence { Change::Licence } else { Change::Pod }
}

fn image(
    subject: &Subject<'_>,
    resolution: &Resolution,
    durable: &mut Durable,
    course: &Course<'_>,
) -> Result<(Digest, Option<Followed>), Unresolved> {
    let written = subject.spec.image.parts().and_then(|parts| parts.digest);
    if written.is_some() {
        // A tag that is written again later is another wish, and asked about again.
        durable.image = None;
    }
    if subject.spec.channel.is_none() {
        durable.offers = Offers::default();
    }
    let pin = subject.spec.update.as_ref().and_then(|update| update.pin.as_ref());
    if let Some(digest) = pin.and_then(|pin| pin.as_str().parse().ok()) {
        return Ok((digest, None));
    }
    let floor = match written.and_then(|digest| digest.as_str().parse().ok()) {
        Some(digest) => digest,
        None => resolved(subject.spec.image.as_str(), resolution, durable)?,
    };
    let followed = match subject.spec.channel {
        Some(_) => course.followed(durable, &floor, subject.spec.image.as_str()),
        None => None,
    };
    let image = followed.as_ref().map_or(floor, |offer| offer.digest.clone());
    Ok((image, followed))
}

/// What a tag means.
fn resolved(wanted: &str, resolution: &Resolution, durable: &mut Durable) -> Result<Digest, Unresolved> {
    if let Some(known) = durable.image.as_ref().filter(|known| known.reference == wanted) {
        return Ok(known.digest.clone());
    }
    match resolution {
        Resolution::Resolved { image, digest } if image == wanted => {
            durable.image = Some(ResolvedImage { reference: wanted.to_owned(), digest: digest.clone() });
            Ok(digest.clone())
        }
        Resolution::Refused { image, reason } if image == wanted => Err(Unresolved::Refused(reason.clone())),
        Resolution::Unavailable { image, reason } if image == wanted => {
            Err(Unresolved::Unavailable(reason.clone()))
        }
        _ => Err(Unresolved::Asked),
    }
}
