//! The injected container and its volumes, as JSON.

use serde_json::{Map, Value, json};

use super::planning::Planned;
use super::reserved::{AGENT, volume_name};
use super::resources::volume_mebibytes;
use super::views::Views;
use crate::config::{Amounts, Config, ProxyConfig, Resources};
use crate::plan::PLAN_VARIABLE;

/// The init container that fetches.
pub(super) fn agent(plan: &Planned, views: &Views<'_>, resources: &Resources, config: &Config) -> Value {
    let mut container = json!({ "name": AGENT, "image": config.agent.image });
    if let Some(policy) = &config.agent.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    container["command"] = json!(["/keyvault-agent", "fetch"]);
    container["env"] = Value::Array(environment(plan, config));
    container["securityContext"] = security_context(views.run_as_user);
    // The API server leaves empty maps out: written here, they would come back as a difference in a second pass.
    let sides = [("requests", amounts(&resources.requests)), ("limits", amounts(&resources.limits))];
    let sides: Map<_, _> =
        sides.into_iter().filter(|(_, amounts)| !amounts.is_empty()).map(|(side, amounts)| (side.to_owned(), Value::Object(amounts))).collect();
    if !sides.is_empty() {
        container["resources"] = Value::Object(sides);
    }
    container["terminationMessagePolicy"] = json!("File");
    container["volumeMounts"] = Value::Array(mounts(plan));
    container
}

/// The agent reads no other variables.
fn environment(plan: &Planned, config: &Config) -> Vec<Value> {
    let mut environment = vec![json!({ "name": PLAN_VARIABLE, "value": plan.json })];
    if let Some(ProxyConfig { https_proxy, no_proxy }) = &config.agent.proxy {
        // The API server leaves empty values out.
        let set = [("HTTPS_PROXY", https_proxy), ("NO_PROXY", no_proxy)].into_iter().filter(|(_, value)| !value.is_empty());
        environment.extend(set.map(|(name, value)| json!({ "name": name, "value": value })));
    }
    environment
}

fn security_context(run_as_user: Option<i64>) -> Value {
    let mut context = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true });
    if let Some(uid) = run_as_user {
        context["runAsUser"] = json!(uid);
    }
    context["capabilities"] = json!({ "drop": ["ALL"] });
    context["seccompProfile"] = json!({ "type": "RuntimeDefault" });
    context
}

fn amounts(amounts: &Amounts) -> Map<String, Value> {
    let named = [("cpu", &amounts.cpu), ("memory", &amounts.memory), ("ephemeral-storage", &amounts.ephemeral_storage)];
    let present = named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), json!(amount.as_ref()?.to_string()))));
    present.collect()
}

fn mounts(plan: &Planned) -> Vec<Value> {
    let files = plan.directories.iter().enumerate().map(|(index, path)| json!({ "name": volume_name(index), "mountPath": path }));
    files.chain(plan.credential.mount()).collect()
}

/// One memory volume for each view, and what the agent signs in with.
pub(super) fn volumes(plan: &Planned, views: &Views<'_>) -> Vec<Value> {
    let files = views.views.iter().enumerate().map(|(index, view)| {
        json!({ "name": volume_name(index), "emptyDir": { "medium": "Memory", "sizeLimit": format!("{}Mi", volume_mebibytes(view.file_count)) } })
    });
    files.chain(plan.credential.volume()).collect()
}

/// The mount of a view in a container that is given it.
pub(super) fn consumer_mount(view: usize, mount_path: &str) -> Value {
    json!({ "name": volume_name(view), "mountPath": mount_path, "readOnly": true })
}
