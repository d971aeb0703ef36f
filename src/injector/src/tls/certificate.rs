//! The serving certificate: checked when it comes in, swapped without a lock or a restart.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::validity::{Validity, validity};

/// Why certificate and key cannot serve together.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The certificate text is not PEM, or holds no certificate.
    #[error("no certificate can be read from the certificate file: {0}")]
    Certificate(String),
    /// The key text is not PEM, or holds no private key.
    #[error("no private key can be read from the key file: {0}")]
    Key(String),
    /// Both can be read, but the key is not the leaf's or is of a kind that cannot sign.
    #[error("the key cannot serve the first certificate of the certificate file: {0}")]
    Mismatch(rustls::Error),
    /// The leaf is not a certificate inside.
    #[error("the first certificate of the certificate file is malformed")]
    Malformed,
}

/// A certificate chain with its key, known to match.
#[derive(Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl Pair {
    /// Reads PEM texts: leaf first, then its chain; and the leaf's key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// See [`PairError`]; none of them carries key material.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Pair, PairError> {
        let chain =
            CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().map_err(|error| PairError::Certificate(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| PairError::Certificate("it holds none".to_owned()))?;
        let validity = validity(leaf).ok_or(PairError::Malformed)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| PairError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(PairError::Mismatch)?;
        Ok(Pair { key: Arc::new(key), validity })
    }

    /// When the leaf expires, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.validity.not_after
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// Leaf first, then its chain; never empty.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

/// The pair that new connections are served with. Clones share it.
#[derive(Clone)]
pub struct Certificates(Arc<ArcSwap<Pair>>);

impl Certificates {
    /// Starts with a pair: there is no server without one.
    #[must_use]
    pub fn new(first: Pair) -> Certificates {
        Certificates(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// Serves the next connections with `pair`; those that are open keep theirs.
    pub fn replace(&self, pair: Pair) {
        self.0.store(Arc::new(pair));
    }

    /// When the leaf being served expires, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.0.load().not_after()
    }

    /// The pair being served.
    pub(super) fn pair(&self) -> Pair {
        (**self.0.load()).clone()
    }

    /// Whether `pair` has the very chain that is being served.
    pub(super) fn serves(&self, pair: &Pair) -> bool {
        self.0.load().key.cert == pair.key.cert
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("not_after", &self.not_after()).finish_non_exhaustive()
    }
}
