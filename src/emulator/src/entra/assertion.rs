//! Tokens of other issuers, given in place of a client secret.

use serde::Deserialize;

use crate::config::{Application, FederatedCredential};
use crate::jwt::{Jwt, Seconds};

use super::refusal::Refusal;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Seconds,
    #[serde(default)]
    nbf: Seconds,
}

/// One text or a list of texts.
#[derive(Deserialize)]
#[serde(from = "serde_json::Value")]
struct Audience(Vec<String>);

impl From<serde_json::Value> for Audience {
    fn from(value: serde_json::Value) -> Audience {
        let texts = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
        Audience(texts.iter().filter_map(serde_json::Value::as_str).map(str::to_owned).collect())
    }
}

/// How far clocks may be apart, in seconds.
pub(super) const CLOCK_SKEW: u64 = 300;

/// Whether `assertion` is a token that `application` takes at `now`: issuer, subject and audience byte by byte, then signature, then time.
pub(super) fn check(application: &Application, assertion: &str, now: u64) -> Result<(), Refusal> {
    let jwt: Jwt<'_, Claims> = Jwt::read(assertion).ok_or(Refusal::MalformedAssertion)?;
    let credential = matching(application, &jwt.claims)?;
    if !credential.keys.signed(&jwt) {
        return Err(Refusal::Signature);
    }
    let Claims { nbf: Seconds(nbf), exp: Seconds(exp), .. } = jwt.claims;
    if now + CLOCK_SKEW < nbf || exp <= now { Err(Refusal::Time { now, from: nbf, until: exp }) } else { Ok(()) }
}

/// The credential for these claims, or the first claim that no credential has.
fn matching<'a>(application: &'a Application, claims: &Claims) -> Result<&'a FederatedCredential, Refusal> {
    let mut credentials: Vec<&FederatedCredential> = application.federated.iter().collect();
    if credentials.is_empty() {
        return Err(Refusal::NoFederation { client_id: application.client_id.to_string() });
    }
    credentials.retain(|credential| credential.issuer == claims.iss);
    if credentials.is_empty() {
        return Err(Refusal::Issuer(claims.iss.clone()));
    }
    credentials.retain(|credential| credential.subject == claims.sub);
    if credentials.is_empty() {
        return Err(Refusal::Subject(claims.sub.clone()));
    }
    let named = |credential: &&FederatedCredential| claims.aud.0.contains(&credential.audience);
    credentials.into_iter().find(named).ok_or_else(|| Refusal::Audience(claims.aud.0.join(", ")))
}
