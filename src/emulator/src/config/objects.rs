//! Certificates and keys that are there from the start: out of files, or made at start.

use std::collections::BTreeMap;

use crate::clock;
use crate::crypto::key::{KeyKind, PrivateKey};
use crate::crypto::pem;
use crate::vault::certificates::import::{self, Imported};
use crate::vault::policy::{self, KeyProps, PEM, PFX, Policy};
use keyvault_common::names::ObjectName;

use super::reader::{Map, Reader};

/// A certificate that is there from the start.
#[derive(Debug)]
pub(crate) struct CertificateSeed {
    pub(crate) name: ObjectName,
    pub(crate) enabled: bool,
    pub(crate) tags: BTreeMap<String, String>,
    /// Whole where the certificate is made, else what the file does not say.
    pub(crate) policy: Policy,
    /// `None`: self-signed, made at start.
    pub(crate) imported: Option<Imported>,
}

/// A key that is there from the start.
#[derive(Debug)]
pub(crate) struct KeySeed {
    pub(crate) name: ObjectName,
    pub(crate) enabled: bool,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) operations: Option<Vec<String>>,
    pub(crate) source: KeySource,
}

/// Where a key comes from.
#[derive(Debug)]
pub(crate) enum KeySource {
    File(PrivateKey),
    Made(KeyKind),
}

impl Reader<'_> {
    pub(super) fn certificate(&mut self, map: &mut Map<'_>) -> Option<CertificateSeed> {
        let name = self.parsed(map, "name");
        let enabled = map.fields.bool("enabled", &mut self.problems).unwrap_or(true);
        let tags = self.tags(map);
        let content_type = self.content_type(map);
        let exportable = map.fields.bool("exportable", &mut self.problems);
        let mut policy = Policy::keeping(content_type, exportable);
        let imported = match map.fields.take("file") {
            Some(node) => {
                let path = map.fields.path("file");
                let password: Option<String> = map.fields.parse("password", &mut self.problems);
                let bytes = self.file(node, &path)?;
                let read = import::read_bytes(&bytes, password.as_deref().unwrap_or_default());
                Some(read.map_err(|error| self.problems.add(node, &path, error.to_string())).ok()?)
            }
            None => {
                policy = self.self_signed(map, policy)?;
                None
            }
        };
        Some(CertificateSeed { name: name?, enabled, tags, policy, imported })
    }

    fn self_signed(&mut self, map: &mut Map<'_>, given: Policy) -> Option<Policy> {
        let subject: String = self.parsed(map, "subject")?;
        let dns_names = map.fields.parse_list("dnsNames", &mut self.problems).unwrap_or_default();
        let validity_months = map.fields.parse("validityMonths", &mut self.problems);
        let key = KeyProps {
            kty: map.fields.parse("keyType", &mut self.problems),
            key_size: map.fields.parse("keySize", &mut self.problems),
            crv: map.fields.parse("curve", &mut self.problems),
            ..KeyProps::default()
        };
        let completed = given.self_signed(subject, dns_names, validity_months, key).completed(clock::now());
        completed.map_err(|invalid| self.problems.add(map.node, &map.path, invalid.to_string())).ok()
    }

    fn content_type(&mut self, map: &mut Map<'_>) -> Option<String> {
        let node = map.fields.take("contentType")?;
        let path = map.fields.path("contentType");
        match keyvault_common::yaml_fields::parse_node::<String>(node, &path, &mut self.problems)?.as_str() {
            "pfx" | PFX => Some(PFX.to_owned()),
            "pem" | PEM => Some(PEM.to_owned()),
            _ => {
                self.problems.add(node, &path, "pfx or pem is expected here");
                None
            }
        }
    }

    pub(super) fn key(&mut self, map: &mut Map<'_>) -> Option<KeySeed> {
        let name = self.parsed(map, "name");
        let enabled = map.fields.bool("enabled", &mut self.problems).unwrap_or(true);
        let tags = self.tags(map);
        let operations = map.fields.parse_list("operations", &mut self.problems);
        let source = match map.fields.take("file") {
            Some(node) => {
                let path = map.fields.path("file");
                let bytes = self.file(node, &path)?;
                let key = pem::bundle(&String::from_utf8_lossy(&bytes)).ok().and_then(|bundle| bundle.key);
                if key.is_none() {
                    self.problems.add(node, &path, "there is no private key in PEM in it (PKCS#8, PKCS#1 or SEC 1, not encrypted)");
                }
                KeySource::File(key?)
            }
            None => {
                let kty: Option<String> = map.fields.parse("keyType", &mut self.problems);
                let size = map.fields.parse("keySize", &mut self.problems);
                let curve: Option<String> = map.fields.parse("curve", &mut self.problems);
                let kind = policy::key_kind(kty.as_deref().unwrap_or("RSA"), size, curve.as_deref());
                let refused = "keyType is RSA or EC, keySize 2048, 3072 or 4096, curve P-256, P-384 or P-521";
                KeySource::Made(kind.map_err(|_| self.problems.add(map.node, &map.path, refused)).ok()?)
            }
        };
        Some(KeySeed { name: name?, enabled, tags, operations, source })
    }
}
