//! JSON Web Tokens taken apart and put together. Signatures are the caller's business.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The part of a header that we read and write.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) typ: Option<String>,
    pub(super) alg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
    /// Which certificate signed, by its SHA-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) x5t: Option<String>,
    /// The same by SHA-256.
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub(super) x5t_sha256: Option<String>,
}

/// A time of a token: seconds since 1970, of which some clients write fractions.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(from = "f64")]
pub(super) struct Seconds(pub(super) u64);

impl From<f64> for Seconds {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "negative times are 0, endless ones the last")]
    fn from(seconds: f64) -> Seconds {
        Seconds(seconds as u64)
    }
}

/// A token whose three parts could be read.
pub(super) struct Jwt<'t, C> {
    pub(super) header: Header,
    pub(super) claims: C,
    /// What the signature is over.
    pub(super) signed: &'t str,
    pub(super) signature: Vec<u8>,
}

impl<'t, C: DeserializeOwned> Jwt<'t, C> {
    /// `None` where the text is no compact JWS, or its claims are not of this shape.
    pub(super) fn read(text: &'t str) -> Option<Jwt<'t, C>> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Jwt {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            signed,
            signature: decode(signature)?,
        })
    }
}

/// A signed token; `sign` gets what the signature is over.
///
/// # Errors
/// What `sign` says.
pub(super) fn write<E>(header: &Header, claims: &impl Serialize, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Result<String, E> {
    let mut token = [json(header), json(claims)].join(".");
    let signature = sign(token.as_bytes())?;
    token.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

fn json(part: &impl Serialize) -> String {
    let json = serde_json::to_vec(part).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(json)
}
