//! Certificate policies: what Key Vault makes of one, and its defaults.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::crypto::curve::Curve;
use crate::crypto::key::{KeyKind, PrivateKey};
use crate::crypto::x509::{self, AlternativeNames, Profile};
use crate::crypto::{Malformed, pem, pkcs12};
use keyvault_common::secret::SecretValue;

pub(crate) const PFX: &str = "application/x-pkcs12";
pub(crate) const PEM: &str = "application/x-pem-file";

/// A property of a policy that Key Vault would not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has a value that Key Vault does not take")]
pub(crate) struct Invalid(pub(crate) &'static str);

/// As it travels. Absent fields are absent in answers too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default)]
    pub(super) key_props: KeyProps,
    #[serde(default)]
    secret_props: SecretProps,
    #[serde(default)]
    x509_props: X509Props,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_actions: Option<Vec<LifetimeAction>>,
    #[serde(default)]
    pub(super) issuer: Issuer,
    #[serde(default)]
    attributes: PolicyAttributes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyProps {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exportable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reuse_key: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crv: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SecretProps {
    #[serde(rename = "contentType", skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct X509Props {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sans: Option<Sans>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ekus: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_usage: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validity_months: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basic_constraints: Option<BasicConstraints>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sans {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dns_names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    emails: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    uris: Vec<String>,
    #[serde(rename = "ipAddresses", default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct BasicConstraints {
    ca: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LifetimeAction {
    trigger: Trigger,
    action: Action,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Trigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_percentage: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_before_expiry: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Action {
    action_type: String,
}

/// Who signs: `Self` the emulator, any other name the caller (by a merge).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Issuer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_transparency: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PolicyAttributes {
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<u64>,
}

const SERVER_AND_CLIENT: [&str; 2] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
/// Nothing in Azure may be longer good than this without a policy of its own.
const MAX_MONTHS: i32 = 1200;

impl Policy {
    /// What can be said of any certificate, wherever it comes from.
    pub(crate) fn keeping(content_type: Option<String>, exportable: Option<bool>) -> Policy {
        let key_props = KeyProps { exportable, ..KeyProps::default() };
        Policy { secret_props: SecretProps { content_type }, key_props, ..Policy::default() }
    }

    /// The same for a certificate that is made here; `key` says nothing about export.
    pub(crate) fn self_signed(self, subject: String, dns_names: Vec<String>, validity_months: Option<i32>, key: KeyProps) -> Policy {
        let sans = Some(Sans { dns_names, ..Sans::default() }).filter(|sans| *sans != Sans::default());
        Policy {
            key_props: KeyProps { exportable: self.key_props.exportable, ..key },
            x509_props: X509Props { subject: Some(subject), sans, validity_months, ..X509Props::default() },
            issuer: Issuer { name: Some("Self".to_owned()), ..Issuer::default() },
            ..self
        }
    }

    /// Under this address.
    pub(super) fn identified(&self, id: String) -> Policy {
        Policy { id: Some(id), ..self.clone() }
    }

    pub(crate) fn content_type(&self) -> &str {
        self.secret_props.content_type.as_deref().unwrap_or(PFX)
    }

    pub(crate) fn is_exportable(&self) -> bool {
        self.key_props.exportable.unwrap_or(true)
    }

    pub(super) fn is_rsa(&self) -> bool {
        self.kty().starts_with("RSA")
    }

    pub(super) fn is_hsm(&self) -> bool {
        self.kty().ends_with("-HSM")
    }

    pub(super) fn is_self_signed(&self) -> bool {
        self.issuer.name.as_deref() == Some("Self")
    }

    fn kty(&self) -> &str {
        self.key_props.kty.as_deref().unwrap_or("RSA")
    }

    /// With everything that Key Vault fills in, once it is known that it can be kept.
    pub(crate) fn completed(mut self, now: u64) -> Result<Policy, Invalid> {
        self.id = None;
        self.issuer.name.get_or_insert_with(|| "Unknown".to_owned());
        let kind = self.kind()?;
        let key = &mut self.key_props;
        key.kty.get_or_insert_with(|| "RSA".to_owned());
        key.exportable.get_or_insert(true);
        key.reuse_key.get_or_insert(false);
        match kind {
            KeyKind::Rsa(bits) => key.key_size = Some(bits),
            KeyKind::Ec(curve) => {
                key.crv = Some(curve.name().to_owned());
                key.key_size = Some(curve_bits(curve));
            }
        }
        let content_type = self.secret_props.content_type.get_or_insert_with(|| PFX.to_owned());
        if ![PFX, PEM].contains(&content_type.as_str()) {
            return Err(Invalid("policy.secret_props.contentType"));
        }
        let self_signed = self.is_self_signed();
        self.x509_props.complete(kind)?;
        self.lifetime_actions.get_or_insert_with(|| {
            let action_type = if self_signed { "AutoRenew" } else { "EmailContacts" }.to_owned();
            vec![LifetimeAction { trigger: Trigger { lifetime_percentage: Some(80), days_before_expiry: None }, action: Action { action_type } }]
        });
        self.attributes.enabled = Some(self.attributes.enabled.unwrap_or(true));
        self.attributes.created = Some(self.attributes.created.unwrap_or(now));
        self.attributes.updated = Some(now);
        Ok(self)
    }

    /// This policy with what `changes` names.
    pub(super) fn updated(&self, changes: Policy, now: u64) -> Result<Policy, Invalid> {
        let mut policy = self.clone();
        let Policy { key_props, secret_props, x509_props, lifetime_actions, issuer, .. } = changes;
        if key_props != KeyProps::default() {
            policy.key_props = key_props;
        }
        policy.secret_props.content_type = secret_props.content_type.or(policy.secret_props.content_type);
        let (own, new) = (&mut policy.x509_props, x509_props);
        own.subject = new.subject.or(own.subject.take());
        own.sans = new.sans.or(own.sans.take());
        own.ekus = new.ekus.or(own.ekus.take());
        own.key_usage = new.key_usage.or(own.key_usage.take());
        own.validity_months = new.validity_months.or(own.validity_months);
        policy.lifetime_actions = lifetime_actions.or(policy.lifetime_actions);
        if issuer.name.is_some() {
            policy.issuer = issuer;
        }
        policy.completed(now)
    }

    /// The policy of a certificate that came from outside, where the caller gave none, or only a part of one.
    pub(crate) fn imported(self, leaf: &x509::Certificate, key: &PrivateKey, content_type: &str, now: u64) -> Result<Policy, Invalid> {
        let mut policy = self;
        policy.secret_props.content_type.get_or_insert_with(|| content_type.to_owned());
        let hsm = if policy.is_hsm() { "-HSM" } else { "" };
        let (kty, key_size, crv) = match key.kind() {
            KeyKind::Rsa(bits) => ("RSA", Some(bits), None),
            KeyKind::Ec(curve) => ("EC", Some(curve_bits(curve)), Some(curve.name().to_owned())),
        };
        policy.key_props = KeyProps { kty: Some(format!("{kty}{hsm}")), key_size, crv, ..policy.key_props };
        policy.x509_props = X509Props::of(leaf);
        policy.completed(now)
    }

    /// What kind of key it asks for.
    pub(super) fn kind(&self) -> Result<KeyKind, Invalid> {
        let KeyProps { key_size, crv, .. } = &self.key_props;
        key_kind(self.kty(), *key_size, crv.as_deref())
    }

    /// What the certificate is to say.
    pub(super) fn profile(&self) -> Profile {
        let props = &self.x509_props;
        let sans = props.sans.clone().unwrap_or_default();
        Profile {
            subject: props.subject.clone().filter(|subject| !subject.is_empty()).unwrap_or_else(|| "CN=".to_owned()),
            names: AlternativeNames { dns: sans.dns_names, emails: sans.emails, upns: sans.upns, uris: sans.uris, addresses: sans.addresses },
            extended_usages: props.ekus.clone().unwrap_or_default(),
            usages: props.key_usage.clone().unwrap_or_default(),
            is_ca: props.basic_constraints.as_ref().is_some_and(|constraints| constraints.ca),
            months: props.validity_months.unwrap_or(12),
        }
    }

    /// The value of the secret beside the certificate.
    pub(super) fn secret(&self, key: &PrivateKey, chain: &[x509::Certificate]) -> Result<SecretValue, Malformed> {
        let key = self.is_exportable().then_some(key);
        if self.content_type() == PFX {
            return Ok(SecretValue::from(BASE64_STANDARD.encode(pkcs12::write(key, chain)?)));
        }
        pem_text(key, chain)
    }
}

/// The key, then the certificates.
pub(super) fn pem_text(key: Option<&PrivateKey>, chain: &[x509::Certificate]) -> Result<SecretValue, Malformed> {
    let mut text = match key {
        None => String::new(),
        Some(key) => pem::write("PRIVATE KEY", &key.to_pkcs8()?),
    };
    text.extend(chain.iter().map(|certificate| pem::write("CERTIFICATE", &certificate.der)));
    Ok(SecretValue::from(text))
}

/// The key that these words ask for, in policies as in `POST /keys/NAME/create`.
pub(crate) fn key_kind(kty: &str, size: Option<usize>, crv: Option<&str>) -> Result<KeyKind, Invalid> {
    match kty {
        "RSA" | "RSA-HSM" => match size.unwrap_or(2048) {
            bits @ (2048 | 3072 | 4096) => Ok(KeyKind::Rsa(bits)),
            _ => Err(Invalid("key_size")),
        },
        "EC" | "EC-HSM" => Curve::named(crv.unwrap_or("P-256")).map(KeyKind::Ec).ok_or(Invalid("crv")),
        _ => Err(Invalid("kty")),
    }
}

fn curve_bits(curve: Curve) -> usize {
    match curve {
        Curve::P256 => 256,
        Curve::P384 => 384,
        Curve::P521 => 521,
    }
}

impl X509Props {
    fn complete(&mut self, kind: KeyKind) -> Result<(), Invalid> {
        let names = self.sans.as_ref().is_some_and(|sans| *sans != Sans::default());
        match self.subject.as_deref() {
            Some(subject) if !subject.is_empty() => x509::check_name(subject).map_err(|_| Invalid("policy.x509_props.subject"))?,
            Some(_) | None if names => {}
            Some(_) | None => return Err(Invalid("policy.x509_props.subject")),
        }
        let usages: &[&str] = match kind {
            KeyKind::Rsa(_) => &["digitalSignature", "keyEncipherment"],
            KeyKind::Ec(_) => &["digitalSignature"],
        };
        let usages = self.key_usage.get_or_insert_with(|| usages.iter().map(|usage| (*usage).to_owned()).collect());
        if !usages.iter().all(|usage| x509::is_usage(usage)) {
            return Err(Invalid("policy.x509_props.key_usage"));
        }
        self.ekus.get_or_insert_with(|| SERVER_AND_CLIENT.map(str::to_owned).to_vec());
        if !(1..=MAX_MONTHS).contains(self.validity_months.get_or_insert(12)) {
            return Err(Invalid("policy.x509_props.validity_months"));
        }
        self.basic_constraints.get_or_insert_default();
        Ok(())
    }

    fn of(leaf: &x509::Certificate) -> X509Props {
        let AlternativeNames { dns, emails, upns, uris, addresses } = leaf.names.clone();
        let sans = Sans { dns_names: dns, emails, upns, uris, addresses };
        // A month is a twelfth of a year.
        let months = (leaf.not_after - leaf.not_before + 1_314_900) / 2_629_800;
        X509Props {
            subject: Some(leaf.subject_text()),
            sans: (sans != Sans::default()).then_some(sans),
            ekus: Some(leaf.extended_usages.clone()),
            key_usage: Some(leaf.usages.iter().map(|usage| (*usage).to_owned()).collect()),
            validity_months: Some(i32::try_from(months).unwrap_or(MAX_MONTHS).clamp(1, MAX_MONTHS)),
            basic_constraints: Some(BasicConstraints { ca: leaf.is_ca }),
        }
    }
}
