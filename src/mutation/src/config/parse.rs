//! From YAML text to [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::texts::{Deadline, Host, HttpsOrigin, Listen, MountPath, ServiceName, Subdomain};
use super::{Amounts, Config, ConfigError, Defaults, Features, IdentityKind, Policy, PolicyMode, Refresh, Resources, ServerConfig, Switch};
use crate::installation::{NAME, REGISTRATION};
use crate::nodes::NodeFeature;
use crate::quantity::Quantity;
use keyvault_common::cloud::Cloud;
use keyvault_common::duration::Span;
use keyvault_common::names::AbsolutePath;
use keyvault_common::yaml::{Kind, Node};
use keyvault_common::yaml_fields::{Fields, Problems, parse_node};

mod agent;
mod tls;

impl Config {
    /// Reads the operator's file; `file` is its name, for messages only.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn parse(text: &str, file: &str) -> Result<Config, ConfigError> {
        let mut problems = Problems::default();
        let root = match Node::parse(text) {
            Ok(root) => root,
            Err(error) => return Err(ConfigError(format!("{file}:{}:{}: {}", error.line, error.column, error.message))),
        };
        let config = Fields::of(&root, "", &mut problems).map(|fields| config(fields, &mut problems));
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(ConfigError(problems.in_file(file))),
        }
    }
}

impl Default for Config {
    /// What an empty file means.
    fn default() -> Config {
        let empty = Node { line: 1, column: 1, kind: Kind::Map(Vec::new()) };
        let mut problems = Problems::default();
        let fields = Fields::of(&empty, "", &mut problems);
        #[allow(clippy::expect_used)] // a map is a map
        config(fields.expect("an empty map has fields"), &mut problems)
    }
}

fn config(mut fields: Fields<'_>, problems: &mut Problems) -> Config {
    let config = Config {
        cloud: cloud(&mut fields, problems),
        allowed_vault_hosts: fields.parse_list::<Host>("allowedVaultHosts", problems).unwrap_or_default().into_iter().map(|host| host.0).collect(),
        excluded_containers: fields.parse_list("excludedContainers", problems).unwrap_or_else(excluded_by_default),
        features: section(&mut fields, "features", problems, features),
        agent: section(&mut fields, "agent", problems, agent::agent),
        defaults: section(&mut fields, "defaults", problems, defaults),
        server: section(&mut fields, "server", problems, server),
        policy: section(&mut fields, "policy", problems, policy),
    };
    if let Some(node) = fields.take("defaults") {
        check_defaults(&config, node, problems);
    }
    fields.finish(problems);
    config
}

/// What only shows when the file is read whole.
fn check_defaults(config: &Config, node: &Node, problems: &mut Problems) {
    if let Some(Err(problem)) = config.defaults.vault.as_ref().map(|vault| config.vault_address(vault)) {
        problems.add(node, "defaults.vault", problem);
    }
    let amounts = [("defaults.agentResources", &config.defaults.agent_resources), ("defaults.sidecarResources", &config.defaults.sidecar_resources)];
    for (path, resources) in amounts {
        for problem in resources.disorder() {
            problems.add(node, path, problem);
        }
    }
}

/// Reads a map below the root; an absent one is read as empty, which gives its defaults.
fn section<T>(fields: &mut Fields<'_>, key: &'static str, problems: &mut Problems, read: impl FnOnce(&mut Fields<'_>, &mut Problems) -> T) -> T {
    let empty = Node { line: 1, column: 1, kind: Kind::Map(Vec::new()) };
    let node = fields.take(key).unwrap_or(&empty);
    let path = fields.path(key);
    #[allow(clippy::expect_used)] // a map is a map
    let mut below = Fields::of(node, &path, problems).unwrap_or_else(|| Fields::of(&empty, &path, problems).expect("an empty map has fields"));
    let value = read(&mut below, problems);
    below.finish(problems);
    value
}

fn excluded_by_default() -> Vec<String> {
    ["istio-proxy", "istio-init", "istio-validation", "linkerd-proxy", "linkerd-init", "azwi-proxy"].map(str::to_owned).to_vec()
}

fn cloud(fields: &mut Fields<'_>, problems: &mut Problems) -> Cloud {
    let Some(node) = fields.take("cloud") else { return Cloud::public() };
    if node.text().is_some() {
        return parse_node(node, "cloud", problems).unwrap_or_else(Cloud::public);
    }
    let mut cloud = Cloud::public();
    let Some(mut fields) = Fields::of(node, "cloud", problems) else { return cloud };
    if let Some(suffix) = fields.parse::<Host>("vaultSuffix", problems) {
        cloud.vault_suffix = suffix.0;
    }
    if let Some(resource) = fields.parse::<HttpsOrigin>("resource", problems) {
        cloud.resource = resource.0;
    }
    if let Some(authority) = fields.parse::<HttpsOrigin>("authorityHost", problems) {
        cloud.authority_host = authority.0;
    }
    cloud.federation_audience = fields.parse("federationAudience", problems).unwrap_or(cloud.federation_audience);
    cloud.verify_challenge = fields.bool("verifyChallenge", problems).unwrap_or(true);
    fields.finish(problems);
    cloud
}

fn features(fields: &mut Fields<'_>, problems: &mut Problems) -> Features {
    let mut switch = |feature: NodeFeature| fields.parse::<Switch>(feature.key(), problems).unwrap_or_default();
    Features {
        env_files: switch(NodeFeature::EnvFiles),
        image_volumes: switch(NodeFeature::ImageVolumes),
        restart_in_place: switch(NodeFeature::RestartInPlace),
    }
}

fn defaults(fields: &mut Fields<'_>, problems: &mut Problems) -> Defaults {
    let mut amounts = |key, built_in: Resources| {
        let path = fields.path(key);
        match fields.take(key) {
            Some(node) => resources(node, &path, problems).over(&built_in),
            None => built_in,
        }
    };
    let (agent_resources, sidecar_resources) = (amounts("agentResources", built_in("500m")), amounts("sidecarResources", built_in("100m")));
    Defaults {
        identity: fields.parse("identity", problems).unwrap_or(IdentityKind::Workload),
        client_id: fields.parse("clientId", problems),
        tenant_id: fields.parse("tenantId", problems),
        vault: fields.parse("vault", problems),
        mount_path: fields.parse::<MountPath>("mountPath", problems).map_or_else(default_mount_path, |path| path.0),
        file_mode: fields.parse("fileMode", problems),
        deadline: fields.parse::<Deadline>("deadline", problems).map_or(Span::seconds(120), |deadline| deadline.0),
        refresh: fields.parse("refresh", problems).unwrap_or(Refresh::Off),
        agent_resources,
        sidecar_resources,
    }
}

#[allow(clippy::expect_used)] // a constant
fn default_mount_path() -> AbsolutePath {
    "/keyvault".parse().expect("/keyvault is an absolute path")
}

fn built_in(cpu_limit: &str) -> Resources {
    let quantity = |text: &str| text.parse().ok();
    Resources {
        requests: Amounts { cpu: quantity("10m"), memory: quantity("16Mi"), ephemeral_storage: None },
        limits: Amounts { cpu: quantity(cpu_limit), memory: quantity("32Mi"), ephemeral_storage: None },
    }
}

fn server(fields: &mut Fields<'_>, problems: &mut Problems) -> ServerConfig {
    ServerConfig {
        listen: fields.parse::<Listen>("listen", problems).map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8443)), |listen| listen.0),
        health_listen: fields.parse::<Listen>("healthListen", problems).map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8080)), |listen| listen.0),
        drain_delay: fields.parse::<Span>("drainDelay", problems).map_or(Duration::from_secs(10), Span::get),
        client_ca_file: fields.parse::<PathBuf>("clientCaFile", problems),
        tls: tls::source(fields, problems),
        registration: fields.parse::<Subdomain>("registration", problems).map_or_else(|| REGISTRATION.to_owned(), |name| name.0),
        service: fields.parse::<ServiceName>("service", problems).map_or_else(|| NAME.to_owned(), |name| name.0),
    }
}

fn policy(fields: &mut Fields<'_>, problems: &mut Problems) -> Policy {
    Policy {
        mode: fields.parse("mode", problems).unwrap_or(PolicyMode::Enforce),
        allow_shared_identities: fields.bool("allowSharedIdentities", problems).unwrap_or(false),
    }
}

/// Reads `{requests: {…}, limits: {…}}`.
fn resources(node: &Node, path: &str, problems: &mut Problems) -> Resources {
    let Some(mut fields) = Fields::of(node, path, problems) else { return Resources::default() };
    let mut amounts = |key| {
        let Some(mut below) = fields.map(key, problems) else { return Amounts::default() };
        let amounts = Amounts {
            cpu: below.parse("cpu", problems),
            memory: below.parse("memory", problems),
            ephemeral_storage: below.parse("ephemeral-storage", problems),
        };
        below.finish(problems);
        amounts
    };
    let resources = Resources { requests: amounts("requests"), limits: amounts("limits") };
    fields.finish(problems);
    resources
}

impl std::str::FromStr for Resources {
    type Err = String;

    /// The annotation's text: the same YAML map as in the file.
    fn from_str(text: &str) -> Result<Resources, String> {
        let node = Node::parse(text).map_err(|error| error.to_string())?;
        let mut problems = Problems::default();
        let resources = resources(&node, "", &mut problems);
        if problems.0.is_empty() {
            return Ok(resources);
        }
        Err(problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}

impl Resources {
    /// Each request that is more than its limit, as a sentence.
    pub(crate) fn disorder(&self) -> Vec<String> {
        let (requests, limits) = (&self.requests, &self.limits);
        let pairs = [
            ("cpu", &requests.cpu, &limits.cpu),
            ("memory", &requests.memory, &limits.memory),
            ("ephemeral-storage", &requests.ephemeral_storage, &limits.ephemeral_storage),
        ];
        let compare = |(name, request, limit): (&str, &Option<Quantity>, &Option<Quantity>)| match (request, limit) {
            (Some(request), Some(limit)) if request > limit => {
                Some(format!("the {name} request {request} is more than the limit {limit}: lower one or raise the other"))
            }
            _ => None,
        };
        pairs.into_iter().filter_map(compare).collect()
    }

    /// These, and `base`'s where these are silent.
    #[must_use]
    pub fn over(&self, base: &Resources) -> Resources {
        Resources { requests: self.requests.over(&base.requests), limits: self.limits.over(&base.limits) }
    }
}

impl Amounts {
    /// Lowers each amount that is more than that of `most`.
    pub(crate) fn lower_to(&mut self, most: &Amounts) {
        let pairs = [(&mut self.cpu, &most.cpu), (&mut self.memory, &most.memory), (&mut self.ephemeral_storage, &most.ephemeral_storage)];
        for (amount, most) in pairs {
            if let (Some(amount), Some(most)) = (amount, most)
                && *amount > *most
            {
                amount.clone_from(most);
            }
        }
    }

    fn over(&self, base: &Amounts) -> Amounts {
        let pick = |own: &Option<_>, base: &Option<_>| own.clone().or_else(|| base.clone());
        Amounts {
            cpu: pick(&self.cpu, &base.cpu),
            memory: pick(&self.memory, &base.memory),
            ephemeral_storage: pick(&self.ephemeral_storage, &base.ephemeral_storage),
        }
    }
}

#[cfg(test)]
mod tests;
