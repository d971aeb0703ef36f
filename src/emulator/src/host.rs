//! What the name and the port by which a client calls say: which cloud it believes to be in, and how it gets to the token endpoint.

use std::net::IpAddr;

use keyvault_common::cloud::Cloud;

/// A `Host` header taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'h> {
    name: &'h str,
    /// With its colon, or empty.
    port: &'h str,
}

impl<'h> Host<'h> {
    pub(super) fn new(host: &'h str) -> Host<'h> {
        let colon = host.rfind(':').filter(|colon| !host[*colon..].contains(']')).unwrap_or(host.len());
        let (name, port) = host.split_at(colon);
        Host { name, port }
    }

    /// The first label, which may be a vault's name.
    pub(super) fn label(self) -> &'h str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// Whether it names a machine and not something in a domain.
    pub(super) fn is_bare(self) -> bool {
        let address = self.name.trim_matches(['[', ']']);
        !self.name.contains('.') || address.parse::<IpAddr>().is_ok()
    }

    /// The audience that a vault expects when it is called by this name.
    pub(super) fn resource(self) -> String {
        self.cloud().unwrap_or_else(Cloud::public).resource
    }

    /// Where the same client finds the token endpoint, without a slash at the end.
    pub(super) fn authority(self) -> String {
        match self.cloud() {
            Some(cloud) => format!("{}{}", cloud.authority_host, self.port),
            None if self.name.ends_with(".localhost") => format!("https://localhost{}", self.port),
            None => format!("https://{}{}", self.name, self.port),
        }
    }

    /// The cloud whose vaults have such names.
    fn cloud(self) -> Option<Cloud> {
        let name = self.name.to_ascii_lowercase();
        clouds().find(|cloud| name.strip_suffix(&cloud.vault_suffix).is_some_and(|label| label.ends_with('.')))
    }
}

/// Azure's clouds, the public one first.
pub(super) fn clouds() -> impl Iterator<Item = Cloud> {
    Cloud::NAMES.into_iter().filter_map(|name| name.parse().ok())
}
