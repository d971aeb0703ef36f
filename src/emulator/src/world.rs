//! Everything that the services share while the emulator runs.

use keyvault_common::duration::Span;
use keyvault_common::names::Guid;

use super::clock;
use super::config::{Config, ManagedIdentity, Tenant};
use super::faults::Faults;
use super::host::{self, Host};
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
    /// What clients must trust.
    pub(super) ca_pem: String,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
}

impl World {
    pub(super) fn new(config: Config, token_key: TokenKey, ca_pem: String) -> Result<World, String> {
        let first_tenant = config.tenants[0].id.clone();
        Ok(World {
            tenants: config.tenants,
            managed_identities: config.managed_identities,
            vaults: config.vaults.into_iter().map(|vault| LiveVault::new(vault, &first_tenant)).collect::<Result<_, _>>()?,
            token_lifetime: config.token_lifetime,
            token_key,
            ca_pem,
            faults: Faults::default(),
            journal: Journal::default(),
        })
    }

    /// The vault whose name is the first label of the host. The first vault, too, is called by names that are no vault's: `localhost`, an address,
    /// the name of a machine.
    pub(super) fn vault(&self, host: Host<'_>) -> Option<&LiveVault> {
        let named = self.vaults.iter().find(|vault| vault.name().eq_ignore_ascii_case(host.label()));
        named.or_else(|| self.vaults.first().filter(|_| host.is_bare()))
    }

    pub(super) fn vault_names(&self) -> String {
        self.vaults.iter().map(LiveVault::name).collect::<Vec<_>>().join(", ")
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

/// Whether Entra knows the resource. Key Vault's with a slash at the end is known, and refused by vaults; so are some that are no vault at all.
pub(super) fn is_known_resource(resource: &str) -> bool {
    let resource = resource.strip_suffix('/').unwrap_or(resource);
    host::clouds().any(|cloud| cloud.resource == resource || cloud.resource.replace("//vault.", "//managedhsm.") == resource)
        || ["https://management.azure.com", "https://graph.microsoft.com"].contains(&resource)
}
