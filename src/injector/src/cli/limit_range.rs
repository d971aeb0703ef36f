//! LimitRanges among the manifests: the API server holds each container to them, ours too, and names none of them when it refuses a pod.

use serde_json::Value;

use keyvault_mutation::annotations::Key;
use keyvault_mutation::inject::{AGENT, REFRESHER};
use keyvault_mutation::quantity::Quantity;

const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What LimitRanges of the namespace say against our containers in an injected pod, one sentence for each breach. Objects that name no namespace
/// are in `default`.
pub(super) fn breaches<'v>(objects: impl Iterator<Item = &'v Value>, default: &str, namespace: &str, pod: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    for object in objects.filter(|object| object["kind"] == "LimitRange" && object["metadata"]["namespace"].as_str().unwrap_or(default) == namespace)
    {
        let name = object["metadata"]["name"].as_str().unwrap_or("(without a name)");
        for limit in object["spec"]["limits"].as_array().into_iter().flatten() {
            let of_type = match limit["type"].as_str() {
                Some("Container") => of_containers(limit, pod),
                Some("Pod") => of_pod(limit, pod),
                Some(_) | None => Vec::new(),
            };
            let key = Key::AgentResources.annotation();
            breaches
                .extend(of_type.into_iter().map(|has| format!("LimitRange {name} refuses the pod: {has}; set {key} on the pod or its Namespace")));
        }
    }
    breaches
}

fn of_containers(limit: &Value, pod: &Value) -> Vec<String> {
    let ours = list(pod, "initContainers").filter(|container| is_ours(container));
    let amounts = ours.flat_map(|container| RESOURCES.map(|resource| (container, resource)));
    let breaches = amounts.filter_map(|(container, resource)| {
        let name = container["name"].as_str().unwrap_or_default();
        let breach = breach(limit, amount(container, "requests", resource), amount(container, "limits", resource), resource)?;
        Some(format!("container {name} has {breach}"))
    });
    breaches.collect()
}

/// Only what the pod would not be refused for without our containers.
fn of_pod(limit: &Value, pod: &Value) -> Vec<String> {
    let breach_with = |is_counted: &dyn Fn(&Value) -> bool, resource: &str| {
        breach(limit, total(pod, "requests", resource, is_counted), total(pod, "limits", resource, is_counted), resource)
    };
    let breaches = RESOURCES.into_iter().filter_map(|resource| {
        let breach = breach_with(&|_| true, resource)?;
        breach_with(&|container| !is_ours(container), resource).is_none().then(|| format!("with ours, its containers together have {breach}"))
    });
    breaches.collect()
}

/// What the API server counts for the pod: its containers and sidecars together, or the init container that asks for most beside the sidecars
/// that run by then.
fn total(pod: &Value, side: &str, resource: &str, is_counted: &dyn Fn(&Value) -> bool) -> Option<Quantity> {
    let amounts = |field| list(pod, field).filter(|container| is_counted(container)).filter_map(|one| Some((one, amount(one, side, resource)?)));
    let mut running: Vec<Quantity> = amounts("containers").map(|(_, amount)| amount).collect();
    let (mut sidecars, mut most) = (Vec::new(), None);
    for (container, amount) in amounts("initContainers") {
        let of_start = Quantity::sum(sidecars.iter().chain([&amount]));
        most = most.max(Some(of_start));
        if container["restartPolicy"] == "Always" {
            running.push(amount.clone());
            sidecars.push(amount);
        }
    }
    let running = if running.is_empty() { None } else { Some(Quantity::sum(&running)) };
    running.max(most)
}

fn list<'v>(pod: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    pod["spec"][field].as_array().into_iter().flatten()
}

fn is_ours(container: &Value) -> bool {
    container["name"] == AGENT || container["name"] == REFRESHER
}

fn amount(container: &Value, side: &str, resource: &str) -> Option<Quantity> {
    quantity(&container["resources"][side][resource])
}

/// What is absent gets the LimitRange's own defaults.
fn breach(limits: &Value, request: Option<Quantity>, limit: Option<Quantity>, resource: &str) -> Option<String> {
    let amount = |parent: &Value| quantity(&parent[resource]);
    let request = request.or_else(|| limit.clone());
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
    fn a_bound_that_our_containers_keep_is_not_reported() {
        for limit in [
            json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "50", "memory": "2"}, "min": {"cpu": "10m", "ephemeral-storage": "1Mi"}, "max": {"cpu": "500m", "memory": "32Mi"}}),
            json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1m"}}),
            json!({"type": "Container", "max": {"cpu": "x"}}),
            json!(null),
        ] {
            assert_eq!(told(&limit), [""; 0], "{limit}");
        }
    }

    #[test]
    fn a_bound_of_the_whole_pod_is_reported_only_if_it_would_hold_without_us() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let pod = json!({"spec": {
            "initContainers": [
                {"name": "mesh", "restartPolicy": "Always", "resources": of("100m")},
                {"name": REFRESHER, "restartPolicy": "Always", "resources": of("200m")},
                {"name": "migrate", "resources": of("1")},
            ],
            "containers": [{"name": "web", "resources": of("300m")}, {"name": "log"}],
        }});
        let told = |limit: Value| {
            let object = json!({"kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": [limit]}});
            breaches([&object].into_iter(), "default", "default", &pod)
        };
        // migrate starts beside two sidecars: 100m + 200m + 1 are more than the 600m of what runs later.
        let expected = "LimitRange limits refuses the pod: with ours, its containers together have the cpu limit 1300m, and the max is 1200m; \
                        set keyvault-injector.io/agent-resources on the pod or its Namespace";
        assert_eq!(told(json!({"type": "Pod", "max": {"cpu": "1200m"}})), [expected]);
        assert_eq!(told(json!({"type": "Pod", "max": {"cpu": "1300m"}})), [""; 0]);
        assert_eq!(told(json!({"type": "Pod", "max": {"cpu": "1"}})), [""; 0], "without us the pod has 1100m");
        assert_eq!(told(json!({"type": "Pod", "max": {"memory": "1Mi"}})), [""; 0]);
    }
}
