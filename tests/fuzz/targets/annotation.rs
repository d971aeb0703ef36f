//! One annotation of a pod, on its way through the whole core. The first line of the input is its key, the rest its value.

#![no_main]

use std::sync::LazyLock;

use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Injection, NamespaceDefaults, ServiceAccountDefaults, inject};
use keyvault_mutation::nodes::{KubernetesVersion, NodeAnswers};
use keyvault_mutation::pod::PodView;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "policy: {allowSharedIdentities: true}\ndefaults: {vault: demo, tenantId: aaaabbbb-1111-4222-8333-444455556666}\n";
    Config::parse(text, "config.yaml").expect("the configuration is right")
});

fuzz_target!(|text: &str| {
    let (key, value) = text.split_once('\n').unwrap_or((text, ""));
    let annotations = json!({ format!("keyvault-injector.io/{key}"): value });
    let mut pod = json!({
        "metadata": { "name": "api", "annotations": annotations },
        "spec": { "serviceAccountName": "api", "containers": [{ "name": "api", "command": ["/app"] }, { "name": "audit", "command": ["/audit"] }] },
    });
    let Some(injection) = review(&pod) else { return };
    json_patch::patch(&mut pod, &injection.patch).expect("the patch applies");
    assert!(review(&pod).is_some_and(|again| again.patch.0.is_empty()), "a second pass changes nothing: {pod}");
});

/// What comes of the pod, unless it is denied.
fn review(pod: &Value) -> Option<Injection> {
    let account = ServiceAccountDefaults { found: true, client_id: Some("0f1e2d3c-1111-4222-8333-444455556666".to_owned()), tenant_id: None };
    let namespace = NamespaceDefaults { name: "payments".to_owned(), annotations: Vec::new() };
    let text = pod.to_string();
    let view: PodView<'_> = serde_json::from_str(&text).expect("the pod can be read");
    inject(&view, &namespace, &account, &NodeAnswers::of_version(KubernetesVersion::NEWEST), &CONFIG).ok()
}
