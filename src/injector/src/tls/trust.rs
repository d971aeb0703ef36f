//! What the API server trusts: the `caBundle`s of our registration as they were last read, and whether a pair would pass.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};

use super::certificate::Pair;
use super::validity::validity;

/// One entry of the registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its `name`.
    pub webhook: String,
    /// Under which name or IP address the API server expects our certificate.
    pub server_name: String,
    /// Its `caBundle`, decoded: PEM certificates, or nothing.
    pub ca_bundle: Vec<u8>,
}

/// The registration as it was last read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// It has not been read yet.
    #[default]
    Unknown,
    /// There is none: nobody asks us, and there is nothing to wait for.
    Absent,
    /// Its entries, in their order.
    Entries(Vec<Entry>),
}

/// Why the API server would not take a pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// See [`Trust::Unknown`].
    #[error("it has not been read yet")]
    Unknown,
    /// Every entry would take it, but only one API server has said so, and only just now.
    #[error("every caBundle verifies it, and API servers are given a few seconds to hear of that")]
    Fresh,
    /// An entry would refuse it.
    #[error("caBundle of webhook {webhook:?} does not verify the certificate for {server_name}: {reason}")]
    Entry {
        /// The first such entry.
        webhook: String,
        /// The name that it expects.
        server_name: String,
        /// What is wrong, in words.
        reason: String,
    },
}

impl Trust {
    /// Whether every entry takes `pair` at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`Distrust`] names the first entry that does not.
    pub fn accepts(&self, pair: &Pair, now: i64) -> Result<(), Distrust> {
        self.entries().ok_or(Distrust::Unknown)?.iter().try_for_each(|entry| entry.accepts(pair, now))
    }

    /// Whether the `caBundle` of every entry holds this certificate.
    pub(super) fn holds_everywhere(&self, certificate: &str) -> bool {
        let Some(certificate) = certificates(certificate.as_bytes()).next() else { return false };
        self.entries().is_some_and(|entries| entries.iter().all(|entry| certificates(&entry.ca_bundle).any(|held| held == certificate)))
    }

    /// The entries, none where there is no registration; `None` where nothing is known.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match self {
            Trust::Unknown => None,
            Trust::Absent => Some(&[]),
            Trust::Entries(entries) => Some(entries),
        }
    }
}

impl Entry {
    fn accepts(&self, pair: &Pair, now: i64) -> Result<(), Distrust> {
        verify(&self.ca_bundle, pair, &self.server_name, now).map_err(|reason| Distrust::Entry {
            webhook: self.webhook.clone(),
            server_name: self.server_name.clone(),
            reason,
        })
    }
}

/// What a TLS client would say that trusts the PEM certificates of `bundle` alone and asks for `name`.
pub(super) fn verify(bundle: &[u8], pair: &Pair, name: &str, now: i64) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    // The API server looks at the validity of a root too; our verifier does not.
    let current = certificates(bundle).filter(|root| validity(root).is_some_and(|validity| validity.not_after > now));
    roots.add_parsable_certificates(current);
    if roots.is_empty() {
        return Err("it holds no certificate that is valid now".to_owned());
    }
    let name = ServerName::try_from(name).map_err(|_| "this is not the name of a server".to_owned())?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider())).build();
    let [leaf, chain @ ..] = pair.chain() else { return Err("there is no certificate".to_owned()) };
    let verified = verifier.map_err(|error| error.to_string())?.verify_server_cert(leaf, chain, &name, &[], time);
    verified.map(drop).map_err(|error| words(&error))
}

fn words(error: &rustls::Error) -> String {
    // A CA of another key that has the right name is no better than one of another name.
    if [CertificateError::UnknownIssuer, CertificateError::BadSignature].map(rustls::Error::InvalidCertificate).contains(error) {
        return "no certificate in it has signed ours".to_owned();
    }
    error.to_string()
}

/// The certificates of a PEM text; what is not one is passed over, as the API server does.
pub(super) fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}
