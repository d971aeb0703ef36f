//! The authorities of client certificates: with them, nobody without a certificate gets as far as HTTP.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

/// Why a file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// It cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// Which one.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// It can be read and holds no usable certificate.
    #[error("{file}: {reason}: it must hold the PEM certificates of the CAs that sign the API server's client certificate")]
    Certificates {
        /// Which one.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Asks each client for a certificate that one of these authorities has signed. Clones share them.
#[derive(Clone, Debug)]
pub struct Clients(Arc<ArcSwap<Authorities>>);

#[derive(Debug)]
struct Authorities {
    pem: Vec<u8>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`ClientsError`].
    pub fn load(file: &Path) -> Result<Clients, ClientsError> {
        Ok(Clients(Arc::new(ArcSwap::from_pointee(Authorities::load(file)?))))
    }

    /// Reads the file again. The next handshakes follow it; an error changes nothing.
    ///
    /// # Errors
    /// See [`ClientsError`].
    pub fn reload(&self, file: &Path) -> Result<(), ClientsError> {
        let found = Authorities::load(file)?;
        if found.pem != self.0.load().pem {
            self.0.store(Arc::new(found));
        }
        Ok(())
    }
}

impl Authorities {
    fn load(file: &Path) -> Result<Authorities, ClientsError> {
        let pem = std::fs::read(file).map_err(|error| ClientsError::Read { file: file.to_owned(), error })?;
        let bad = |reason| ClientsError::Certificates { file: file.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|error| bad(error.to_string()))?).map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad("it holds no certificate".to_owned()));
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| bad(error.to_string()))?;
        Ok(Authorities { pem, verifier })
    }
}

impl ClientCertVerifier for Clients {
    /// No hints: they would have to outlive a reload, and the API server has one certificate to offer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.load().verifier.verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.load().verifier.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.load().verifier.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().verifier.supported_verify_schemes()
    }
}
