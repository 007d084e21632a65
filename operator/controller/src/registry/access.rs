//! By what right the operator reads registries: a file with credentials and one with certificate authorities.
//!
//! Both are mounted from a Secret or ConfigMap and looked at before each question, so a rotated password counts at once. A client
//! is made anew only when one of them changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::Mutex;

use super::LookupError;
use super::client::Client;
use super::credentials::Credentials;

/// A Secret or ConfigMap cannot be larger.
const MAX_FILE: u64 = 1024 * 1024;

/// The files, and the client made of them.
pub struct Access {
    plain_http: Vec<String>,
    auth_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    made: Mutex<Option<Made>>,
}

struct Made {
    of: (Vec<u8>, Vec<u8>),
    client: Arc<Client>,
}

impl Access {
    /// HTTPS with all registries but those listed; both files are optional.
    pub fn new(plain_http: Vec<String>, auth_file: Option<PathBuf>, ca_file: Option<PathBuf>) -> Self {
        Self { plain_http, auth_file, ca_file, made: Mutex::default() }
    }

    /// A client with what the files hold now.
    pub async fn client(&self) -> Result<Arc<Client>, LookupError> {
        let auth = read(self.auth_file.as_deref(), "registry credentials").await?;
        let authorities = read(self.ca_file.as_deref(), "registries' certificate authorities").await?;
        let of = (auth, authorities);
        let mut made = self.made.lock().await;
        if let Some(made) = made.as_ref().filter(|made| made.of == of) {
            return Ok(Arc::clone(&made.client));
        }
        let client = Arc::new(self.make(&of.0, &of.1)?);
        *made = Some(Made { of, client: Arc::clone(&client) });
        Ok(client)
    }

    fn make(&self, auth: &[u8], authorities: &[u8]) -> Result<Client, LookupError> {
        let unusable = |what: &str, file: &Option<PathBuf>, why: &dyn std::fmt::Display| {
            let file = file.as_deref().unwrap_or(Path::new("")).display();
            LookupError::unavailable(format!("the file {file} with {what} cannot be used: {why}"))
        };
        let credentials = match &self.auth_file {
            None => Credentials::default(),
            file @ Some(_) => {
                Credentials::parse(auth).map_err(|error| unusable("registry credentials", file, &error))?
            }
        };
        let listed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(authorities)
            .map(|certificate| certificate.map(|der| der.to_vec()))
            .collect();
        let of_authorities =
            |why: &dyn std::fmt::Display| unusable("registries' certificate authorities", &self.ca_file, why);
        let listed = listed.map_err(|_| of_authorities(&"it is not PEM"))?;
        if self.ca_file.is_some() && listed.is_empty() {
            return Err(of_authorities(&"it holds no certificate"));
        }
        Client::new(self.plain_http.clone(), &listed, credentials)
            .map_err(|_| of_authorities(&"a certificate in it is none"))
    }
}

async fn read(file: Option<&Path>, what: &str) -> Result<Vec<u8>, LookupError> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let unread =
        || LookupError::unavailable(format!("the file {} with {what} cannot be read", file.display()));
    let length = tokio::fs::metadata(file).await.map_err(|_| unread())?.len();
    if length > MAX_FILE {
        return Err(unread());
    }
    tokio::fs::read(file).await.map_err(|_| unread())
}
