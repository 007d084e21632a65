//! Is this bound ServiceAccount token its bearer's own, issued by this cluster, for us, now?
//!
//! A relay proves itself to the operator once, before its control key is pinned; a courier proves itself to its relay each time
//! it connects. Every claim that ties the token to its bearer is checked: a token of another pod, of another ServiceAccount, for
//! another audience, bound to no pod, or out of its time proves nothing. Pure: keys and time are passed in. Only the two
//! algorithms API servers sign with are known (RFC 7518 §3.3, §3.4).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Clocks of the API server and of this node may differ by so much.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);
/// Tokens are one to two kilobytes; anything much longer is not one.
const MAX_LENGTH: usize = 16 * 1024;

/// Whose token it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Whom it must be meant for.
    pub audience: &'a str,
    /// The bearer's namespace.
    pub namespace: &'a str,
    /// The bearer's ServiceAccount.
    pub service_account: &'a str,
    /// The bearer's pod, where it is known. It must be bound to some pod in any case.
    pub pod_uid: Option<&'a str>,
}

/// Why a token proves nothing. Never quotes the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It has not the form of a JWT.
    #[error("the proof is not a token ({0})")]
    Malformed(&'static str),
    /// An algorithm that API servers do not use.
    #[error("the token is signed with `{0}`; expected RS256 or ES256")]
    Algorithm(String),
    /// No published key has its id.
    #[error("the token is signed with a key that this cluster does not publish")]
    UnknownKey,
    /// The signature is not that key's.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It is meant for someone else.
    #[error("the token is not meant for `{0}`")]
    Audience(String),
    /// It is another account's.
    #[error("the token belongs to `{found}`; expected `{expected}`")]
    Subject {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It is bound to another pod or to none.
    #[error("the token is not bound to the pod that shows it")]
    Pod,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
}

/// The keys a cluster publishes at `/openid/v1/jwks`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, Deserialize)]
struct Key {
    kid: Option<String>,
    #[serde(flatten)]
    material: Material,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kty")]
enum Material {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(other)]
    Other,
}

impl KeySet {
    /// Reads what the API server answered.
    ///
    /// # Errors
    /// When it is no key set.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Whether a key with the id of this token's header is known; a missing one is worth one fresh fetch.
    pub fn knows_key_of(&self, token: &str) -> bool {
        parts(token).is_ok_and(|parts| self.candidates(&parts.header).next().is_some())
    }

    fn candidates<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| header.kid.is_none() || key.kid == header.kid)
    }
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    sub: String,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Bound,
}

#[derive(Debug, Default, Deserialize)]
struct Bound {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    pod: Option<BoundPod>,
}

#[derive(Debug, Deserialize)]
struct BoundPod {
    uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// Checks one token. `Ok` means: a process in a pod of exactly that account holds it, and this cluster says so.
///
/// # Errors
/// Says what is wrong with it.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>, now: Timestamp) -> Result<(), Rejected> {
    let parts = parts(token)?;
    verify_signature(&parts, keys)?;
    let claims: Claims = json(parts.payload)?;
    if !claims.aud.contains(expected.audience) {
        return Err(Rejected::Audience(expected.audience.to_owned()));
    }
    let subject = format!("system:serviceaccount:{}:{}", expected.namespace, expected.service_account);
    if claims.sub != subject || claims.kubernetes.namespace != expected.namespace {
        return Err(Rejected::Subject { found: claims.sub, expected: subject });
    }
    if claims.kubernetes.pod.is_none_or(|pod| expected.pod_uid.is_some_and(|uid| pod.uid != uid)) {
        return Err(Rejected::Pod);
    }
    let now = now.as_second();
    if now > claims.exp.saturating_add(LEEWAY.as_secs()) {
        return Err(Rejected::Expired);
    }
    if now < claims.nbf.saturating_sub(LEEWAY.as_secs()) {
        return Err(Rejected::NotYet);
    }
    Ok(())
}

struct Parts<'a> {
    header: Header,
    payload: &'a str,
    signed: &'a str,
    signature: Vec<u8>,
}

fn parts(token: &str) -> Result<Parts<'_>, Rejected> {
    if token.len() > MAX_LENGTH {
        return Err(Rejected::Malformed("it is too long"));
    }
    let not_three = Rejected::Malformed("it has not three parts");
    let (signed, signature) = token.trim().rsplit_once('.').ok_or(not_three.clone())?;
    let (header, payload) = signed.split_once('.').ok_or(not_three.clone())?;
    if payload.contains('.') {
        return Err(not_three);
    }
    Ok(Parts { header: json(header)?, payload, signed, signature: decode(signature)? })
}

fn verify_signature(parts: &Parts<'_>, keys: &KeySet) -> Result<(), Rejected> {
    let rsa = match parts.header.alg.as_str() {
        "RS256" => true,
        "ES256" => false,
        other => return Err(Rejected::Algorithm(other.chars().take(16).collect())),
    };
    let (message, signature) = (parts.signed.as_bytes(), parts.signature.as_slice());
    let mut outcome = Err(Rejected::UnknownKey);
    for key in keys.candidates(&parts.header) {
        let valid = match &key.material {
            Material::Rsa { n, e } if rsa => RsaPublicKeyComponents { n: decode(n)?, e: decode(e)? }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Material::Ec { crv, x, y } if !rsa && crv == "P-256" => {
                let point = [&[4], decode(x)?.as_slice(), decode(y)?.as_slice()].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            _ => continue,
        };
        if valid {
            return Ok(());
        }
        outcome = Err(Rejected::Signature);
    }
    outcome
}

fn decode(text: &str) -> Result<Vec<u8>, Rejected> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Rejected::Malformed("it is not base64url"))
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    serde_json::from_slice(&decode(part)?).map_err(|_| Rejected::Malformed("it is not JSON as expected"))
}

#[cfg(test)]
mod tests;
