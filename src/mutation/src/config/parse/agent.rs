//! The section about the injected container.

use std::path::PathBuf;

use crate::config::texts::{HttpsOrigin, ImagePrefix, NoProxy, ProxyOrigin, PullPolicy};
use crate::config::{AgentConfig, ProxyConfig, TokenProxyConfig};
use crate::texts::Image;
use keyvault_common::names::{LogLevel, VaultUrl};
use keyvault_common::yaml_fields::{Fields, Problems};

/// The audience that AKS gives the tokens of pods with an identity binding.
const BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

pub(super) fn agent(fields: &mut Fields<'_>, problems: &mut Problems) -> AgentConfig {
    AgentConfig {
        image: fields
            .parse::<Image>("image", problems)
            .map_or_else(|| concat!("keyvault-injector:", env!("CARGO_PKG_VERSION")).to_owned(), |image| image.0),
        image_mirrors: fields.parse_list::<ImagePrefix>("imageMirrors", problems).unwrap_or_default().into_iter().map(|prefix| prefix.0).collect(),
        image_pull_policy: fields.parse::<PullPolicy>("imagePullPolicy", problems).map(|policy| policy.0.to_owned()),
        extra_ca_file: fields.parse::<PathBuf>("extraCaFile", problems),
        extra_ca: None,
        managed_identity_endpoint: fields.parse("managedIdentityEndpoint", problems),
        token_proxy: token_proxy(fields, problems),
        proxy: proxy(fields, problems),
        log_level: fields.parse::<LogLevel>("logLevel", problems).unwrap_or_default(),
    }
}

fn token_proxy(above: &mut Fields<'_>, problems: &mut Problems) -> Option<TokenProxyConfig> {
    let (node, path) = (above.take("tokenProxy")?, above.path("tokenProxy"));
    let mut fields = Fields::of(node, &path, problems)?;
    let are_there = fields.take("url").is_some() && fields.take("caFile").is_some();
    let url = fields.parse::<HttpsOrigin>("url", problems);
    let ca_file = fields.parse::<PathBuf>("caFile", problems);
    let sni_name = fields.parse::<String>("sniName", problems);
    let audience = fields.parse::<String>("audience", problems).unwrap_or_else(|| BINDING_AUDIENCE.to_owned());
    fields.finish(problems);
    if !are_there {
        problems.add(node, &path, "url and caFile are both needed");
    }
    let url = url?.0;
    let sni_name = sni_name.or_else(|| url.parse().ok().map(|url: VaultUrl| url.host().to_owned()))?;
    Some(TokenProxyConfig { url, sni_name, ca_file: ca_file?, ca: String::new(), audience })
}

fn proxy(above: &mut Fields<'_>, problems: &mut Problems) -> Option<ProxyConfig> {
    let (node, path) = (above.take("proxy")?, above.path("proxy"));
    let mut fields = Fields::of(node, &path, problems)?;
    let is_there = fields.take("httpsProxy").is_some();
    let https_proxy = fields.parse::<ProxyOrigin>("httpsProxy", problems);
    let no_proxy = fields.parse_list::<NoProxy>("noProxy", problems).unwrap_or_default();
    fields.finish(problems);
    if !is_there {
        problems.add(node, &path, "httpsProxy is needed");
    }
    let no_proxy: Vec<String> = no_proxy.into_iter().map(|name| name.0).collect();
    Some(ProxyConfig { https_proxy: https_proxy?.0, no_proxy: no_proxy.join(",") })
}
