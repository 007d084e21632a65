//! The archives of the specification's vectors, made by another program: what holds holds, and nothing else does.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use paramant_client::ClientError;
use paramant_client::audit::{Baggage, Copy, Report, Source as _, audit};
use paramant_client::relay::Progress;
use paramant_tlog::vkey::VerifierKey;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Debug, Deserialize)]
struct Vector {
    name: String,
    #[serde(default)]
    size: u64,
    keys: Vec<String>,
    zip: String,
    #[serde(default)]
    members: Vec<Member>,
    refused: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    bytes: usize,
    sha256: String,
}

fn vectors() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/archives.json");
    serde_json::from_slice::<File>(&std::fs::read(path).unwrap()).unwrap().vectors
}

impl Vector {
    fn open(&self) -> Result<(tempfile::TempDir, Copy), ClientError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.zip");
        std::fs::write(&path, BASE64_STANDARD.decode(&self.zip).unwrap()).unwrap();
        Copy::open(&[path]).map(|copy| (folder, copy))
    }

    async fn audit(&self) -> Result<Report, ClientError> {
        let (_folder, copy) = self.open()?;
        let pinned = self.keys.iter().map(|key| VerifierKey::parse(key).unwrap()).collect();
        let baggage = Baggage { pinned, require_pq: true, ..Baggage::default() };
        audit(&copy, &baggage, &Progress::silent()).await.map(|(report, _)| report)
    }
}

#[tokio::test]
async fn the_archives_of_the_specification_hold_and_every_member_is_found_in_them() {
    let good: Vec<Vector> = vectors().into_iter().filter(|vector| vector.refused.is_none()).collect();
    assert!(good.len() >= 3);
    for vector in good {
        let report = vector.audit().await.unwrap();
        assert!(report.holds(), "{}: {report:#?}", vector.name);
        assert_eq!(report.head.as_ref().unwrap().size, vector.size);
        let (_folder, copy) = vector.open().unwrap();
        assert!(vector.members.len() >= 7);
        for member in &vector.members {
            let bytes = copy.get(&format!("/log/{}", member.name)).await.unwrap().unwrap();
            assert_eq!(bytes.len(), member.bytes, "{}", member.name);
            let digest = hex::encode(paramant_protocol::leaf::sha256(&bytes));
            assert_eq!(digest, member.sha256, "{}", member.name);
        }
    }
}

#[tokio::test]
async fn no_archive_that_the_specification_refuses_holds() {
    let refused: Vec<Vector> = vectors().into_iter().filter(|vector| vector.refused.is_some()).collect();
    assert!(refused.len() >= 15);
    let mut held = Vec::new();
    for vector in refused {
        if vector.audit().await.is_ok_and(|report| report.failure().is_none()) {
            held.push((vector.name, vector.refused));
        }
    }
    assert_eq!(held, []);
}
