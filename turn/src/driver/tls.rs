//! The certificate of the TLS listeners, read again when its file changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::pki_types::pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("certificate and private key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A certificate and its private key in PEM files.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    modified: Mutex<[Option<SystemTime>; 2]>,
}

impl Certificate {
    /// Reads both files.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let current = RwLock::new(load(chain, key)?);
        let modified = Mutex::new([modified(chain), modified(key)]);
        Ok(Self { chain: chain.into(), key: key.into(), current, modified })
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again when one has changed; what cannot be read leaves the old one in use.
    pub fn refresh(&self) {
        let times = [modified(&self.chain), modified(&self.key)];
        {
            let mut known = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
            if *known == times {
                return;
            }
            *known = times;
        }
        match load(&self.chain, &self.key) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!(certificate = %self.chain.display(), "the certificate was read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used; the old one stays in use");
            }
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn load(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| CertificateError::Unreadable { path, cause }
    };
    let certificates = CertificateDer::pem_file_iter(chain).map_err(unreadable(chain))?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable(chain))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    Ok(Arc::new(config))
}
