//! Small texts of single annotations, each with its rule.

use std::str::FromStr;

use crate::names::{NameError, is_dns_label};

/// What happens to a container when a value changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// Nothing: the program looks itself.
    Nothing,
    /// It gets a signal.
    Signal,
    /// It is restarted.
    Restart,
}

impl FromStr for OnChange {
    type Err = NameError;

    fn from_str(text: &str) -> Result<OnChange, NameError> {
        match text {
            "none" => Ok(OnChange::Nothing),
            "restart" => Ok(OnChange::Restart),
            _ if text.strip_prefix("signal:").is_some_and(is_signal) => Ok(OnChange::Signal),
            _ => Err(NameError::new("an action", text, "none, restart, or signal: with one of SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2")),
        }
    }
}

fn is_signal(name: &str) -> bool {
    matches!(name, "SIGHUP" | "SIGINT" | "SIGQUIT" | "SIGTERM" | "SIGUSR1" | "SIGUSR2")
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
        if text.len() <= 253 && text.split('.').all(|label| !label.is_empty() && is_dns_label(label)) {
            return Ok(SecretName(text.to_owned()));
        }
        Err(NameError::new("the name of a Kubernetes Secret", text, "lower-case letters, digits, hyphens and dots"))
    }
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
