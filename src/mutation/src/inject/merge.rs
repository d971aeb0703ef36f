//! An entry of ours as it is in a pod, brought to what it should be. It is ours alone: all that stays of what others wrote is what the API
//! server and its admission plugins write into every pod, and would write, or insist on, again.

use serde_json::{Map, Value, json};

use super::consumers::containers;
use super::image::{default_pull_policy, is_desired};
use crate::config::AgentConfig;
use crate::pod::{PodView, Text};
use crate::quantity::Quantity;
use keyvault_common::plan::{PLAN_VARIABLE, Plan};

/// What decides which of others' fields stay.
#[derive(Clone, Copy)]
pub(super) struct Admission<'a> {
    agent: &'a AgentConfig,
    /// Whether all of the pod's own images are pulled always: the AlwaysPullImages admission sees to that, and refuses a pod where ours is not.
    pulls_always: bool,
    /// Whether all of the pod's own containers ask for ephemeral storage: a LimitRange makes all of them.
    requests_storage: bool,
}

impl<'a> Admission<'a> {
    pub(super) fn new(pod: &PodView<'_>, agent: &'a AgentConfig) -> Admission<'a> {
        let pulls_always = containers(pod).all(|consumer| consumer.container.image_pull_policy.as_ref().map(Text::as_str) == Some("Always"));
        let requests_storage = containers(pod).all(|consumer| {
            let sides = consumer.container.resources.as_ref().map(|resources| [&resources.requests, &resources.limits]);
            sides.into_iter().flatten().flatten().any(|amounts| amounts.ephemeral_storage.is_some())
        });
        Admission { agent, pulls_always, requests_storage }
    }

    /// Our container.
    pub(super) fn container(self, current: &Value, desired: &Value) -> Value {
        let same_plan = has_same_plan(current, desired);
        let mut desired = desired.clone();
        if let Some(image) = current["image"].as_str().filter(|image| is_desired(image, same_plan, self.agent)) {
            desired["image"] = json!(image);
        }
        self.pull_policy("imagePullPolicy", "image", current, &mut desired);
        keep_platform_user(current, &mut desired, same_plan);
        if self.requests_storage {
            keep_storage_request(current, &mut desired);
        }
        settled(current, &desired)
    }

    /// A volume of ours.
    pub(super) fn volume(self, current: &Value, desired: &Value) -> Value {
        let mut desired = desired.clone();
        if desired["image"].is_object() {
            self.pull_policy("pullPolicy", "reference", &current["image"], &mut desired["image"]);
        }
        settled(current, &desired)
    }

    fn pull_policy(self, field: &str, image: &str, current: &Value, desired: &mut Value) {
        let default = desired[image].as_str().map(default_pull_policy);
        match current[field].as_str() {
            Some("Always") if self.pulls_always => desired[field] = json!("Always"),
            Some(policy) if desired[field].is_null() && default == Some(policy) => desired[field] = json!(policy),
            _ => {}
        }
    }
}

fn plan(container: &Value) -> Option<&str> {
    container["env"].as_array()?.iter().find(|variable| variable["name"] == PLAN_VARIABLE)?["value"].as_str()
}

/// Whether the plans are the same but for what follows from the number of containers, which another webhook may change between two passes.
fn has_same_plan(current: &Value, desired: &Value) -> bool {
    let without_share = |text: &str| {
        let mut plan = Plan::from_json(text).ok()?;
        plan.termination_message_bytes = None;
        Some(plan)
    };
    let (Some(current), Some(desired)) = (plan(current), plan(desired)) else { return false };
    current == desired || without_share(current).is_some_and(|plan| Some(plan) == without_share(desired))
}

/// OpenShift gives a UID to every container that has none, and refuses a pod where it was taken away.
fn keep_platform_user(current: &Value, desired: &mut Value, same_plan: bool) {
    let user = &current["securityContext"]["runAsUser"];
    if same_plan && desired["securityContext"]["runAsUser"].is_null() && user.as_i64().is_some_and(|user| user > 0) {
        desired["securityContext"]["runAsUser"] = user.clone();
    }
}

/// A request of ephemeral storage binds nobody; a LimitRange adds it, and refuses the pod where it was taken away.
fn keep_storage_request(current: &Value, desired: &mut Value) {
    const NAME: &str = "ephemeral-storage";
    let request = &current["resources"]["requests"][NAME];
    let is_amount = request.as_str().is_some_and(|text| text.parse::<Quantity>().is_ok());
    if is_amount && [&desired["resources"]["requests"][NAME], &desired["resources"]["limits"][NAME]].iter().all(|amount| amount.is_null()) {
        for (parent, key) in [("", "resources"), ("/resources", "requests")] {
            if let Some(parent) = desired.pointer_mut(parent).filter(|parent| parent[key].is_null()) {
                parent[key] = json!({});
            }
        }
        desired["resources"]["requests"][NAME] = request.clone();
    }
}

/// `desired`, in the spelling of `current` and with the defaults that the API server wrote into it.
pub(super) fn settled(current: &Value, desired: &Value) -> Value {
    field("", current, desired)
}

fn field(name: &str, current: &Value, desired: &Value) -> Value {
    match (current, desired) {
        (Value::Object(_), Value::Object(_)) if name == "capabilities" && drops_as_much(current, desired) => current.clone(),
        (Value::Object(current), Value::Object(desired)) => Value::Object(object(current, desired)),
        (Value::Array(current), Value::Array(desired)) if current.len() == desired.len() => {
            current.iter().zip(desired).map(|(current, desired)| settled(current, desired)).collect()
        }
        (Value::String(current), Value::String(desired)) if is_same(name, current, desired) => Value::String(current.clone()),
        _ => desired.clone(),
    }
}

fn object(current: &Map<String, Value>, desired: &Map<String, Value>) -> Map<String, Value> {
    let ours = desired.iter().map(|(name, desired)| {
        let value = current.get(name).map_or_else(|| desired.clone(), |current| field(name, current, desired));
        (name.clone(), value)
    });
    let defaults = current.iter().filter(|(name, value)| !desired.contains_key(*name) && is_default(name, value, desired));
    ours.chain(defaults.map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// Whether a field that we do not set is one that the API server sets, and means what its absence means.
fn is_default(name: &str, value: &Value, desired: &Map<String, Value>) -> bool {
    match name {
        "terminationMessagePath" => value == "/dev/termination-log",
        "resources" => value.as_object().is_some_and(Map::is_empty),
        "resizePolicy" => value.as_array().is_some_and(|list| list.iter().all(|policy| policy["restartPolicy"] == "NotRequired")),
        "privileged" => value == false,
        "procMount" => value == "Default",
        "timeoutSeconds" | "successThreshold" => value == 1,
        // On the host's network a port is one of the host.
        "hostPort" => desired.get("containerPort") == Some(value),
        "defaultMode" => value == 420,
        "apiVersion" => value == "v1",
        "recursiveReadOnly" => value == "Disabled",
        "mountPropagation" => value == "None",
        _ => false,
    }
}

/// Platforms drop capabilities by name, too.
fn drops_as_much(current: &Value, desired: &Value) -> bool {
    let drops = |capabilities: &Value| capabilities["drop"].as_array().cloned().unwrap_or_default();
    let current_drops = drops(current);
    current.as_object().is_some_and(|fields| fields.len() == 1)
        && drops(desired).iter().all(|name| current_drops.contains(name))
        && current_drops.iter().all(Value::is_string)
}

/// Kubernetes rewrites quantities.
fn is_same(name: &str, current: &str, desired: &str) -> bool {
    match name {
        "cpu" | "memory" | "ephemeral-storage" | "sizeLimit" => {
            matches!((current.parse::<Quantity>(), desired.parse::<Quantity>()), (Ok(current), Ok(desired)) if current == desired)
        }
        _ => current == desired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn admission(config: &Config, pulls_always: bool) -> Admission<'_> {
        Admission { agent: &config.agent, pulls_always, requests_storage: true }
    }

    fn desired() -> Value {
        json!({"name": "keyvault-agent", "image": "keyvault-injector:x", "command": ["/keyvault-agent", "fetch"],
            "env": [{"name": "KEYVAULT_AGENT_PLAN", "value": "{}"}],
            "securityContext": {"runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}},
            "resources": {"limits": {"memory": "1024Mi", "cpu": "1"}},
            "volumeMounts": [{"name": "keyvault-files", "mountPath": "/f"}]})
    }

    /// `desired` with the value at this place.
    fn with(place: &str, value: Value) -> Value {
        let mut container = desired();
        let (parent, name) = place.rsplit_once('/').unwrap();
        container.pointer_mut(parent).unwrap()[name] = value;
        container
    }

    #[test]
    fn what_the_api_server_and_its_plugins_write_is_kept() {
        let config = Config::default();
        for current in [
            desired(),
            with("/terminationMessagePath", json!("/dev/termination-log")),
            with("/resources/limits", json!({"memory": "1Gi", "cpu": "1000m"})),
            with("/resources/requests", json!({"ephemeral-storage": "1Gi"})),
            with("/resizePolicy", json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])),
            with("/securityContext/privileged", json!(false)),
            with("/securityContext/procMount", json!("Default")),
            with("/securityContext/runAsUser", json!(1_000_680_000)),
            with("/securityContext/capabilities", json!({"drop": ["KILL", "ALL"]})),
        ] {
            assert_eq!(admission(&config, false).container(&current, &desired()), current);
        }
    }

    #[test]
    fn what_nobody_has_reason_to_write_is_taken_away() {
        let config = Config::default();
        // An older version of the injector does not override this mount with its own.
        let token = json!({"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true});
        for current in [
            with("/image", json!("evil.example/keyvault-injector:x")),
            with("/imagePullPolicy", json!("Never")),
            with("/command", json!(["/keyvault-agent", "fetch", "--evil"])),
            with("/args", json!(["--help"])),
            with("/workingDir", json!("/tmp")),
            with("/envFrom", json!([{"configMapRef": {"name": "x"}}])),
            with("/env", json!([{"name": "KEYVAULT_AGENT_PLAN", "value": "{}"}, {"name": "HTTPS_PROXY", "value": "http://evil.example"}])),
            with("/env", json!([{"name": "KEYVAULT_AGENT_PLAN", "value": "{}", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}])),
            with("/ports", json!([{"containerPort": 80}])),
            with("/tty", json!(true)),
            with("/stdin", json!(true)),
            with("/stdinOnce", json!(true)),
            with("/livenessProbe", json!({"exec": {"command": ["/keyvault-agent"]}})),
            with("/readinessProbe", json!({"httpGet": {"port": 1}})),
            with("/startupProbe", json!({"exec": {"command": ["x"]}})),
            with("/lifecycle", json!({"postStart": {"exec": {"command": ["x"]}}})),
            with("/restartPolicy", json!("Always")),
            with("/restartPolicyRules", json!([])),
            with("/volumeDevices", json!([{"name": "x", "devicePath": "/dev/x"}])),
            with("/terminationMessagePath", json!("/keyvault/files/x")),
            with("/futureField", json!({})),
            with("/resizePolicy", json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}])),
            with("/resources", json!([null])),
            with("/resources/limits", json!({"memory": "1024Mi", "cpu": "1", "example.com/gpu": "1"})),
            with("/resources/limits", json!({"memory": "1024Mi", "cpu": "2"})),
            with("/resources/requests", json!({"ephemeral-storage": "all"})),
            with("/resources/claims", json!([{"name": "x"}])),
            with("/securityContext/privileged", json!(true)),
            with("/securityContext/procMount", json!("Unmasked")),
            with("/securityContext/runAsGroup", json!(0)),
            with("/securityContext/runAsUser", json!(0)),
            with("/securityContext/seLinuxOptions", json!({"type": "spc_t"})),
            with("/securityContext/capabilities", json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]})),
            with("/securityContext/capabilities", json!({"drop": ["KILL"]})),
            with("/volumeMounts", json!([{"name": "keyvault-files", "mountPath": "/f"}, {"name": "etc", "mountPath": "/etc"}])),
            with("/volumeMounts", json!([{"name": "keyvault-files", "mountPath": "/f", "subPath": "x"}])),
            with("/volumeMounts", json!([{"name": "keyvault-files", "mountPath": "/f"}, token])),
        ] {
            assert_eq!(admission(&config, false).container(&current, &desired()), desired(), "{current}");
        }
    }

    #[test]
    fn a_uid_stays_only_where_the_plan_is_the_same() {
        let mut current = with("/securityContext/runAsUser", json!(1000));
        current["env"][0]["value"] = json!("of another configuration");
        assert_eq!(admission(&Config::default(), false).container(&current, &desired()), desired());
    }

    #[test]
    fn a_request_of_storage_stays_only_where_every_container_has_one() {
        let config = Config::default();
        let current = with("/resources/requests", json!({"ephemeral-storage": "1Gi"}));
        assert_eq!(Admission { requests_storage: false, ..admission(&config, false) }.container(&current, &desired()), desired());
    }

    #[test]
    fn always_stays_where_every_container_pulls_always() {
        let config = Config::default();
        let current = with("/imagePullPolicy", json!("Always"));
        for wanted in [desired(), with("/imagePullPolicy", json!("Never"))] {
            assert_eq!(admission(&config, true).container(&current, &wanted), current);
            assert_eq!(admission(&config, false).container(&current, &wanted), wanted);
        }
    }

    #[test]
    fn a_volume_has_one_source() {
        let config = Config::default();
        let memory = json!({"name": "keyvault-program", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}});
        let image = json!({"name": "keyvault-program", "image": {"reference": "keyvault-injector:x"}});
        assert_eq!(admission(&config, false).volume(&memory, &image), image);
        assert_eq!(admission(&config, false).volume(&image, &memory), memory);
        let stored = json!({"name": "keyvault-program", "image": {"reference": "keyvault-injector:x", "pullPolicy": "IfNotPresent"}});
        assert_eq!(admission(&config, false).volume(&stored, &image), stored);
        let token = |mode: Option<i32>| {
            let mut projected = json!({"sources": [{"serviceAccountToken": {"path": "token"}}]});
            projected.as_object_mut().unwrap().extend(mode.map(|mode| ("defaultMode".to_owned(), json!(mode))));
            json!({"name": "keyvault-token", "projected": projected})
        };
        assert_eq!(admission(&config, false).volume(&token(Some(420)), &token(None)), token(Some(420)));
        assert_eq!(admission(&config, false).volume(&token(Some(511)), &token(None)), token(None));
    }
}
