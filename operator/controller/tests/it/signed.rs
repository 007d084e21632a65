//! What cosign signs in a real registry, looked at through the operator's own code.

use paramant_operator::registry::LookupError;
use paramant_operator::registry::lookup::{Lookup as _, RegistryLookup};
use paramant_operator_core::release::{Release, Verdict};
use serde_json::json;

use crate::image::{INDEX, MANIFEST};
use crate::server::{Kind, Programs, Server};

const BUNDLE: &str = "--new-bundle-format";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

fn verified(key: &str) -> Verdict {
    Verdict::Verified { key: key.to_owned() }
}

fn kind(answer: Result<(Release, Verdict), LookupError>) -> &'static str {
    match answer.unwrap().1 {
        Verdict::Refused { kind, .. } => kind,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_signed_in_either_form_is_verified_and_says_what_release_it_is() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(programs, Kind::Open).await;
    let repository = server.repository();
    let release =
        |version: &str| Release { version: Some(version.to_owned()), schema: Some(7), min_reader: Some(6) };
    for (version, form) in [("1.0.0", [].as_slice()), ("1.1.0", &[BUNDLE])] {
        let digest = repository.image(version, "amd64").await;
        assert_eq!(kind(server.inspect(&digest, &["release"]).await), "Unsigned");
        assert!(!server.cosign_accepts(&digest, "release", form));
        server.sign(&digest, "release", form);
        assert_eq!(
            server.inspect(&digest, &["release"]).await.unwrap(),
            (release(version), verified("release"))
        );
        assert!(server.cosign_accepts(&digest, "release", form));
        assert_eq!(kind(server.inspect(&digest, &["other"]).await), "WrongKey");
        assert!(!server.cosign_accepts(&digest, "other", form));
        // A second signature beside it changes nothing for the first, and counts for its own key.
        server.sign(&digest, "other", form);
        assert_eq!(server.inspect(&digest, &["release"]).await.unwrap().1, verified("release"));
        assert_eq!(server.inspect(&digest, &["other"]).await.unwrap().1, verified("other"));
        let mut both = server.question(&digest, &["release", "other"]);
        both.trust.min_attestations = 1;
        let examined = examine(&server, &both).await.unwrap();
        assert_eq!(examined.1, verified("release"));
        both.trust.min_attestations = 2;
        assert_eq!(kind(examine(&server, &both).await), "Unsigned");
        let tag = format!("{}/paramant/relay:{version}-amd64", server.host);
        let lookup = RegistryLookup::new(server.access(None, None));
        assert_eq!(lookup.digest(&tag).await.unwrap(), digest.as_str());
    }
}

async fn examine(
    server: &Server,
    question: &paramant_operator_core::release::Inspect,
) -> Result<(Release, Verdict), LookupError> {
    use paramant_operator::registry::examine::{Examine as _, RegistryExamine};
    RegistryExamine::new(server.access(None, None)).examine(question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_judged_by_its_own_signature_and_read_by_this_machines_image() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(programs, Kind::Open).await;
    let repository = server.repository();
    let (other, mine) = if cfg!(target_arch = "x86_64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
    let foreign = repository.image("2.0.0-foreign", other).await;
    let native = repository.image("2.0.0", mine).await;
    let index = repository.index("2.0.0", &[(other, &foreign), (mine, &native)]).await;
    // Signed parts are no signed whole.
    server.sign(&native, "release", &[]);
    assert_eq!(kind(server.inspect(&index, &["release"]).await), "Unsigned");
    server.sign(&index, "release", &[]);
    let (release, verdict) = server.inspect(&index, &["release"]).await.unwrap();
    assert_eq!((release.version.as_deref(), verdict), (Some("2.0.0"), verified("release")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_another_image_is_one_of_another_image_wherever_it_is_attached() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(programs, Kind::Open).await;
    let repository = server.repository();
    let good = repository.image("1.0.0", "amd64").await;
    server.sign(&good, "release", &[]);
    server.sign(&good, "release", &[BUNDLE]);
    let classic = repository.get(&format!("sha256-{}.sig", good.hex())).await;
    let bundles = repository.get(&format!("sha256-{}", good.hex())).await;
    let by_tag = repository.image("1.1.0", "amd64").await;
    repository.put(classic, MANIFEST, &format!("sha256-{}.sig", by_tag.hex())).await;
    assert_eq!(kind(server.inspect(&by_tag, &["release"]).await), "WrongDigest");
    assert!(!server.cosign_accepts(&by_tag, "release", &[]));
    let by_referrer = repository.image("1.2.0", "amd64").await;
    repository.put(bundles, INDEX, &format!("sha256-{}", by_referrer.hex())).await;
    assert_eq!(kind(server.inspect(&by_referrer, &["release"]).await), "WrongDigest");
    assert!(!server.cosign_accepts(&by_referrer, "release", &[BUNDLE]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestation_an_expired_certificate_and_rubbish_are_no_signatures() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(programs, Kind::Open).await;
    let repository = server.repository();
    let attested = repository.image("1.0.0", "amd64").await;
    server.attest(&attested, "release");
    assert_eq!(kind(server.inspect(&attested, &["release"]).await), "Unsigned");

    let certificate = server.make_expired("expired");
    let certificate = format!("--certificate={}", certificate.display());
    for (version, form) in [("1.1.0", [].as_slice()), ("1.1.1", &[BUNDLE])] {
        let digest = repository.image(version, "amd64").await;
        server.sign(&digest, "expired", &[&[certificate.as_str()], form].concat());
        assert_eq!(kind(server.inspect(&digest, &["expired"]).await), "Expired");
    }

    let rubbish = repository.image("1.2.0", "amd64").await;
    let config = repository.blob(b"{}", "application/vnd.oci.image.config.v1+json").await;
    let tag = format!("sha256-{}.sig", rubbish.hex());
    let mut layer = repository.blob(b"no payload", SIMPLE_SIGNING).await;
    for signature in [None, Some("!"), Some("AAAA")] {
        if let Some(signature) = signature {
            layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
        }
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        repository.manifest(&manifest, MANIFEST, &tag).await;
        let expected = if signature == Some("AAAA") { "WrongKey" } else { "Malformed" };
        assert_eq!(kind(server.inspect(&rubbish, &["release"]).await), expected);
    }
    // A payload that is longer than any signature is not even fetched; a good one beside it counts.
    layer = repository.blob(&vec![b' '; 70_000], SIMPLE_SIGNING).await;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    repository.manifest(&manifest, MANIFEST, &tag).await;
    assert_eq!(kind(server.inspect(&rubbish, &["release"]).await), "Malformed");
    server.sign(&rubbish, "release", &[BUNDLE]);
    assert_eq!(server.inspect(&rubbish, &["release"]).await.unwrap().1, verified("release"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_a_registry_that_went_away_are_told_apart() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(programs, Kind::Open).await;
    let missing = crate::image::digest_of(b"never pushed");
    let refused = server.inspect(&missing, &["release"]).await.unwrap_err();
    let named = format!("{}/paramant/relay@{missing}", server.host);
    let said = format!("the registry {} has no image `{named}`", server.host);
    assert_eq!(refused, LookupError::Refused(said));
    let (question, access, host) =
        (server.question(&missing, &[]), server.access(None, None), server.host.clone());
    drop(server);
    use paramant_operator::registry::examine::{Examine as _, RegistryExamine};
    let away = RegistryExamine::new(access).examine(&question).await.unwrap_err();
    assert_eq!(away, LookupError::unavailable(format!("the registry {host} cannot be reached")));
}
