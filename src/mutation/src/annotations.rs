//! The table of annotations: every key under our prefix, what it is for, and where it may be set.

use keyvault_common::excerpt::excerpt;
use keyvault_common::yaml_fields::nearest;

/// What all our annotations and labels begin with.
pub const PREFIX: &str = "keyvault-injector.io/";

/// One annotation of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The vault for references that name none.
    Vault,
    /// Secrets that become files.
    Secrets,
    /// Certificates that become folders.
    Certificates,
    /// Keys whose public part becomes a file.
    Keys,
    /// Secrets that become environment variables.
    Env,
    /// Rendered files.
    Templates,
    /// The ConfigMap with templates of more rendered files.
    TemplateConfigMap,
    /// Where the files appear.
    MountPath,
    /// Which containers get them.
    Containers,
    /// Their permission bits.
    FileMode,
    /// The kind of Azure identity.
    Identity,
    /// The identity's client id.
    ClientId,
    /// The identity's tenant.
    TenantId,
    /// Which of the node's identities, by another id.
    ManagedIdentityId,
    /// The `aadpodidbinding` label to set.
    PodIdentityBinding,
    /// The Kubernetes Secret with a service principal.
    ServicePrincipalSecret,
    /// How often files are kept up to date.
    Refresh,
    /// What happens to a container when a value changed.
    OnChange,
    /// Over how long that is spread.
    OnChangeSpread,
    /// A port with the state of the refresh.
    MetricsPort,
    /// A new text asks for a refresh at once.
    RefreshNow,
    /// How environment variables are delivered.
    EnvDelivery,
    /// How long the agent tries.
    Deadline,
    /// Requests and limits of the injected container.
    AgentResources,
    /// Its image.
    AgentImage,
    /// Its verbosity.
    AgentLogLevel,
    /// Whether this pod is injected at all.
    Inject,
    /// Written by the webhook: the digest of the plan.
    Status,
    /// Written by the webhook: what was surprising.
    Warnings,
}

/// What role a key plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Names objects: a pod that carries it asks.
    Content,
    /// Shapes what is asked for, on a pod only.
    Pod,
    /// Shapes what is asked for, on a pod or as a default on its Namespace.
    Default,
    /// Written by the webhook itself.
    Output,
}

const TABLE: [(Key, &str, Role); 29] = [
    (Key::Vault, "vault", Role::Default),
    (Key::Secrets, "secrets", Role::Content),
    (Key::Certificates, "certificates", Role::Content),
    (Key::Keys, "keys", Role::Content),
    (Key::Env, "env", Role::Content),
    (Key::Templates, "templates", Role::Content),
    (Key::TemplateConfigMap, "template-config-map", Role::Content),
    (Key::MountPath, "mount-path", Role::Default),
    (Key::Containers, "containers", Role::Pod),
    (Key::FileMode, "file-mode", Role::Default),
    (Key::Identity, "identity", Role::Default),
    (Key::ClientId, "client-id", Role::Default),
    (Key::TenantId, "tenant-id", Role::Default),
    (Key::ManagedIdentityId, "managed-identity-id", Role::Pod),
    (Key::PodIdentityBinding, "pod-identity-binding", Role::Pod),
    (Key::ServicePrincipalSecret, "service-principal-secret", Role::Pod),
    (Key::Refresh, "refresh", Role::Default),
    (Key::OnChange, "on-change", Role::Pod),
    (Key::OnChangeSpread, "on-change-spread", Role::Pod),
    (Key::MetricsPort, "metrics-port", Role::Pod),
    (Key::RefreshNow, "refresh-now", Role::Pod),
    (Key::EnvDelivery, "env-delivery", Role::Pod),
    (Key::Deadline, "deadline", Role::Default),
    (Key::AgentResources, "agent-resources", Role::Default),
    (Key::AgentImage, "agent-image", Role::Pod),
    (Key::AgentLogLevel, "agent-log-level", Role::Pod),
    (Key::Inject, "inject", Role::Pod),
    (Key::Status, "status", Role::Output),
    (Key::Warnings, "warnings", Role::Output),
];

impl Key {
    /// Every key, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Key> {
        TABLE.iter().map(|(key, ..)| *key)
    }

    /// The key without the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The whole annotation key.
    #[must_use]
    pub fn annotation(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// Whether a pod that carries this asks for something.
    #[must_use]
    pub fn asks(self) -> bool {
        self.row().2 == Role::Content
    }

    /// Whether a Namespace may carry it as a default.
    #[must_use]
    pub fn is_namespace_default(self) -> bool {
        self.row().2 == Role::Default
    }

    /// Whether the webhook itself writes it.
    #[must_use]
    pub fn is_output(self) -> bool {
        self.row().2 == Role::Output
    }

    /// Reads a key without its prefix.
    ///
    /// # Errors
    /// The unknown key.
    pub fn from_name(name: &str) -> Result<Key, UnknownKey<'_>> {
        match TABLE.iter().find(|(_, known, _)| *known == name) {
            Some((key, ..)) => Ok(*key),
            None => Err(UnknownKey(name)),
        }
    }

    fn row(self) -> (Key, &'static str, Role) {
        TABLE[self as usize]
    }
}

/// A key under our prefix that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKey<'a>(pub &'a str);

impl UnknownKey<'_> {
    /// Kubernetes allows 63 characters after the slash.
    const QUOTED: usize = 80;

    /// Says that it is unknown, and names the nearest known key. If none is near, the first sentence of an object lists all: `listed` remembers that.
    #[must_use]
    pub fn sentence(self, listed: &mut bool) -> String {
        let known: Vec<&str> = TABLE.iter().filter(|(.., role)| *role != Role::Output).map(|(_, known, _)| *known).collect();
        let unknown = format!("annotation {PREFIX}{} is unknown", excerpt(self.0, UnknownKey::QUOTED));
        match nearest(self.0, &known) {
            Some(near) => format!("{unknown}; did you mean {PREFIX}{near}?"),
            None if std::mem::replace(listed, true) => unknown,
            None => format!("{unknown}; known are {}", known.join(", ")),
        }
    }
}

/// Our annotations of one object: at most one text for each key.
#[derive(Clone, Debug, Default)]
pub struct Annotations<'a> {
    values: [Option<&'a str>; TABLE.len()],
}

impl<'a> Annotations<'a> {
    /// Sorts `(key without prefix, value)` pairs into the table; unknown keys come back beside it.
    pub fn read(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> (Annotations<'a>, Vec<UnknownKey<'a>>) {
        let (mut annotations, mut unknown) = (Annotations::default(), Vec::new());
        for (name, value) in pairs {
            match Key::from_name(name) {
                Ok(key) => annotations.values[key as usize] = Some(value),
                Err(key) => unknown.push(key),
            }
        }
        (annotations, unknown)
    }

    /// The text of a key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&'a str> {
        self.values[key as usize]
    }

    /// The keys that are there.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        Key::all().filter(|key| self.get(*key).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_keys() {
        for (index, (key, name, _)) in TABLE.iter().enumerate() {
            assert_eq!(*key as usize, index, "{name}");
            assert_eq!(Key::from_name(name), Ok(*key));
        }
    }

    #[test]
    fn the_closed_list_of_namespace_defaults_is_the_contracts() {
        let names: Vec<&str> = Key::all().filter(|key| key.is_namespace_default()).map(Key::name).collect();
        assert_eq!(names, ["vault", "mount-path", "file-mode", "identity", "client-id", "tenant-id", "refresh", "deadline", "agent-resources"]);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let (annotations, unknown) = Annotations::read([("secret", "x"), ("vault", "v"), ("banana", "y"), ("cherry", "z")].into_iter());
        let mut listed = false;
        let problems: Vec<String> = unknown.into_iter().map(|key| key.sentence(&mut listed)).collect();
        assert_eq!(annotations.get(Key::Vault), Some("v"));
        assert_eq!(annotations.keys().collect::<Vec<_>>(), [Key::Vault]);
        assert_eq!(problems[0], "annotation keyvault-injector.io/secret is unknown; did you mean keyvault-injector.io/secrets?");
        assert!(problems[1].starts_with("annotation keyvault-injector.io/banana is unknown; known are vault, secrets, "));
        assert_eq!(problems[2..], ["annotation keyvault-injector.io/cherry is unknown"], "the list stands once");
    }
}
