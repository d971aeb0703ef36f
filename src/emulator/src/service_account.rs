//! Tokens as a cluster issues them to its ServiceAccounts, for laptops and tests that have no cluster.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use keyvault_common::secret::SecretValue;

use super::clock;
use super::jwt::{self, Header};

/// An RSA key that signs ServiceAccount tokens (RS256).
pub struct ServiceAccountKey(RsaKeyPair);

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text holds no `PRIVATE KEY` block.
    #[error("no PKCS#8 private key (BEGIN PRIVATE KEY) in it: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// The key is of another kind or too short.
    #[error("not an RSA key of 2048 to 4096 bits: {0}")]
    Rsa(ring::error::KeyRejected),
    /// The system gives no random bytes.
    #[error("signing failed")]
    Sign,
}

impl ServiceAccountKey {
    /// Reads a PKCS#8 PEM key, as `openssl genpkey -algorithm RSA` writes it.
    ///
    /// # Errors
    /// Another kind of file or key.
    pub fn from_pem(pem: &[u8]) -> Result<ServiceAccountKey, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(KeyError::Pem)?;
        RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map(ServiceAccountKey).map_err(KeyError::Rsa)
    }

    /// A token for `subject` (`system:serviceaccount:NAMESPACE:NAME`), good from now on for `lifetime`.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn token(&self, issuer: &str, subject: &str, audience: &str, lifetime: Duration) -> Result<SecretValue, KeyError> {
        let now = clock::now();
        let claims = json!({"iss": issuer, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + lifetime.as_secs()});
        self.sign(&claims).map(SecretValue::from)
    }

    /// The public key as a JSON Web Key Set, for a `jwksFile`.
    #[must_use]
    pub fn jwks(&self) -> String {
        let RsaPublicKeyComponents::<Vec<u8>> { n, e } = self.0.public().into();
        let [n, e] = [n, e].map(|number| BASE64_URL_SAFE_NO_PAD.encode(number));
        json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid(), "n": n, "e": e}]}).to_string()
    }

    fn sign(&self, claims: &serde_json::Value) -> Result<String, KeyError> {
        let header = Header { typ: Some("JWT".into()), alg: "RS256".into(), kid: Some(self.kid()), ..Header::default() };
        jwt::write(&header, claims, |signed| {
            let mut signature = vec![0; self.0.public().modulus_len()];
            self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).map_err(|_| KeyError::Sign)?;
            Ok(signature)
        })
    }

    /// A name that follows from the key alone.
    fn kid(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0.public_key().as_ref());
        BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
    }
}
