//! A registry with a certificate of a private authority that asks who one is.

use std::fs;

use paramant_operator::registry::LookupError;
use paramant_operator::registry::lookup::{Lookup as _, RegistryLookup};
use paramant_operator_core::release::Verdict;

use crate::server::{Kind, PASSWORD, Programs, Server, USER, write_config};

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_is_read_with_its_authority_and_credentials_and_a_rotated_password_counts_at_once()
{
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(programs, Kind::Private).await;
    let host = server.host.clone();
    let digest = server.repository().image("1.0.0", "amd64").await;
    server.sign(&digest, "release", &[]);
    server.sign(&digest, "release", &["--new-bundle-format"]);
    let config = server.path("config.json");
    write_config(&config, &host, USER, PASSWORD);

    let stranger = server.inspect_by(server.access(Some("config.json"), None), &digest, &["release"]).await;
    let said = format!("the registry {host} shows a certificate that the operator does not trust");
    assert_eq!(stranger.unwrap_err(), LookupError::unavailable(said));

    let anonymous = server.inspect_by(server.access(None, Some("ca.pem")), &digest, &["release"]).await;
    let image = format!("{host}/paramant/relay@{digest}");
    let said = format!("the registry {host} does not let `{image}` be read without credentials");
    assert_eq!(anonymous.unwrap_err(), LookupError::Refused(said));

    // From here on one and the same access: what is in its files changes under it.
    let access = server.access(Some("config.json"), Some("ca.pem"));
    let verified = Verdict::Verified { key: "release".to_owned() };
    let inspect =
        async || server.inspect_by(access.clone(), &digest, &["release"]).await.map(|(_, verdict)| verdict);
    assert_eq!(inspect().await.unwrap(), verified);
    let lookup = RegistryLookup::new(access.clone());
    let tag = format!("{host}/paramant/relay:1.0.0-amd64");
    assert_eq!(lookup.digest(&tag).await.unwrap(), digest.as_str());

    write_config(&config, &host, USER, "of yesterday");
    let said = format!("the registry {host} does not let `{image}` be read with the operator's credentials");
    assert_eq!(inspect().await.unwrap_err(), LookupError::Refused(said));

    write_config(&config, "elsewhere.example", USER, PASSWORD);
    let said = format!("the registry {host} does not let `{image}` be read without credentials");
    assert_eq!(inspect().await.unwrap_err(), LookupError::Refused(said));

    fs::write(&config, "hunter2").unwrap();
    let broken = inspect().await.unwrap_err().to_string();
    assert!(broken.ends_with("cannot be used: it is not in the form of Docker's config.json"), "{broken}");
    fs::remove_file(&config).unwrap();
    assert!(inspect().await.unwrap_err().to_string().ends_with("with registry credentials cannot be read"));

    write_config(&config, &host, USER, PASSWORD);
    assert_eq!(inspect().await.unwrap(), verified);
    let authority = fs::read(server.path("ca.pem")).unwrap();
    fs::write(server.path("ca.pem"), "").unwrap();
    let broken = inspect().await.unwrap_err().to_string();
    assert!(broken.ends_with("cannot be used: it holds no certificate"), "{broken}");
    fs::write(server.path("ca.pem"), authority).unwrap();
    assert_eq!(inspect().await.unwrap(), verified);
}
