//! Whose image a container of our name runs: the operator's, a mirror of it, or a stranger's.

use crate::config::AgentConfig;

/// Whether an image comes from the configured repository or a listed mirror of it, or has the configured digest.
pub(super) fn is_trusted(current: &str, agent: &AgentConfig) -> bool {
    let (current, desired) = (Image::of(current), Image::of(&agent.image));
    let is_copy = |rest: &str| desired.repository == rest || desired.repository.strip_suffix(rest).is_some_and(|path| path.ends_with('/'));
    let mirrored = |prefix: &String| current.repository.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_copy);
    current.repository == desired.repository
        || (desired.digest.is_some() && current.digest == desired.digest)
        || agent.image_mirrors.iter().any(mirrored)
}

/// Whether a trusted image is also the configured version: webhooks that rewrite images between two passes change the registry or pin a digest.
/// A digest alone does not say which version it is: the plan that came with it does.
pub(super) fn is_desired(current: &str, same_plan: bool, agent: &AgentConfig) -> bool {
    let (image, desired) = (Image::of(current), Image::of(&agent.image));
    is_trusted(current, agent)
        && match desired.digest {
            Some(digest) => image.digest == Some(digest),
            None => image.tag == desired.tag || (same_plan && image.tag.is_none() && image.digest.is_some()),
        }
}

/// What the API server writes where a container does not say when its image is pulled.
pub(super) fn default_pull_policy(image: &str) -> &'static str {
    let image = Image::of(image);
    match (image.tag, image.digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

/// The parts of an image reference.
struct Image<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl Image<'_> {
    fn of(reference: &str) -> Image<'_> {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        // A colon before the last slash belongs to the registry's port.
        match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((repository, tag)) => Image { repository, tag: Some(tag), digest },
            None => Image { repository: rest, tag: None, digest },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn agent(image: &str) -> AgentConfig {
        let text = format!("agent: {{image: \"{image}\", imageMirrors: [\"mirror.example:5000/proxy\"]}}\n");
        Config::parse(&text, "config.yaml").unwrap().agent
    }

    #[test]
    fn only_the_configured_repository_and_its_listed_mirrors_are_trusted() {
        let agent = agent("registry.example/team/keyvault-injector:0.1.0");
        for (image, trusted, desired) in [
            ("registry.example/team/keyvault-injector:0.1.0", true, true),
            ("registry.example/team/keyvault-injector@sha256:abc", true, true),
            ("registry.example/team/keyvault-injector:0.1.0@sha256:abc", true, true),
            ("mirror.example:5000/proxy/registry.example/team/keyvault-injector:0.1.0", true, true),
            ("mirror.example:5000/proxy/team/keyvault-injector@sha256:abc", true, true),
            ("mirror.example:5000/proxy/keyvault-injector:0.1.0", true, true),
            ("registry.example/team/keyvault-injector:0.0.9", true, false),
            ("registry.example/team/keyvault-injector", true, false),
            ("mirror.example:5000/proxy/keyvault-injector:0.0.9@sha256:abc", true, false),
            ("mirror.example:5000/proxy/evil/keyvault-injector:0.1.0", false, false),
            ("mirror.example:5000/proxy/injector:0.1.0", false, false),
            ("mirror.example:5000/proxyevil/keyvault-injector:0.1.0", false, false),
            ("mirror.example/registry.example/team/keyvault-injector:0.1.0", false, false),
            ("evil.example/keyvault-injector:0.1.0", false, false),
            ("evil.example/keyvault-injector@sha256:abc", false, false),
            ("keyvault-injector:0.1.0", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_trusted(image, &agent), is_desired(image, true, &agent)), (trusted, desired), "{image}");
        }
        assert!(!is_desired("registry.example/team/keyvault-injector@sha256:abc", false, &agent), "another plan, perhaps another version");
    }

    #[test]
    fn a_pinned_image_is_known_by_its_digest_alone() {
        let agent = agent("registry.example/keyvault-injector:0.1.0@sha256:abc");
        for (image, trusted, desired) in [
            ("anywhere.example/other@sha256:abc", true, true),
            ("registry.example/keyvault-injector:0.1.0", true, false),
            ("registry.example/keyvault-injector:0.1.0@sha256:def", true, false),
            ("anywhere.example/other@sha256:def", false, false),
        ] {
            assert_eq!((is_trusted(image, &agent), is_desired(image, true, &agent)), (trusted, desired), "{image}");
        }
    }

    #[test]
    fn the_default_pull_policy_is_that_of_the_api_server() {
        for (image, policy) in
            [("a.example:5000/b", "Always"), ("b:latest", "Always"), ("b:1", "IfNotPresent"), ("a.example:5000/b@sha256:c", "IfNotPresent")]
        {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }
}
