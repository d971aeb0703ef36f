//! A client certificate with its key, and the web token that it signs in place of a client secret.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use serde_json::json;
use zeroize::Zeroizing;

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
    #[error("it is no PEM text: {0}")]
    Pem(&'static str),
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
        let blocks = blocks(text)?;
        let key = signing_key(&blocks)?;
        let certificates: Vec<&[u8]> = blocks.iter().filter(|block| block.label == "CERTIFICATE").map(|block| block.der.as_slice()).collect();
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

fn signing_key(blocks: &[Block<'_>]) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let block = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or(CertificateError::NoKey)?;
    // Borrowed, so that the one copy is the one that is wiped.
    let key = match block.label {
        "PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(block.der.as_slice())),
        "RSA PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(block.der.as_slice())),
        "EC PRIVATE KEY" => PrivateKeyDer::from(PrivateSec1KeyDer::from(block.der.as_slice())),
        "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::Encrypted),
        _ => return Err(CertificateError::Key),
    };
    let key = any_supported_type(&key).map_err(|_| CertificateError::Key)?;
    if key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).is_none() {
        return Err(CertificateError::NotRsa);
    }
    Ok(key)
}

/// One `-----BEGIN …-----` to `-----END …-----`.
struct Block<'t> {
    label: &'t str,
    der: Zeroizing<Vec<u8>>,
}

/// All blocks of a text; words between them, such as those of OpenSSL, are passed over. Every copy of a key is wiped.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, CertificateError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let (label, after) = begun.split_once("-----").ok_or(CertificateError::Pem("a BEGIN line does not end"))?;
        let (body, after) = after.split_once("-----END ").ok_or(CertificateError::Pem("a BEGIN line has no END line"))?;
        if body.contains("ENCRYPTED") {
            return Err(CertificateError::Encrypted);
        }
        // Neither grows: growing would leave an unwiped copy behind.
        let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
        base64.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let mut der = Zeroizing::new(vec![0; base64.len()]);
        let length =
            STANDARD.decode_slice(&*base64, &mut der).map_err(|_| CertificateError::Pem("what stands between BEGIN and END is not base64"))?;
        der.truncate(length);
        blocks.push(Block { label, der });
        rest = after;
    }
    if blocks.is_empty() { Err(CertificateError::Pem("there is no BEGIN line")) } else { Ok(blocks) }
}

#[cfg(test)]
mod tests;
