//! A client certificate with its key, and the web token that it signs in place of a client secret.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use serde_json::json;
use zeroize::Zeroizing;

use keyvault_common::pem::{self, PemError};

/// How long an assertion holds. Entra takes at most some minutes more.
const LIFETIME: Duration = Duration::from_secs(600);

/// The certificate that Entra knows, and the key that proves it.
pub(super) struct Certificate {
    key: Arc<dyn SigningKey>,
    thumbprint: String,
}

/// Why a text is no client certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("it is not PEM text: {0}")]
    Pem(#[from] PemError),
    #[error("it has no private key: write the key's PEM and the certificate's PEM into it, one after the other")]
    NoKey,
    #[error("its private key is encrypted: write it without a password")]
    Encrypted,
    #[error("its private key cannot be read: an RSA key as PKCS#8 or PKCS#1 is expected")]
    Key,
    #[error("its private key is not RSA: Entra takes RSA keys only")]
    NotRsa,
    #[error("none of its certificates ({0}) belongs to its private key")]
    NoMatch(usize),
    #[error("signing failed")]
    Sign,
}

impl Certificate {
    /// Reads an RSA key and its certificate from PEM text, in any order; certificates of a chain are passed over.
    pub(super) fn from_pem(text: &str) -> Result<Certificate, CertificateError> {
        let blocks = pem::blocks(text.as_bytes())?;
        let key = signing_key(&blocks)?;
        let certificates: Vec<&[u8]> = blocks.iter().filter(|block| block.label == "CERTIFICATE").map(|block| block.der.expose()).collect();
        let belongs = |der: &&&[u8]| CertifiedKey::new(vec![CertificateDer::from(der.to_vec())], key.clone()).keys_match().is_ok();
        let leaf = certificates.iter().find(belongs).ok_or(CertificateError::NoMatch(certificates.len()))?;
        Ok(Certificate { thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, leaf)), key })
    }

    /// SHA-256 of the certificate, in base64 for URLs; no secret.
    pub(super) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// A token that says "I am `client`" to the endpoint `audience`, signed PS256.
    pub(super) fn assertion(&self, client: &str, audience: &str, now: SystemTime) -> Result<Zeroizing<String>, CertificateError> {
        let mut id = [0u8; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| CertificateError::Sign)?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let claims = json!({
            "aud": audience, "iss": client, "sub": client, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": since.as_secs(), "nbf": since.as_secs(), "exp": (since + LIFETIME).as_secs(),
        });
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).ok_or(CertificateError::NotRsa)?;
        let signature = signer.sign(signed.as_bytes()).map_err(|_| CertificateError::Sign)?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn signing_key(blocks: &[pem::Block]) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or(CertificateError::NoKey)?;
    // Borrowed, so that the one copy is the one that is wiped.
    let key = match block.label.as_str() {
        "PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(block.der.expose())),
        "RSA PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(block.der.expose())),
        "EC PRIVATE KEY" => PrivateKeyDer::from(PrivateSec1KeyDer::from(block.der.expose())),
        "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::Encrypted),
        _ => return Err(CertificateError::Key),
    };
    let key = any_supported_type(&key).map_err(|_| CertificateError::Key)?;
    if key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).is_none() {
        return Err(CertificateError::NotRsa);
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
