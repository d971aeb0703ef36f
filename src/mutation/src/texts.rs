//! Small texts of single annotations, each with its rule.

use std::str::FromStr;

use keyvault_common::duration::Span;
use keyvault_common::names::{NameError, is_dns_label};
use keyvault_common::plan::{ManagedIdentitySelector, OnChange};

/// What happens to a container when a value changed; `None` is nothing: the program looks itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction(pub Option<OnChange>);

impl FromStr for Reaction {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Reaction, NameError> {
        match (text, text.strip_prefix("signal:").map(str::parse)) {
            ("none", _) => Ok(Reaction(None)),
            ("restart", _) => Ok(Reaction(Some(OnChange::Restart))),
            (_, Some(signal)) => signal.map(|signal| Reaction(Some(OnChange::Signal(signal)))),
            _ => Err(NameError::new("an action", text, "none, restart, or signal: with a signal's name, such as signal:SIGHUP")),
        }
    }
}

/// Over how long a change is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread(pub Span);

impl FromStr for Spread {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Spread, NameError> {
        match text.parse::<Span>() {
            Ok(span) if span <= Span::seconds(24 * 3_600) => Ok(Spread(span)),
            _ => Err(NameError::new("a spread", text, "a duration of at most 24h, such as 5m (0s acts at once)")),
        }
    }
}

/// A port that a container without privileges may listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl FromStr for Port {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Port, NameError> {
        let port = text.parse().ok().filter(|port| *port >= 1_024 && text.bytes().all(|byte| byte.is_ascii_digit()));
        port.map(Port).ok_or_else(|| NameError::new("a port", text, "a number from 1024 to 65535"))
    }
}

/// How environment variables are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvDelivery {
    /// The first way that works.
    Auto,
    /// The container's command is wrapped.
    Exec,
    /// The kubelet reads them from a file.
    File,
}

impl FromStr for EnvDelivery {
    type Err = NameError;

    fn from_str(text: &str) -> Result<EnvDelivery, NameError> {
        match text {
            "auto" => Ok(EnvDelivery::Auto),
            "exec" => Ok(EnvDelivery::Exec),
            "file" => Ok(EnvDelivery::File),
            _ => Err(NameError::new("a way of delivery", text, "auto, exec or file")),
        }
    }
}

/// A managed identity by its object (principal) id, or by its Azure resource id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedIdentityId(pub ManagedIdentitySelector);

impl FromStr for ManagedIdentityId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ManagedIdentityId, NameError> {
        const FORM: &str = "an object id (a GUID), or a resource id such as /subscriptions/…/Microsoft.ManagedIdentity/userAssignedIdentities/NAME";
        if let Ok(id) = text.parse() {
            return Ok(ManagedIdentityId(ManagedIdentitySelector::ObjectId(id)));
        }
        let parts: Vec<&str> = text.split('/').collect();
        let is_resource = parts.len() == 9
            && parts[0].is_empty()
            && parts[1..].iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() || c.is_alphanumeric()))
            && parts[1].eq_ignore_ascii_case("subscriptions")
            && parts[3].eq_ignore_ascii_case("resourceGroups")
            && parts[6].eq_ignore_ascii_case("Microsoft.ManagedIdentity")
            && parts[7].eq_ignore_ascii_case("userAssignedIdentities");
        if is_resource {
            Ok(ManagedIdentityId(ManagedIdentitySelector::ResourceId(text.to_owned())))
        } else {
            Err(NameError::new("a managed identity", text, FORM))
        }
    }
}

/// The value of an `aadpodidbinding` label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingName(pub String);

impl FromStr for BindingName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<BindingName, NameError> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let bytes = text.as_bytes();
        if bytes.len() <= 63 && bytes.iter().all(|b| inner(*b)) && edge(bytes.first().copied()) && edge(bytes.last().copied()) {
            return Ok(BindingName(text.to_owned()));
        }
        Err(NameError::new("a label value", text, "1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit first and last"))
    }
}

/// The name of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(pub String);

impl FromStr for SecretName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<SecretName, NameError> {
        object_name("the name of a Kubernetes Secret", text).map(SecretName)
    }
}

/// The name of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapName(pub String);

impl FromStr for ConfigMapName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ConfigMapName, NameError> {
        object_name("the name of a ConfigMap", text).map(ConfigMapName)
    }
}

/// A DNS subdomain, as most objects of Kubernetes are named.
fn object_name(kind: &'static str, text: &str) -> Result<String, NameError> {
    if text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && is_dns_label(label)) {
        return Ok(text.to_owned());
    }
    Err(NameError::new(kind, text, "lower-case letters, digits, hyphens and dots"))
}

/// The reference of a container image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(pub String);

impl FromStr for Image {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Image, NameError> {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(NameError::new("an image", text, "a reference such as registry.example/keyvault-injector:0.1.0"));
        }
        Ok(Image(text.to_owned()))
    }
}
