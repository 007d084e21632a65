//! What the spec wants to run: the image by digest, and the pod template around it.
//!
//! A tag means what it meant when its text was first resolved; only another text asks again, never a lost status, a restart
//! or a new leader. Pure; called by [`crate::decide`].

use paramant_crds::annotation::RESTARTED_AT;
use serde_json::Value;

use crate::children::{self, PodWishes, Subject};
use crate::digest::Digest;
use crate::durable::{Durable, ResolvedImage};
use crate::machine::Target;
use crate::observation::{Observation, Referenced, Resolution};

/// What the spec wants, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Desired {
    /// This template.
    Known {
        /// What the machine calls it.
        target: Target,
        /// The template itself.
        template: Value,
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

    /// Renders what the spec wants. Remembers in `durable` what a tag was resolved to.
    pub fn of(subject: &Subject<'_>, seen: &Observation, durable: &mut Durable) -> Self {
        let image = match image(subject, &seen.resolution, durable) {
            Ok(image) => image,
            Err(unresolved) => return Self::Unresolved(unresolved),
        };
        let rolled = durable.template.as_ref();
        let live = seen.children.stateful_set.as_deref();
        let asked = live.and_then(|set| {
            let annotations = set.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?;
            annotations.get(RESTARTED_AT).map(String::as_str)
        });
        let wishes = PodWishes {
            image: &image,
            licence_secret: match &seen.license {
                Referenced::Unreferenced => None,
                Referenced::Found(license) => Some(license.spec.secret_ref.name.as_str()),
                // An object deleted by mistake shall not restart relays.
                Referenced::Missing { .. } => rolled.and_then(children::licence_secret),
            },
            restarted_at: asked.or_else(|| rolled.and_then(children::restarted_at)),
        };
        // Another release of the operator may have rendered the same wishes in another way: no reason to restart a relay.
        let template = match rolled.filter(|rolled| children::grants(rolled, subject, wishes)) {
            Some(rolled) => rolled.clone(),
            None => children::pod_template(subject, wishes),
        };
        Self::Known { target: Target { template: Digest::of_json(&template), image }, template }
    }
}

fn image(
    subject: &Subject<'_>,
    resolution: &Resolution,
    durable: &mut Durable,
) -> Result<Digest, Unresolved> {
    let pin = subject.spec.update.as_ref().and_then(|update| update.pin.as_ref());
    if let Some(digest) = pin.and_then(|pin| pin.as_str().parse().ok()) {
        return Ok(digest);
    }
    let written = subject.spec.image.parts().and_then(|parts| parts.digest);
    if let Some(digest) = written.and_then(|digest| digest.as_str().parse().ok()) {
        return Ok(digest);
    }
    let wanted = subject.spec.image.as_str();
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
