//! Small images, pushed by the registry API as any client pushes.

use paramant_operator_core::Digest;
use reqwest::{Certificate, Client, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::server::{PASSWORD, USER};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A repository that is pushed to.
pub(crate) struct Repository {
    origin: String,
    name: String,
    http: Client,
}

impl Repository {
    pub(crate) fn new(origin: &str, name: &str, ca: Option<&[u8]>) -> Self {
        let roots: Vec<_> = ca.iter().map(|pem| Certificate::from_pem(pem).unwrap()).collect();
        let http = Client::builder().tls_certs_only(roots).build().unwrap();
        Self { origin: origin.to_owned(), name: name.to_owned(), http }
    }

    /// An image of one configuration and no layers.
    pub(crate) async fn image(&self, version: &str, architecture: &str) -> Digest {
        let config = json!({
            "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Labels": {
                "org.opencontainers.image.version": version,
                "app.paramant.data.schema": "7",
                "app.paramant.data.min-reader": "6",
            }},
        });
        let config =
            self.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json").await;
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
        self.manifest(&manifest, MANIFEST, &format!("{version}-{architecture}")).await
    }

    /// An index of images by architecture.
    pub(crate) async fn index(&self, tag: &str, images: &[(&str, &Digest)]) -> Digest {
        let mut manifests = Vec::new();
        for (architecture, digest) in images {
            let size = self.get(digest.as_str()).await.len();
            let platform = json!({ "os": "linux", "architecture": architecture });
            manifests
                .push(json!({ "mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.manifest(&index, INDEX, tag).await
    }

    /// Pushes bytes; returns their descriptor.
    pub(crate) async fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = digest_of(bytes);
        let begun = self.send(Method::POST, &self.url("blobs/uploads/"), Vec::new(), "").await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let place = begun.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let joint = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{joint}digest={digest}");
        let done = self.send(Method::PUT, &place, bytes.to_vec(), "application/octet-stream").await;
        assert_eq!(done.status(), StatusCode::CREATED);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Pushes a manifest under a tag.
    pub(crate) async fn manifest(&self, manifest: &Value, media_type: &str, tag: &str) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest_of(&bytes);
        self.put(bytes, media_type, tag).await;
        digest
    }

    pub(crate) async fn put(&self, bytes: Vec<u8>, media_type: &str, tag: &str) {
        let url = self.url(&format!("manifests/{tag}"));
        let answer = self.send(Method::PUT, &url, bytes, media_type).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    /// The bytes of a manifest, by tag or digest.
    pub(crate) async fn get(&self, reference: &str) -> Vec<u8> {
        let url = self.url(&format!("manifests/{reference}"));
        let request = self.http.get(url).basic_auth(USER, Some(PASSWORD));
        let answer = request.header(header::ACCEPT, format!("{MANIFEST}, {INDEX}")).send().await.unwrap();
        answer.error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }

    async fn send(&self, method: Method, url: &str, body: Vec<u8>, media_type: &str) -> Response {
        let request = self.http.request(method, url).basic_auth(USER, Some(PASSWORD)).body(body);
        let request =
            if media_type.is_empty() { request } else { request.header(header::CONTENT_TYPE, media_type) };
        request.send().await.unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.origin, self.name)
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes))).parse().unwrap()
}
