//! Certificates from outside: PKCS#12, PEM, or PEM in base64.

use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::crypto::pem::Bundle;
use crate::crypto::{Malformed, pem, pkcs12, x509};
use crate::vault::caller::Caller;
use crate::vault::common::ok;
use crate::vault::contents::{Certificate, Contents, Issued};
use crate::vault::policy::{PEM, PFX, Policy};
use crate::vault::properties::{self, Properties};
use crate::vault::refusal::Refusal;
use crate::vault::store::Version;
use crate::vault::wire::Base;
use crate::{clock, ids};
use keyvault_common::names::ObjectName;

#[derive(Deserialize)]
struct Import {
    value: Option<String>,
    pwd: Option<String>,
    policy: Option<Policy>,
    #[serde(flatten)]
    properties: Properties,
}

/// Key and chain, leaf first, and the content type of what they came in.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) issued: Issued,
    pub(crate) content_type: &'static str,
}

/// Why a certificate cannot be imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Pkcs12(#[from] pkcs12::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

pub(super) fn serve(caller: &Caller<'_>, base: Base<'_>, name: ObjectName, body: &[u8]) -> Result<Response, Refusal> {
    let Import { value, pwd, policy, properties } = properties::read(body)?;
    properties.check()?;
    let value = value.ok_or(Refusal::InvalidProperty("value"))?;
    let imported = read_text(&value, &pwd.unwrap_or_default()).map_err(|error| Refusal::Import(error.to_string()))?;
    let mut contents = caller.vault.contents();
    contents.free_for_certificate(&name)?;
    let id = contents.import(&name, imported, policy.unwrap_or_default(), properties, clock::now())?;
    Ok(ok(&base.whole(contents.certificates.get(&name, Some(&id))?)))
}

impl Contents {
    /// Adds a version; its id.
    pub(in crate::vault) fn import(
        &mut self,
        name: &ObjectName,
        imported: Imported,
        policy: Policy,
        properties: Properties,
        now: u64,
    ) -> Result<String, Refusal> {
        let Imported { issued, content_type } = imported;
        let leaf = issued.chain.first().ok_or(Refusal::InvalidProperty("value"))?;
        let policy = policy.imported(leaf, &issued.key, content_type, now)?;
        let enabled = properties.attributes.and_then(|attributes| attributes.enabled).unwrap_or(true);
        let id = ids::hex();
        let content = Certificate { policy, chain: Vec::new(), created_here: false };
        self.certificates.add(name, Version::new(id.clone(), content, properties, now))?;
        self.issue(name, &id, issued, enabled, now)?;
        Ok(id)
    }
}

/// What stands in a request: base64 of PKCS#12, PEM, or base64 of PEM.
fn read_text(value: &str, password: &str) -> Result<Imported, ImportError> {
    if value.contains("-----BEGIN ") {
        return read_bytes(value.as_bytes(), password);
    }
    let text: String = value.split_ascii_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(text.trim_end_matches('=').to_owned() + &"=".repeat(text.trim_end_matches('=').len().wrapping_neg() % 4));
    read_bytes(&bytes.map_err(|_| Malformed("neither PEM nor base64"))?, password)
}

/// A file: PKCS#12 or PEM.
pub(crate) fn read_bytes(bytes: &[u8], password: &str) -> Result<Imported, ImportError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("-----BEGIN "));
    let (bundle, content_type) = match text {
        Some(text) => (pem::bundle(text)?, PEM),
        None => (pkcs12::read(bytes, password)?, PFX),
    };
    let Bundle { key, mut certificates } = bundle;
    let key = key.ok_or(Malformed("there is no private key in it"))?;
    let spki = key.spki();
    let leaf = certificates.iter().position(|certificate| certificate.spki == spki);
    let leaf = certificates.remove(leaf.ok_or(Malformed("none of the certificates is for the private key"))?);
    Ok(Imported { issued: Issued { key, chain: x509::ordered(leaf, certificates) }, content_type })
}
