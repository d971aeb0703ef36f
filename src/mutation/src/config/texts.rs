//! Texts that occur in the file and in annotations, each parsed by its own rule.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::{IdentityKind, PolicyMode, Refresh, Switch};
use keyvault_common::duration::Span;
use keyvault_common::names::{AbsolutePath, NameError, VaultUrl, is_dns_label};

/// The shortest time between two refreshes.
const MIN_REFRESH: Span = Span::seconds(30);
/// The bounds of a deadline.
const DEADLINES: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::seconds(3600);

impl FromStr for IdentityKind {
    type Err = NameError;

    fn from_str(text: &str) -> Result<IdentityKind, NameError> {
        [IdentityKind::Workload, IdentityKind::Managed, IdentityKind::Pod, IdentityKind::ServicePrincipal]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| NameError::new("an identity", text, "workload-identity, managed-identity, pod-identity or service-principal"))
    }
}

impl FromStr for Refresh {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Refresh, NameError> {
        match text.parse::<Span>() {
            _ if text == "off" => Ok(Refresh::Off),
            Ok(span) if span >= MIN_REFRESH => Ok(Refresh::Every(span)),
            _ => Err(NameError::new("a refresh interval", text, "off, or a duration of at least 30s such as 5m")),
        }
    }
}

impl FromStr for PolicyMode {
    type Err = NameError;

    fn from_str(text: &str) -> Result<PolicyMode, NameError> {
        match text {
            "enforce" => Ok(PolicyMode::Enforce),
            "audit" => Ok(PolicyMode::Audit),
            _ => Err(NameError::new("a policy mode", text, "enforce or audit")),
        }
    }
}

/// A duration within the bounds of a deadline.
pub(crate) struct Deadline(pub(crate) Span);

impl FromStr for Deadline {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Deadline, NameError> {
        match text.parse::<Span>() {
            Ok(span) if DEADLINES.contains(&span) => Ok(Deadline(span)),
            Ok(_) => Err(NameError::new("a deadline", text, "from 1s to 1h")),
            Err(error) => Err(error),
        }
    }
}

/// Where a mount would hide what containers need, or be hidden itself.
const PROTECTED: [&str; 14] = [
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/dev",
    "/proc",
    "/sys",
    "/run/secrets",
    "/var/run/secrets",
    "/keyvault-injector",
];

/// A path that files may be mounted at.
pub(crate) struct MountPath(pub(crate) AbsolutePath);

impl FromStr for MountPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<MountPath, NameError> {
        let path: AbsolutePath = text.parse()?;
        let within = |inner: &str, outer: &str| inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        if text == "/" || PROTECTED.iter().any(|protected| within(text, protected) || within(protected, text)) {
            return Err(NameError::new(
                "a mount path",
                text,
                "neither / nor in or above /etc, /usr, /bin, /sbin, /lib, /lib32, /lib64, /libx32, /dev, /proc, /sys, /run/secrets, /var/run/secrets or /keyvault-injector",
            ));
        }
        Ok(MountPath(path))
    }
}

/// A socket address to listen on.
pub(super) struct Listen(pub(super) SocketAddr);

impl FromStr for Listen {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Listen, NameError> {
        text.parse().map(Listen).map_err(|_| NameError::new("an address to listen on", text, "an IP address and a port, such as 0.0.0.0:8443"))
    }
}

/// The lifetimes that a certificate may have.
const LIFETIMES: std::ops::RangeInclusive<Span> = Span::seconds(3)..=Span::seconds(10 * 365 * 24 * 3600);

/// How long a certificate lives. Certificates know whole seconds only.
pub(super) struct Lifetime(pub(super) Duration);

impl FromStr for Lifetime {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Lifetime, NameError> {
        let span = text.parse::<Span>()?;
        if LIFETIMES.contains(&span) && span.get().subsec_millis() == 0 {
            return Ok(Lifetime(span.get()));
        }
        Err(NameError::new("the lifetime of a certificate", text, "whole seconds, from 3s to ten years (87600h)"))
    }
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| (1..=63).contains(&label.len()) && is_dns_label(label))
}

/// What a certificate may be for: a DNS name, or an IP address in its canonical spelling.
pub(super) struct CertificateName(pub(super) String);

impl FromStr for CertificateName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<CertificateName, NameError> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(CertificateName(address.to_string())),
            Err(_) if is_subdomain(text) => Ok(CertificateName(text.to_owned())),
            Err(_) => Err(NameError::new("a name for a certificate", text, "an IP address, or a DNS name in lower case without a wildcard")),
        }
    }
}

/// The name of a cluster-wide object.
pub(super) struct Subdomain(pub(super) String);

impl FromStr for Subdomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Subdomain, NameError> {
        if is_subdomain(text) {
            return Ok(Subdomain(text.to_owned()));
        }
        Err(NameError::new("the name of a registration", text, "lower-case letters, digits, hyphens and dots, as in zz-keyvault-injector"))
    }
}

/// The name of a Service.
pub(super) struct ServiceName(pub(super) String);

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ServiceName, NameError> {
        if (1..=63).contains(&text.len()) && is_dns_label(text) {
            return Ok(ServiceName(text.to_owned()));
        }
        Err(NameError::new("the name of a Service", text, "1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"))
    }
}

impl FromStr for Switch {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Switch, NameError> {
        match text {
            "auto" => Ok(Switch::Auto),
            "on" => Ok(Switch::On),
            "off" => Ok(Switch::Off),
            _ => Err(NameError::new("a switch", text, "auto, on or off")),
        }
    }
}

pub(super) struct PullPolicy(pub(super) &'static str);

impl FromStr for PullPolicy {
    type Err = NameError;

    fn from_str(text: &str) -> Result<PullPolicy, NameError> {
        ["Always", "IfNotPresent", "Never"]
            .into_iter()
            .find(|known| *known == text)
            .map(PullPolicy)
            .ok_or_else(|| NameError::new("an image pull policy", text, "Always, IfNotPresent or Never"))
    }
}

/// What comes before an image's name in a mirror, without the slash between them.
pub(super) struct ImagePrefix(pub(super) String);

impl FromStr for ImagePrefix {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ImagePrefix, NameError> {
        let prefix = text.strip_suffix('/').unwrap_or(text);
        let mut parts = prefix.split('/');
        let is_host = |host: &str| host == "localhost" || host.contains(['.', ':']);
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        let is_registry = parts.next().is_some_and(|host| is_host(host) && format!("https://{host}").parse::<VaultUrl>().is_ok());
        if is_registry && parts.all(is_part) {
            return Ok(ImagePrefix(prefix.to_owned()));
        }
        Err(NameError::new(
            "the prefix of a mirror",
            text,
            "a registry and perhaps a path, such as mirror.example:5000/proxy: no https://, tag or digest",
        ))
    }
}

/// `host` or `host:port`.
pub(super) struct Host(pub(super) String);

impl FromStr for Host {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Host, NameError> {
        match format!("https://{text}").parse::<VaultUrl>() {
            Ok(url) if !text.ends_with('/') => Ok(Host(url.authority())),
            _ => Err(NameError::new("a host", text, "a DNS name, perhaps with :port, without https:// and path")),
        }
    }
}

/// `https://host[:port]`, kept without a slash at its end.
pub(super) struct HttpsOrigin(pub(super) String);

impl FromStr for HttpsOrigin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<HttpsOrigin, NameError> {
        match text.parse::<VaultUrl>() {
            Ok(url) => Ok(HttpsOrigin(url.to_string())),
            Err(_) => Err(NameError::new("an https address", text, "https://, a host and perhaps a port: no user, path or query")),
        }
    }
}

/// `http://host[:port]` of a proxy. Its password would be in every pod, for everyone who may read pods.
pub(super) struct ProxyOrigin(pub(super) String);

impl FromStr for ProxyOrigin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ProxyOrigin, NameError> {
        if let Some((_, host)) = text.rsplit_once('@') {
            const RULE: &str = "user and password would be in every pod, so the proxy has to let the cluster's addresses pass without";
            return Err(NameError::new("a proxy for agents", &format!("…@{host}"), RULE));
        }
        let is_origin = text.strip_prefix("http://").is_some_and(|rest| format!("https://{rest}").parse::<HttpsOrigin>().is_ok());
        match is_origin {
            true => Ok(ProxyOrigin(text.trim_end_matches('/').to_owned())),
            false => Err(NameError::new("a proxy for agents", text, "http://, a host and perhaps a port: no path or query")),
        }
    }
}

/// What a proxy is not used for.
pub(super) struct NoProxy(pub(super) String);

impl FromStr for NoProxy {
    type Err = NameError;

    fn from_str(text: &str) -> Result<NoProxy, NameError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':' | '/' | '[' | ']');
        if !text.is_empty() && text.chars().all(is_plain) {
            return Ok(NoProxy(text.to_owned()));
        }
        Err(NameError::new("an exception from the proxy", text, "a DNS name, .domain, IP address or network such as 10.0.0.0/8"))
    }
}
