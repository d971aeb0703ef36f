//! Where a setting may be: on the pod, on its Namespace, in the configuration. The first that speaks holds.

use std::fmt;
use std::str::FromStr;

use super::NamespaceDefaults;
use super::findings::{Findings, Sentences};
use crate::annotations::{Annotations, Key, PREFIX, UnknownKey};
use crate::config::{Config, Deadline, IdentityKind, MountPath, Refresh, Resources};
use crate::reference::VaultLocator;
use keyvault_common::names::{FileMode, Guid};

/// The annotations of a pod and of its Namespace.
pub(super) struct Sources<'a> {
    pub(super) pod: Annotations<'a>,
    namespace: Annotations<'a>,
    namespace_name: &'a str,
    namespace_unknown: Vec<UnknownKey<'a>>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(pod: Annotations<'a>, defaults: &'a NamespaceDefaults) -> Sources<'a> {
        let pairs = defaults.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let (namespace, namespace_unknown) = Annotations::read(pairs);
        Sources { pod, namespace, namespace_name: &defaults.name, namespace_unknown }
    }

    /// The namespace's name.
    pub(super) fn namespace_name(&self) -> &'a str {
        self.namespace_name
    }

    /// A setting of the pod, else of its Namespace. A value that does not parse is a problem that names where it is.
    pub(super) fn get<T: FromStr<Err: fmt::Display>>(&self, key: Key, findings: &mut Findings) -> Option<T> {
        if self.pod.get(key).is_some() { self.of_pod(key, findings) } else { self.of_namespace(key, findings) }
    }

    /// A setting of the pod alone.
    pub(super) fn of_pod<T: FromStr<Err: fmt::Display>>(&self, key: Key, findings: &mut Findings) -> Option<T> {
        let text = self.pod.get(key)?;
        text.parse().map_err(|error| findings.problem(format!("annotation {}: {error}", key.annotation()))).ok()
    }

    /// A default of the Namespace alone. A fresh look at the Namespace could find it put right.
    pub(super) fn of_namespace<T: FromStr<Err: fmt::Display>>(&self, key: Key, findings: &mut Findings) -> Option<T> {
        let text = self.namespace.get(key).filter(|_| key.is_namespace_default())?;
        text.parse().map_err(|error| findings.absence(format!("{}: {error}", self.place_in_namespace(key)))).ok()
    }

    /// A problem with the value that [`Sources::get`] gave, or with the operator's default where it gave none.
    pub(super) fn problem(&self, key: Key, problem: &str, findings: &mut Findings) {
        let text = format!("{}: {problem}", self.place(key));
        if self.pod.get(key).is_none() && self.namespace.get(key).is_some() { findings.absence(text) } else { findings.problem(text) }
    }

    /// Where [`Sources::get`] finds a setting, in words.
    pub(super) fn place(&self, key: Key) -> String {
        if self.pod.get(key).is_some() {
            format!("annotation {}", key.annotation())
        } else if self.namespace.get(key).is_some() {
            self.place_in_namespace(key)
        } else {
            format!("the operator's default for {}", key.annotation())
        }
    }

    fn place_in_namespace(&self, key: Key) -> String {
        format!("annotation {} of Namespace {}", key.annotation(), self.namespace_name)
    }

    /// What is wrong with the Namespace's annotations, whether or not this pod uses them.
    pub(super) fn namespace_problems(&self, config: &Config) -> Vec<String> {
        let mut problems = Sentences::default();
        let name = self.namespace_name;
        let mut listed = false;
        for unknown in &self.namespace_unknown {
            problems.add(|| format!("Namespace {name}: {}", unknown.sentence(&mut listed)));
        }
        for key in self.namespace.keys() {
            let text = self.namespace.get(key).unwrap_or_default();
            if !key.is_namespace_default() {
                problems.add(|| format!("Namespace {name}: annotation {PREFIX}{} has no meaning on a Namespace: set it on the pod", key.name()));
            } else if let Err(error) = check(key, text, config) {
                problems.add(|| format!("Namespace {name}: annotation {}: {error}", key.annotation()));
            }
        }
        problems.into_lines()
    }
}

/// Whether a text is right for a key that a Namespace may carry.
fn check(key: Key, text: &str, config: &Config) -> Result<(), String> {
    fn parses<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<(), String> {
        text.parse::<T>().map(drop).map_err(|error| error.to_string())
    }
    match key {
        Key::Vault => {
            let vault = text.parse::<VaultLocator>().map_err(|error| error.to_string())?;
            config.vault_address(&vault).map(drop)
        }
        Key::MountPath => parses::<MountPath>(text),
        Key::FileMode => parses::<FileMode>(text),
        Key::Identity => parses::<IdentityKind>(text),
        Key::ClientId | Key::TenantId => parses::<Guid>(text),
        Key::Refresh => parses::<Refresh>(text),
        Key::Deadline => parses::<Deadline>(text),
        Key::AgentResources => parses::<Resources>(text),
        Key::Secrets
        | Key::Certificates
        | Key::Keys
        | Key::Env
        | Key::Templates
        | Key::TemplateConfigMap
        | Key::Containers
        | Key::ManagedIdentityId
        | Key::PodIdentityBinding
        | Key::ServicePrincipalSecret
        | Key::OnChange
        | Key::OnChangeSpread
        | Key::MetricsPort
        | Key::RefreshNow
        | Key::EnvDelivery
        | Key::AgentImage
        | Key::AgentLogLevel
        | Key::Inject
        | Key::Status
        | Key::Warnings => Ok(()),
    }
}
