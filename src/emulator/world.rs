//! Everything that the services share while the emulator runs.

use crate::duration::Span;
use crate::names::Guid;

use super::clock;
use super::config::{Config, ManagedIdentity, Tenant};
use super::faults::Faults;
use super::journal::Journal;
use super::tokens::{self, Claims, TokenKey};
use super::vault::LiveVault;

/// The running emulator.
pub(super) struct World {
    pub(super) tenants: Vec<Tenant>,
    pub(super) managed_identities: Vec<ManagedIdentity>,
    vaults: Vec<LiveVault>,
    token_lifetime: Option<Span>,
    pub(super) token_key: TokenKey,
    /// `https://localhost:PORT`.
    pub(super) authority: String,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
}

impl World {
    pub(super) fn new(config: Config, token_key: TokenKey, authority: String) -> Result<World, String> {
        let first_tenant = config.tenants[0].id.clone();
        Ok(World {
            tenants: config.tenants,
            managed_identities: config.managed_identities,
            vaults: config.vaults.into_iter().map(|vault| LiveVault::new(vault, &first_tenant)).collect::<Result<_, _>>()?,
            token_lifetime: config.token_lifetime,
            token_key,
            authority,
            faults: Faults::default(),
            journal: Journal::default(),
        })
    }

    /// The vault whose name is the first label of the host; the first vault for any other host.
    pub(super) fn vault(&self, host: &str) -> &LiveVault {
        let label = host.split(['.', ':']).next().unwrap_or_default();
        self.vaults.iter().find(|vault| vault.name().eq_ignore_ascii_case(label)).unwrap_or(&self.vaults[0])
    }

    /// A token for `client_id`, and its lifetime in seconds (`usual` where the configuration says nothing).
    pub(super) fn token(&self, resource: &str, tenant: &Guid, client_id: &Guid, object_id: &Guid, usual: u64) -> (String, Claims) {
        let now = clock::now();
        let claims = Claims {
            aud: resource.to_owned(),
            iss: tokens::issuer(tenant),
            iat: now,
            nbf: now,
            exp: now + self.token_lifetime.map_or(usual, |span| span.get().as_secs()),
            appid: client_id.clone(),
            oid: object_id.clone(),
            tid: tenant.clone(),
        };
        (self.token_key.mint(&claims), claims)
    }
}

/// Where vaults live, the public cloud first.
const SUFFIXES: [&str; 3] = ["vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net"];

/// The audience that a vault expects when it is called by this host name.
pub(super) fn resource_of(host: &str) -> String {
    let name = host.split(':').next().unwrap_or_default();
    let under = |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|label| label.ends_with('.'));
    format!("https://{}", SUFFIXES.into_iter().find(under).unwrap_or(SUFFIXES[0]))
}

/// Whether Entra knows the resource. Key Vault's with a slash at the end is known, and refused by vaults; so are two that are no vault at all.
pub(super) fn is_known_resource(resource: &str) -> bool {
    let host = resource.strip_prefix("https://").unwrap_or_default();
    let host = host.strip_suffix('/').unwrap_or(host);
    SUFFIXES.contains(&host) || ["management.azure.com", "graph.microsoft.com"].contains(&host)
}
