//! LimitRanges among the manifests: the API server holds each container to them, ours too, and names none of them when it refuses a pod.

use serde_json::Value;

use crate::annotations::Key;
use crate::inject::{AGENT, REFRESHER};
use crate::quantity::Quantity;

const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What LimitRanges of the namespace say against our containers in an injected pod, one sentence for each breach. Objects that name no namespace
/// are in `default`.
pub(super) fn breaches<'v>(objects: impl Iterator<Item = &'v Value>, default: &str, namespace: &str, pod: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    for object in objects.filter(|object| object["kind"] == "LimitRange" && object["metadata"]["namespace"].as_str().unwrap_or(default) == namespace)
    {
        let name = object["metadata"]["name"].as_str().unwrap_or("(without a name)");
        let limits = object["spec"]["limits"].as_array().into_iter().flatten().filter(|limit| limit["type"] == "Container");
        for limit in limits {
            for (container, resource) in ours(pod).flat_map(|container| RESOURCES.map(|resource| (container, resource))) {
                let breach = breach(limit, container, resource);
                breaches.extend(breach.map(|breach| {
                    let (container, key) = (container["name"].as_str().unwrap_or_default(), Key::AgentResources.annotation());
                    format!("LimitRange {name} refuses the pod: container {container} has {breach}; set {key} on the pod or its Namespace")
                }));
            }
        }
    }
    breaches
}

fn ours(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["initContainers"].as_array().into_iter().flatten().filter(|container| container["name"] == AGENT || container["name"] == REFRESHER)
}

/// What is absent gets the LimitRange's own defaults.
fn breach(limits: &Value, container: &Value, resource: &str) -> Option<String> {
    let amount = |parent: &Value| quantity(&parent[resource]);
    let limit = amount(&container["resources"]["limits"]);
    let request = amount(&container["resources"]["requests"]).or_else(|| limit.clone());
    if let (Some(request), Some(min)) = (&request, amount(&limits["min"]))
        && *request < min
    {
        return Some(format!("the {resource} request {request}, and the min is {min}"));
    }
    if let (Some(limit), Some(max)) = (&limit, amount(&limits["max"]))
        && *limit > max
    {
        return Some(format!("the {resource} limit {limit}, and the max is {max}"));
    }
    if let (Some(limit), Some(request), Some(ratio)) = (&limit, &request, amount(&limits["maxLimitRequestRatio"]))
        && limit.is_over(&ratio, request)
    {
        return Some(format!("the {resource} limit {limit} and the request {request}, and the maxLimitRequestRatio is {ratio}"));
    }
    None
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(limit: &Value) -> Vec<String> {
        let object = json!({"kind": "LimitRange", "metadata": {"name": "limits", "namespace": "shop"}, "spec": {"limits": [limit]}});
        let resources = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "32Mi"}});
        let containers = json!([{"name": AGENT, "resources": resources}, {"name": "migrate", "resources": resources}]);
        let pod = json!({"spec": {"initContainers": containers}});
        assert_eq!(breaches([&object].into_iter(), "default", "default", &pod), [""; 0]);
        breaches([&object].into_iter(), "default", "shop", &pod)
    }

    #[test]
    fn each_breach_names_the_limit_range_the_bound_and_the_remedy() {
        const REMEDY: &str = "set keyvault-injector.io/agent-resources on the pod or its Namespace";
        for (limit, expected) in [
            (json!({"maxLimitRequestRatio": {"cpu": "10"}}), "the cpu limit 500m and the request 10m, and the maxLimitRequestRatio is 10"),
            (json!({"maxLimitRequestRatio": {"memory": 1.5}}), "the memory limit 32Mi and the request 16Mi, and the maxLimitRequestRatio is 1.5"),
            (json!({"min": {"cpu": "50m"}}), "the cpu request 10m, and the min is 50m"),
            (json!({"max": {"cpu": 0.2}}), "the cpu limit 500m, and the max is 0.2"),
            (json!({"max": {"memory": "16Mi"}}), "the memory limit 32Mi, and the max is 16Mi"),
        ] {
            let mut limit = limit;
            limit["type"] = json!("Container");
            assert_eq!(told(&limit), [format!("LimitRange limits refuses the pod: container keyvault-agent has {expected}; {REMEDY}")]);
        }
    }

    #[test]
    fn what_our_containers_keep_to_is_not_told() {
        for limit in [
            json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "50", "memory": "2"}, "min": {"cpu": "10m", "ephemeral-storage": "1Mi"}, "max": {"cpu": "500m", "memory": "32Mi"}}),
            json!({"type": "Pod", "max": {"cpu": "1m"}}),
            json!({"type": "Container", "max": {"cpu": "x"}}),
            json!(null),
        ] {
            assert_eq!(told(&limit), [""; 0], "{limit}");
        }
    }
}
