//! From fetched objects to the bytes of a file: what a value expression of the plan says.

mod certificate;
mod der;
mod encoding;
mod environment;
mod filters;
mod pkcs12;
mod private_key;
mod property;
mod public_key;
mod template;
mod x509;

use std::borrow::Cow;
use std::collections::HashMap;

pub use certificate::{Certificate, CertificateError, Remark};
pub use environment::Unfit;
pub use pkcs12::Pkcs12Error;
pub use public_key::{Key, KeyError};
pub use template::{MAX_BYTES as MAX_RENDERED_BYTES, Rendering};

use keyvault_client::{Secret, Stored, StoredCertificate};
use keyvault_common::names::{EnvName, ObjectKind};
use keyvault_common::plan::{CertificatePart, Encoding, KeyFormat, Value};
use keyvault_common::property::PropertyPath;
use keyvault_common::secret::SecretValue;
use keyvault_common::template::TemplateError;

/// A fetched object that has been read: what it is made of is known.
#[derive(Debug)]
pub enum Object {
    /// A secret, as it was stored.
    Secret(ReadSecret),
    /// A certificate with its chain in order.
    Certificate(Certificate),
    /// A key's public part.
    Key(Key),
}

impl Object {
    /// Reads what was fetched.
    ///
    /// # Errors
    /// A certificate or key that is not one. A secret may be anything.
    pub fn read(stored: Stored) -> Result<Object, FormatError> {
        Ok(match stored {
            Stored::Secret(secret) => Object::Secret(secret.into()),
            Stored::Certificate(StoredCertificate::Secret(secret)) => Object::Certificate(Certificate::read(&secret.value)?),
            Stored::Certificate(StoredCertificate::Public { der, .. }) => Object::Certificate(Certificate::public(&der)?),
            Stored::Key(jwk) => Object::Key(Key::read(&jwk)?),
        })
    }
}

/// A secret, and what it takes a while to find out about it.
#[derive(Debug)]
pub struct ReadSecret {
    /// As it was stored.
    pub secret: Secret,
    /// Key and chain as PEM, if the secret is the PKCS#12 file of a certificate.
    bundle: Option<Result<SecretValue, CertificateError>>,
}

impl From<Secret> for ReadSecret {
    fn from(secret: Secret) -> ReadSecret {
        let bundle = is_pfx_of_certificate(&secret).then(|| Certificate::read(&secret.value).map(|certificate| certificate.bundle()));
        ReadSecret { secret, bundle }
    }
}

/// Whether reading it may take long: a PKCS#12 file says itself how many iterations derive its key.
#[must_use]
pub fn derives_keys(stored: &Stored) -> bool {
    match stored {
        Stored::Certificate(_) => true,
        Stored::Secret(secret) => is_pfx_of_certificate(secret),
        Stored::Key(_) => false,
    }
}

fn is_pfx_of_certificate(secret: &Secret) -> bool {
    let is_pfx = || secret.content_type.as_deref().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-pkcs12"));
    secret.of_certificate && is_pfx()
}

/// Fetched objects by the plan's ids; an optional object that does not exist is absent.
pub type Values<'p> = HashMap<&'p str, Object>;

/// What comes of a value expression.
#[derive(Debug, PartialEq, Eq)]
pub enum Rendered {
    /// The bytes of the file.
    File(SecretValue),
    /// There is no file, and why.
    Absent(&'static str),
}

/// Why an object's value is not what the plan takes it for. Says where, never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A character that base64 does not have.
    #[error("the value is not base64: character {position} is none of its letters")]
    Base64Letter {
        /// Counted from 1.
        position: usize,
    },
    /// The right letters in an impossible number or order.
    #[error("the value is not base64: it is cut off or wrongly padded at character {position}")]
    Base64End {
        /// Where the padding begins, or the last character; counted from 1.
        position: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("the value is not hexadecimal: character {position} is not a digit")]
    HexDigit {
        /// Counted from 1.
        position: usize,
    },
    /// Half a byte at the end.
    #[error("the value is not hexadecimal: it has an odd number of digits, and ends after character {position}")]
    HexEnd {
        /// The last character, counted from 1.
        position: usize,
    },
    /// A property is wanted of something that has none.
    #[error("property {path}: the value is neither JSON nor YAML (line {line}, column {column})")]
    Unstructured {
        /// The property.
        path: PropertyPath,
        /// Where reading stopped: as JSON if it begins like JSON, else as YAML.
        line: usize,
        /// The column beside it.
        column: usize,
    },
    /// A property is wanted of bytes.
    #[error("property {path}: the value is not UTF-8 text")]
    PropertyOfBytes {
        /// The property.
        path: PropertyPath,
    },
    /// JSON can spell what no text can hold.
    #[error("property {path}: its text has half of a surrogate pair, such as \\ud83d alone, which is not a character")]
    Surrogate {
        /// The property.
        path: PropertyPath,
    },
    /// A step that leads nowhere.
    #[error("property {path}: there is nothing at {step:?}")]
    NoProperty {
        /// The property.
        path: PropertyPath,
        /// The step of it.
        step: String,
    },
    /// A certificate that yields no files.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key without a public part.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A property without a value.
    #[error("property {path} is null")]
    Null {
        /// The property.
        path: PropertyPath,
    },
    /// Bytes where a template needs text.
    #[error("the value is not UTF-8 text")]
    NotText,
    /// A template that no webhook of this version lets through.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A template that names an object beside the plan.
    #[error("line {line}: {}({name:?}) is not in the plan: use the agent image that the webhook was released with", kind.noun())]
    Unplanned {
        /// 1-based line of the template.
        line: usize,
        /// The function.
        kind: ObjectKind,
        /// Its argument.
        name: String,
    },
    /// An object that a template names and that has not what it wants.
    #[error("line {line}: {error}")]
    Within {
        /// 1-based line of the template.
        line: usize,
        /// The object's [`Fetch::id`](keyvault_common::plan::Fetch::id).
        id: String,
        /// What is wrong with it.
        error: Box<FormatError>,
    },
    /// A variable whose value is not what the plan takes it for.
    #[error("variable {name}: {error}")]
    Variable {
        /// The variable.
        name: EnvName,
        /// The object's [`Fetch::id`](keyvault_common::plan::Fetch::id).
        id: String,
        /// What is wrong with it.
        error: Box<FormatError>,
    },
    /// A variable whose value the kubelet would misread.
    #[error(
        "the value cannot be delivered by a file: {0}; store another value, or give the container a command and set keyvault-injector.io/env-delivery to exec"
    )]
    Unfit(Unfit),
    /// An object that has not the part that a template names.
    #[error("{0}")]
    NoPart(&'static str),
    /// A template that cannot be rendered as a whole.
    #[error("the template cannot be rendered: {0}")]
    Unrendered(Cow<'static, str>),
    /// A line of a template that cannot be rendered.
    #[error("line {line}: {reason}")]
    Render {
        /// 1-based line of the template.
        line: usize,
        /// Never a value.
        reason: Cow<'static, str>,
    },
}

impl FormatError {
    /// The [`Fetch::id`](keyvault_common::plan::Fetch::id) of the object that it is about, if the file's own does not say so.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        if let FormatError::Within { id, .. } | FormatError::Variable { id, .. } = self { Some(id) } else { None }
    }
}

/// What `value` stands for.
///
/// # Errors
/// An object's value does not have the encoding, the property or the form that the plan says.
pub fn render(value: &Value, values: &Values<'_>) -> Result<Rendered, FormatError> {
    if let Value::Template(template) = value {
        return Rendering::new(template, values)?.run().map(Rendered::File);
    }
    if let Value::Environment(variables) = value {
        return environment::file(variables, values).map(Rendered::File);
    }
    match (value, value.id().and_then(|id| values.get(id))) {
        (Value::Object { property, encoding, .. }, Some(Object::Secret(secret))) => {
            of_secret(secret, property.as_ref(), *encoding).map(Rendered::File)
        }
        (Value::Certificate { part, password, .. }, Some(Object::Certificate(certificate))) => {
            of_certificate(certificate, *part, password.as_deref(), values)
        }
        (Value::Key { format: KeyFormat::Pem, .. }, Some(Object::Key(key))) => Ok(Rendered::File(key.pem())),
        (Value::Key { format: KeyFormat::Jwk, .. }, Some(Object::Key(key))) => Ok(Rendered::File(key.jwk())),
        // A plan whose kinds do not fit together is refused when it is read.
        (_, Some(_) | None) => Ok(Rendered::Absent("its object does not exist")),
    }
}

fn of_secret(ReadSecret { secret, bundle }: &ReadSecret, property: Option<&PropertyPath>, encoding: Encoding) -> Result<SecretValue, FormatError> {
    match (property, encoding, bundle) {
        (Some(path), _, _) => encoding::decode(&property::select(&secret.value, path)?, encoding),
        // What Key Vault keeps for a certificate is no text that anybody stored, so it is given out in the form that programs read.
        (None, Encoding::Utf8 | Encoding::AsTagged, Some(bundle)) => Ok(bundle.clone()?),
        (None, Encoding::AsTagged, None) => encoding::decode(&secret.value, secret.file_encoding),
        (None, Encoding::Utf8 | Encoding::Base64 | Encoding::Hex, _) => encoding::decode(&secret.value, encoding),
    }
}

fn of_certificate(certificate: &Certificate, part: CertificatePart, password: Option<&str>, values: &Values<'_>) -> Result<Rendered, FormatError> {
    let password = password.and_then(|id| match values.get(id) {
        Some(Object::Secret(ReadSecret { secret, .. })) => Some(&secret.value),
        Some(Object::Certificate(_) | Object::Key(_)) | None => None,
    });
    Ok(match (certificate.part(part, password)?, part) {
        (Some(bytes), _) => Rendered::File(bytes),
        (None, CertificatePart::Ca) => Rendered::Absent("no issuer is stored with the certificate"),
        (None, _) => Rendered::Absent("the certificate came without a private key: its policy says that it is not exportable"),
    })
}

#[cfg(test)]
mod tests;
