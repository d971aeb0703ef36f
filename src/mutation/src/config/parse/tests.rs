use super::*;
use crate::config::{ProxyConfig, SelfManaged, TlsSource};

fn problems(text: &str) -> String {
    Config::parse(text, "config.yaml").unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    let config = Config::parse("", "config.yaml").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.cloud, Cloud::public());
    assert_eq!(config.server.tls, TlsSource::SelfManaged(SelfManaged::default()));
    assert_eq!((config.server.registration.as_str(), config.server.service.as_str()), ("zz-keyvault-injector", "keyvault-injector"));
    assert_eq!((config.defaults.mount_path.as_str(), config.defaults.deadline.to_string().as_str()), ("/keyvault", "2m"));
    assert!(config.excluded_containers.contains(&"istio-proxy".to_owned()));
}

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(
        r#"
cloud:
  vaultSuffix: vault.localhost:8443
  resource: https://vault.azure.net
  authorityHost: https://localhost:8443/
  federationAudience: api://AzureADTokenExchange
  verifyChallenge: false
allowedVaultHosts: [hsm.example, "proxy.example:8443"]
excludedContainers: []
features: {envFiles: "on", imageVolumes: off, restartInPlace: auto}
agent: {image: registry.example/keyvault-injector:0.1.0, imagePullPolicy: Never, extraCaFile: /ca.pem, managedIdentityEndpoint: "http://127.0.0.1:8080", logLevel: debug}
defaults: {identity: managed-identity, vault: payments, mountPath: /secrets, deadline: 30s, fileMode: 0440, refresh: 5m, agentResources: {limits: {memory: 64Mi}}}
server: {listen: "127.0.0.1:0", healthListen: "127.0.0.1:0", drainDelay: 0s, clientCaFile: c, tls: {certFile: a, keyFile: b}}
policy: {mode: audit, allowSharedIdentities: true}
"#,
        "config.yaml",
    )
    .unwrap();
    assert_eq!(config.cloud.authority_host, "https://localhost:8443");
    assert!(!config.cloud.verify_challenge);
    assert_eq!(config.allowed_vault_hosts, ["hsm.example", "proxy.example:8443"]);
    assert_eq!(config.features, Features { env_files: Switch::On, image_volumes: Switch::Off, restart_in_place: Switch::Auto });
    assert_eq!(config.defaults.agent_resources.limits.memory.as_ref().map(ToString::to_string), Some("64Mi".into()));
    assert_eq!(config.defaults.agent_resources.requests.memory.as_ref().map(ToString::to_string), Some("16Mi".into()));
    assert_eq!(config.server.client_ca_file, Some("c".into()));
    assert_eq!(config.policy, Policy { mode: PolicyMode::Audit, allow_shared_identities: true });
}

#[test]
fn every_problem_comes_with_file_line_path_and_reason() {
    assert_eq!(
        problems(
            "cloud: AzurePublic\nagnet: {}\nfeatures: {envFiles: true}\ndefaults:\n  identity: msi\n  mountPath: /etc/x\n  deadline: 2h\n  refresh: 5s\nserver: {listen: here, tls: {certFile: a}}\npolicy: {mode: warn}\n"
        ),
        "config.yaml:1:8: cloud: \"AzurePublic\" is not a cloud: write AzurePublicCloud, AzureChinaCloud, AzureUSGovernment, or a map of its addresses\n\
         config.yaml:3:22: features.envFiles: \"true\" is not a switch: auto, on or off\n\
         config.yaml:5:13: defaults.identity: \"msi\" is not an identity: workload-identity, managed-identity, pod-identity or service-principal\n\
         config.yaml:6:14: defaults.mountPath: \"/etc/x\" is not a mount path: neither / nor in or above /etc, /usr, /bin, /sbin, /lib, /lib32, /lib64, /libx32, /dev, /proc, /sys, /run/secrets, /var/run/secrets or /keyvault-injector\n\
         config.yaml:7:13: defaults.deadline: \"2h\" is not a deadline: from 1s to 1h\n\
         config.yaml:8:12: defaults.refresh: \"5s\" is not a refresh interval: off, or a duration of at least 30s such as 5m\n\
         config.yaml:9:18: server.listen: \"here\" is not an address to listen on: an IP address and a port, such as 0.0.0.0:8443\n\
         config.yaml:9:29: server.tls: certFile and keyFile are both needed\n\
         config.yaml:10:16: policy.mode: \"warn\" is not a policy mode: enforce or audit\n\
         config.yaml:2:1: agnet: unknown key; did you mean agent?"
    );
    assert_eq!(
        problems("agent: {managedIdentityEndpoint: \"https://127.0.0.1:8080\"}"),
        "config.yaml:1:34: agent.managedIdentityEndpoint: \"https://127.0.0.1:8080\" is not the address of a metadata service: http:// (never https://), a host and perhaps a port: no path or query"
    );
    assert_eq!(problems("a: ["), "config.yaml:1:4: unclosed bracket '['");
    assert_eq!(problems("- a"), "config.yaml:1:1: a map is expected here, not a list");
}

#[test]
fn defaults_that_no_pod_could_use_are_problems() {
    assert_eq!(
        problems("defaults:\n  vault: https://vault.evil.example\n  agentResources: {requests: {cpu: 1}}\n"),
        "config.yaml:2:3: defaults.vault: https://vault.evil.example is not a vault here: name a host NAME.vault.azure.net, or ask the operator to list vault.evil.example in allowedVaultHosts\n\
         config.yaml:2:3: defaults.agentResources: the cpu request 1 is more than the limit 500m: lower one or raise the other"
    );
    let listed = "allowedVaultHosts: [vault.example]\ndefaults: {vault: \"https://vault.example\"}";
    assert!(Config::parse(listed, "config.yaml").is_ok());
}

#[test]
fn no_mount_hides_what_containers_need() {
    for path in ["/", "/etc", "/etc/ssl", "/usr/local", "/var", "/var/run", "/var/run/secrets/x", "/proc"] {
        assert!(path.parse::<MountPath>().is_err(), "{path}");
    }
    for path in ["/keyvault", "/etcetera", "/var/lib/app", "/mnt/secrets"] {
        assert!(path.parse::<MountPath>().is_ok(), "{path}");
    }
}

fn tls(text: &str) -> Result<TlsSource, String> {
    Config::parse(&format!("server: {{tls: {text}}}"), "config.yaml").map(|config| config.server.tls).map_err(|error| error.to_string())
}

#[test]
fn certificates_of_our_own_have_settings() {
    let settings =
        SelfManaged { leaf_lifetime: Duration::from_secs(6), ca_lifetime: Duration::from_secs(18), names: vec!["127.0.0.1".into(), "::1".into()] };
    let text = "{selfManaged: {leafLifetime: 6s, caLifetime: 18s, names: [127.0.0.1, \"0:0:0:0:0:0:0:1\"]}}";
    assert_eq!(tls(text), Ok(TlsSource::SelfManaged(settings)));
    for (text, problem) in [
        (
            "{selfManaged: {leafLifetime: 6s, caLifetime: 17s}}",
            "1:29: server.tls.selfManaged: caLifetime is 17 seconds, less than 3 times leafLifetime (6 seconds): raise it, or lower leafLifetime",
        ),
        (
            "{selfManaged: {leafLifetime: 2s}}",
            "1:44: server.tls.selfManaged.leafLifetime: \"2s\" is not the lifetime of a certificate: whole seconds, from 3s to ten years (87600h)",
        ),
        (
            "{selfManaged: {leafLifetime: 4500ms}}",
            "1:44: server.tls.selfManaged.leafLifetime: \"4500ms\" is not the lifetime of a certificate: whole seconds, from 3s to ten years (87600h)",
        ),
        (
            "{selfManaged: {names: ['*.example']}}",
            "1:38: server.tls.selfManaged.names[0]: \"*.example\" is not a name for a certificate: an IP address, or a DNS name in lower case without a wildcard",
        ),
        ("{selfManaged: {}, certFile: a}", "1:15: server.tls: selfManaged and files exclude each other: keep one"),
        ("self-managed", "1:15: server.tls: write selfManaged, or a map of selfManaged, or of certFile and keyFile"),
    ] {
        assert_eq!(tls(text), Err(format!("config.yaml:{problem}")), "{text}");
    }
}

#[test]
fn names_in_the_cluster_are_checked() {
    let config = Config::parse("server: {registration: aa.hook, service: hook}", "config.yaml").unwrap();
    assert_eq!((config.server.registration.as_str(), config.server.service.as_str()), ("aa.hook", "hook"));
    assert_eq!(
        problems("server: {registration: A, service: a.b}"),
        "config.yaml:1:24: server.registration: \"A\" is not the name of a registration: lower-case letters, digits, hyphens and dots, as in zz-keyvault-injector\n\
         config.yaml:1:36: server.service: \"a.b\" is not the name of a Service: 1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"
    );
}

#[test]
fn proxies_are_read_and_a_password_is_neither_taken_nor_quoted() {
    let config = Config::parse(
        "agent:\n  proxy: {httpsProxy: http://proxy.example:3128/, noProxy: [.svc, 10.0.0.0/8]}\n  tokenProxy: {url: \"https://proxy.aks:6443\", caFile: /ca.crt}\n",
        "config.yaml",
    );
    let agent = config.unwrap().agent;
    assert_eq!(agent.proxy, Some(ProxyConfig { https_proxy: "http://proxy.example:3128".into(), no_proxy: ".svc,10.0.0.0/8".into() }));
    let proxy = agent.token_proxy.unwrap();
    assert_eq!(
        (proxy.url.as_str(), proxy.sni_name.as_str(), proxy.audience.as_str()),
        ("https://proxy.aks:6443", "proxy.aks", "api://AKSIdentityBinding")
    );

    assert_eq!(
        problems(
            "agent:\n  proxy: {httpsProxy: \"http://user:sesame@proxy:3128\", noProxy: [\"a,$(B)\"]}\n  tokenProxy: {url: \"http://proxy.aks\"}\n"
        ),
        "config.yaml:3:21: agent.tokenProxy.url: \"http://proxy.aks\" is not an https address: https://, a host and perhaps a port: no user, path or query\n\
         config.yaml:3:15: agent.tokenProxy: url and caFile are both needed\n\
         config.yaml:2:23: agent.proxy.httpsProxy: \"…@proxy:3128\" is not a proxy for agents: user and password would be in every pod, so the proxy has to let the cluster's addresses pass without\n\
         config.yaml:2:66: agent.proxy.noProxy[0]: \"a,$(B)\" is not an exception from the proxy: a DNS name, .domain, IP address or network such as 10.0.0.0/8"
    );
    for (proxy, problem) in [
        (
            "https://proxy",
            "config.yaml:1:29: agent.proxy.httpsProxy: \"https://proxy\" is not a proxy for agents: http://, a host and perhaps a port: no path or query",
        ),
        ("null", "config.yaml:1:16: agent.proxy: httpsProxy is needed"),
    ] {
        assert_eq!(problems(&format!("agent: {{proxy: {{httpsProxy: {proxy}}}}}\n")), problem);
    }
}

#[test]
fn a_mirror_is_a_registry_and_perhaps_a_path() {
    let mirrors = |list: &str| Config::parse(&format!("agent: {{imageMirrors: [{list}]}}\n"), "config.yaml").map(|config| config.agent.image_mirrors);
    assert_eq!(
        mirrors(r#"mirror.example, "mirror.example:5000/proxy/", localhost"#).unwrap(),
        ["mirror.example", "mirror.example:5000/proxy", "localhost"]
    );
    for bad in ["", "mirror", "https://mirror.example", "mirror.example/a:1", "mirror.example/a@sha256:b", "mirror.example//a", "mirror.example/A"] {
        let expected = format!(
            "config.yaml:1:24: agent.imageMirrors[0]: {bad:?} is not the prefix of a mirror: a registry and perhaps a path, such as mirror.example:5000/proxy: no https://, tag or digest"
        );
        assert_eq!(mirrors(&format!("{bad:?}")).map_err(|error| error.to_string()), Err(expected));
    }
}

#[test]
fn the_sidecar_has_separate_amounts() {
    let config = Config::parse("defaults: {sidecarResources: {requests: {cpu: 20m}}}\n", "config.yaml").unwrap();
    let cpu = |resources: &Resources| (resources.requests.cpu.clone().unwrap().to_string(), resources.limits.cpu.clone().unwrap().to_string());
    assert_eq!(cpu(&config.defaults.sidecar_resources), ("20m".to_owned(), "100m".to_owned()));
    assert_eq!(cpu(&config.defaults.agent_resources), ("10m".to_owned(), "500m".to_owned()));
    assert_eq!(
        problems("defaults: {sidecarResources: {requests: {cpu: 1}}}\n"),
        "config.yaml:1:11: defaults.sidecarResources: the cpu request 1 is more than the limit 100m: lower one or raise the other"
    );
}

#[test]
fn places_that_programs_need_are_no_mount_path() {
    for path in ["/", "/sbin", "/lib64/x", "/run", "/run/secrets/x", "/var", "/var/run/secrets", "/keyvault-injector/bin"] {
        assert!(problems(&format!("defaults: {{mountPath: {path}}}\n")).contains(" is not a mount path: neither / nor in or above "), "{path}");
    }
    for path in ["/run/app", "/srv", "/library", "/var/run/app"] {
        assert!(Config::parse(&format!("defaults: {{mountPath: {path}}}\n"), "config.yaml").is_ok(), "{path}");
    }
}
