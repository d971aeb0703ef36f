//! What a configuration says and can never matter.

use super::{Config, Grant, Vault};
use keyvault_common::names::Guid;

/// Somebody who can ask for tokens.
struct Identity<'c> {
    tenant: &'c Guid,
    client_id: &'c Guid,
    object_id: &'c Guid,
}

impl Config {
    /// Permissions that nobody can use, and vaults that nobody may use: one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let identities = self.identities();
        let of_vault = |vault: &Vault| {
            let tenant = vault.tenant.as_ref().unwrap_or(&self.tenants[0].id);
            let unused = |grant: &Grant| {
                let reason = unusable(&grant.identity, tenant, &identities)?;
                Some(format!("vault {}: nobody can use the permissions of {}: {reason}", vault.name, grant.identity))
            };
            let none = vault.grants.is_empty().then(|| format!("vault {} has no permissions: every request gets 403", vault.name));
            none.into_iter().chain(vault.grants.iter().filter_map(unused)).collect::<Vec<_>>()
        };
        self.vaults.iter().flat_map(of_vault).collect()
    }

    fn identities(&self) -> Vec<Identity<'_>> {
        let mut identities = Vec::new();
        for tenant in &self.tenants {
            let applications = tenant.applications.iter();
            identities.extend(applications.map(|it| Identity { tenant: &tenant.id, client_id: &it.client_id, object_id: &it.object_id }));
        }
        let tenant = &self.tenants[0].id;
        identities.extend(self.managed_identities.iter().map(|it| Identity { tenant, client_id: &it.client_id, object_id: &it.object_id }));
        identities
    }
}

/// Why no token of a vault in `tenant` is ever for `id`.
fn unusable(id: &Guid, tenant: &Guid, identities: &[Identity<'_>]) -> Option<String> {
    let known: Vec<&Identity<'_>> = identities.iter().filter(|identity| identity.client_id == id).collect();
    if known.iter().any(|identity| identity.tenant == tenant) {
        return None;
    }
    if let Some(identity) = known.first() {
        return Some(format!("it belongs to tenant {}, and the vault takes tokens of tenant {tenant}", identity.tenant));
    }
    Some(match identities.iter().find(|identity| identity.object_id == id) {
        Some(identity) => format!("it is an object id; write the client id {}", identity.client_id),
        None => format!("no application and no managed identity of tenant {tenant} has this client id"),
    })
}
