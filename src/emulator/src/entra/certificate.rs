//! Assertions that an application signs with its own certificate, in place of a client secret.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use crate::config::{Application, Tenant};
use crate::crypto::der::{self, Reader};
use crate::crypto::digest::Hash;
use crate::crypto::x509::Certificate;
use crate::jwt::{Header, Jwt, Seconds, decode};

use super::assertion::CLOCK_SKEW;
use super::refusal::{Refusal, Unfit};

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: Seconds,
    #[serde(default)]
    nbf: Seconds,
}

/// Whether an assertion names a certificate.
pub(super) fn is_meant(assertion: &str) -> bool {
    let header = assertion.split('.').next().and_then(decode);
    let header: Option<Header> = header.and_then(|json| serde_json::from_slice(&json).ok());
    header.is_some_and(|header| header.x5t.is_some() || header.x5t_sha256.is_some())
}

/// Whether `application` has the certificate that signed `assertion`, and the assertion is for this tenant's token endpoint at `now`.
pub(super) fn check(application: &Application, tenant: &Tenant, assertion: &str, now: u64) -> Result<(), Refusal> {
    let jwt: Jwt<'_, Claims> = Jwt::read(assertion).ok_or(Refusal::MalformedAssertion)?;
    let client_id = application.client_id.as_str();
    if ![&jwt.claims.iss, &jwt.claims.sub].into_iter().all(|id| id.eq_ignore_ascii_case(client_id)) {
        return Err(Refusal::AssertionClient);
    }
    let certificate = application.certificates.iter().find(|certificate| is_named(certificate, &jwt.header));
    let certificate = certificate.ok_or_else(|| unfit(Unfit::Unknown, &jwt.header))?;
    if !is_signed(certificate, &jwt.header.alg, jwt.signed.as_bytes(), &jwt.signature) {
        return Err(unfit(Unfit::Signature, &jwt.header));
    }
    if i64::try_from(now).is_ok_and(|now| now >= certificate.not_after) {
        return Err(unfit(Unfit::Expired, &jwt.header));
    }
    let Claims { aud, nbf: Seconds(nbf), exp: Seconds(exp), .. } = jwt.claims;
    let audience = aud.strip_prefix("https://").and_then(|url| url.split_once('/')).map(|(_, path)| path.to_ascii_lowercase());
    let endpoints = ["oauth2/v2.0/token", "oauth2/token", "v2.0"].map(|end| format!("{}/{end}", tenant.id));
    if !audience.is_some_and(|path| endpoints.contains(&path)) {
        return Err(Refusal::AssertionAudience);
    }
    if now + CLOCK_SKEW < nbf || exp <= now { Err(Refusal::Time { now, from: nbf, until: exp }) } else { Ok(()) }
}

/// A header that carries both thumbprints means a certificate with both.
fn is_named(certificate: &Certificate, header: &Header) -> bool {
    let is = |thumbprint: &Option<String>, hash| thumbprint.as_ref().is_none_or(|text| unpadded(text) == certificate.thumbprint(hash));
    is(&header.x5t, Hash::Sha1) && is(&header.x5t_sha256, Hash::Sha256)
}

/// Some clients pad base64url.
fn unpadded(text: &str) -> &str {
    text.trim_end_matches('=')
}

fn unfit(why: Unfit, header: &Header) -> Refusal {
    let thumbprint = header.x5t.as_ref().or(header.x5t_sha256.as_ref()).and_then(|text| decode(unpadded(text))).unwrap_or_default();
    Refusal::Certificate { why, thumbprint: thumbprint.iter().map(|byte| format!("{byte:02X}")).collect() }
}

fn is_signed(certificate: &Certificate, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &dyn VerificationAlgorithm = match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        _ => return false,
    };
    let key = public_key(&certificate.spki).unwrap_or_default();
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}

/// The content of the bit string of a SubjectPublicKeyInfo.
fn public_key(spki: &[u8]) -> Option<&[u8]> {
    let mut info = Reader(spki).enter(der::SEQUENCE)?;
    info.expect(der::SEQUENCE)?;
    info.expect(der::BIT_STRING)?.content.strip_prefix(&[0])
}
