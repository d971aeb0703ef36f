//! The Azure clouds: where vaults live, who signs tokens, what the tokens are for.

use std::fmt;
use std::str::FromStr;

use crate::names::{NameError, VaultUrl, serde_text};

/// One Azure cloud, or a private imitation of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// What follows `NAME.` in a vault's address; may carry a port (`vault.localhost:8443`).
    pub vault_suffix: String,
    /// The token audience for Key Vault, without a slash at its end (`https://vault.azure.net`); the scope is this plus `/.default`.
    pub resource: String,
    /// Entra's address without a slash at its end (`https://login.microsoftonline.com`).
    pub authority_host: String,
    /// The audience of the ServiceAccount token that is exchanged (`api://AzureADTokenExchange`).
    pub federation_audience: String,
    /// Whether the agent insists that vault host and challenge belong to `resource`. Off for emulators only.
    pub verify_challenge: bool,
}

/// A cloud name that is not one of [`Cloud::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cloud: write {names}, or a map of its addresses", names = Cloud::NAMES.join(", "))]
pub struct UnknownCloud(String);

impl Cloud {
    /// The names that [`FromStr`] reads, as Azure spells them.
    pub const NAMES: [&'static str; 3] = ["AzurePublicCloud", "AzureChinaCloud", "AzureUSGovernment"];

    /// The public cloud, the default everywhere.
    #[must_use]
    pub fn public() -> Cloud {
        Cloud::known("vault.azure.net", "login.microsoftonline.com", "api://AzureADTokenExchange")
    }

    fn known(vault_suffix: &str, authority: &str, audience: &str) -> Cloud {
        Cloud {
            vault_suffix: vault_suffix.to_owned(),
            resource: format!("https://{vault_suffix}"),
            authority_host: format!("https://{authority}"),
            federation_audience: audience.to_owned(),
            verify_challenge: true,
        }
    }

    /// Whether `url` is `NAME.` + the vault suffix, port included.
    #[must_use]
    pub fn is_vault(&self, url: &VaultUrl) -> bool {
        let authority = url.authority().to_ascii_lowercase();
        let suffix = self.vault_suffix.to_ascii_lowercase();
        let suffix = suffix.strip_suffix(":443").unwrap_or(&suffix);
        authority.strip_suffix(suffix).and_then(|name| name.strip_suffix('.')).is_some_and(|name| !name.is_empty() && !name.contains('.'))
    }
}

impl FromStr for Cloud {
    type Err = UnknownCloud;

    fn from_str(name: &str) -> Result<Cloud, UnknownCloud> {
        match name {
            "AzurePublicCloud" => Ok(Cloud::public()),
            "AzureChinaCloud" => Ok(Cloud::known("vault.azure.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina")),
            "AzureUSGovernment" => Ok(Cloud::known("vault.usgovcloudapi.net", "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov")),
            other => Err(UnknownCloud(other.to_owned())),
        }
    }
}

/// The address of a node's metadata service, `http://HOST[:PORT]`. Plain HTTP is what keeps it away from proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEndpoint(String);

impl MetadataEndpoint {
    /// The address without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetadataEndpoint {
    type Err = NameError;

    fn from_str(text: &str) -> Result<MetadataEndpoint, NameError> {
        let origin = text.strip_suffix('/').unwrap_or(text);
        match origin.strip_prefix("http://").map(|rest| format!("https://{rest}").parse::<VaultUrl>()) {
            Some(Ok(_)) if !origin.ends_with('/') => Ok(MetadataEndpoint(origin.to_owned())),
            _ => Err(NameError::new(
                "the address of a metadata service",
                text,
                "http:// (never https://), a host and perhaps a port: no path or query",
            )),
        }
    }
}

impl fmt::Display for MetadataEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
serde_text!(MetadataEndpoint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_service_is_asked_over_plain_http() {
        for (text, address) in [("http://127.0.0.1:8080", "http://127.0.0.1:8080"), ("http://metadata.example/", "http://metadata.example")] {
            assert_eq!(text.parse::<MetadataEndpoint>().unwrap().as_str(), address);
        }
        for text in ["https://127.0.0.1", "127.0.0.1", "http://", "http://a/b", "http://a//", "http://a?b", "http://u@a", "http://a:0", ""] {
            let error = text.parse::<MetadataEndpoint>().unwrap_err().to_string();
            let rule = "is not the address of a metadata service: http:// (never https://), a host and perhaps a port: no path or query";
            assert_eq!(error, format!("{text:?} {rule}"));
        }
    }

    #[test]
    fn every_name_is_a_cloud_and_its_resource_is_its_vault_suffix() {
        for name in Cloud::NAMES {
            let cloud: Cloud = name.parse().unwrap();
            assert_eq!(cloud.resource, format!("https://{}", cloud.vault_suffix));
        }
        assert_eq!(
            "AzureGermanCloud".parse::<Cloud>().unwrap_err().to_string(),
            "\"AzureGermanCloud\" is not a cloud: write AzurePublicCloud, AzureChinaCloud, AzureUSGovernment, or a map of its addresses"
        );
    }

    #[test]
    fn only_one_label_before_the_suffix_is_a_vault() {
        let cloud = Cloud::public();
        for (url, expected) in [
            ("https://payments.vault.azure.net", true),
            ("https://payments.vault.azure.net:443", true),
            ("https://Payments.VAULT.azure.net", true),
            ("https://payments.vault.azure.net:8443", false),
            ("https://vault.azure.net", false),
            ("https://evil.payments.vault.azure.net", false),
            ("https://payments.vault.azure.net.evil.example", false),
            ("https://paymentsvault.azure.net", false),
        ] {
            assert_eq!(cloud.is_vault(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
