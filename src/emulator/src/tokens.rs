//! The emulator's own access tokens: shaped like Entra's, signed with a key that lives as long as the process.

use ring::hmac;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use keyvault_common::names::Guid;

use super::jwt::{self, Header, Jwt};

/// Whom a token stands for, for whom it was made, and how long it is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The resource: `https://vault.azure.net`.
    pub(super) aud: String,
    /// `https://sts.windows.net/TENANT/`.
    pub(super) iss: String,
    pub(super) iat: u64,
    pub(super) nbf: u64,
    /// Seconds since 1970.
    pub(super) exp: u64,
    pub(super) appid: Guid,
    pub(super) oid: Guid,
    pub(super) tid: Guid,
}

/// The issuer of a tenant's tokens.
pub(super) fn issuer(tenant: &Guid) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// Signs and checks tokens.
pub(super) struct TokenKey(hmac::Key);

impl TokenKey {
    /// `None` where the system gives no random bytes.
    pub(super) fn generate() -> Option<TokenKey> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok().map(TokenKey)
    }

    pub(super) fn mint(&self, claims: &Claims) -> String {
        let header = Header { typ: Some("JWT".into()), alg: "HS256".into(), ..Header::default() };
        let Ok(token) = jwt::write(&header, claims, |signed| Ok::<_, std::convert::Infallible>(hmac::sign(&self.0, signed).as_ref().to_vec()));
        token
    }

    /// The claims of a token of ours, expired or not; `None` for any other text.
    pub(super) fn check(&self, token: &str) -> Option<Claims> {
        let jwt: Jwt<'_, Claims> = Jwt::read(token)?;
        hmac::verify(&self.0, jwt.signed.as_bytes(), &jwt.signature).ok()?;
        Some(jwt.claims)
    }
}
