//! What injection costs: the quality of service that Kubernetes computes, and the amounts that its scheduler counts.

use keyvault_mutation::quantity::Quantity;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::core::{apply, review};

/// Amounts as a valid pod has them: no request over its limit. The first of each list is the lowest.
fn amounts() -> impl Strategy<Value = Value> {
    let resource = |name: &'static str, values: &'static [&'static str]| {
        (option::of(0..values.len()), option::of(0..values.len())).prop_map(move |(request, limit)| {
            let request = request.map(|request| limit.map_or(request, |limit| request.min(limit)));
            (name, request.map(|index| values[index]), limit.map(|index| values[index]))
        })
    };
    let both = (resource("cpu", &["0", "5m", "0.02", "500m", "2"]), resource("memory", &["0", "8Mi", "64Mi", "1G", "2Gi"]));
    both.prop_map(|(cpu, memory)| {
        let mut resources = json!({});
        for (name, request, limit) in [cpu, memory] {
            for (side, amount) in [("requests", request), ("limits", limit)] {
                if let Some(amount) = amount {
                    resources[side][name] = json!(amount);
                }
            }
        }
        resources
    })
}

/// Amounts that make a container Guaranteed, or any.
fn resources() -> impl Strategy<Value = Value> {
    let exact = (select(&["5m", "60m", "2"][..]), select(&["12Mi", "64Mi", "1Gi"][..]))
        .prop_map(|(cpu, memory)| json!({ "limits": { "cpu": cpu, "memory": memory } }));
    prop_oneof![exact, amounts(), Just(json!({}))]
}

fn containers(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Value>> {
    let same = (resources(), count.clone()).prop_map(|(resources, count)| vec![resources; count]);
    let any = proptest::collection::vec(resources(), count);
    prop_oneof![same, any].prop_map(|all| {
        let container = |(index, resources): (usize, Value)| json!({ "name": format!("c{index}"), "resources": resources });
        all.into_iter().enumerate().map(container).collect()
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let init = (containers(0..3), any::<bool>()).prop_map(|(mut containers, sidecar)| {
        for container in &mut containers {
            container["name"] = json!(format!("i{}", container["name"]).replace('"', ""));
        }
        if let Some(container) = containers.first_mut().filter(|_| sidecar) {
            container["restartPolicy"] = json!("Always");
        }
        containers
    });
    let whole = option::weighted(0.2, amounts());
    (containers(1..4), init, whole, any::<bool>(), select(&["Always", "Never"][..])).prop_map(|(main, init, whole, refresh, policy)| {
        let refresh = if refresh { "5m" } else { "off" };
        let annotations = json!({ "keyvault-injector.io/secrets": "payments/a", "keyvault-injector.io/refresh": refresh });
        let mut spec = json!({ "containers": main, "initContainers": init, "restartPolicy": policy });
        if let Some(whole) = whole {
            spec["resources"] = whole;
        }
        json!({ "metadata": { "annotations": annotations }, "spec": spec })
    })
}

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str().map(|text| text.parse().unwrap())
}

fn sum(quantities: &[Quantity]) -> Quantity {
    Quantity::sum(quantities)
}

/// The request of a container, which the API server takes from its limit where there is none.
fn request(holder: &Value, name: &str) -> Option<Quantity> {
    quantity(&holder["resources"]["requests"][name]).or_else(|| quantity(&holder["resources"]["limits"][name]))
}

fn list<'p>(pod: &'p Value, name: &str) -> impl Iterator<Item = &'p Value> + use<'p> {
    pod["spec"][name].as_array().into_iter().flatten()
}

/// What the scheduler counts, by its own formula.
fn counted(pod: &Value, name: &str) -> Quantity {
    if let Some(whole) = request(&pod["spec"], name) {
        return whole;
    }
    let zero = || sum(&[]);
    let main: Vec<Quantity> = list(pod, "containers").filter_map(|container| request(container, name)).collect();
    let (mut sidecars, mut highest) = (zero(), zero());
    for container in list(pod, "initContainers") {
        let running = sum(&[sidecars.clone(), request(container, name).unwrap_or_else(zero)]);
        if container["restartPolicy"] == "Always" {
            sidecars.clone_from(&running);
        }
        highest = highest.max(running);
    }
    highest.max(sum(&[sum(&main), sidecars]))
}

/// As `ComputePodQOS` of Kubernetes.
fn quality(pod: &Value) -> &'static str {
    let holders: Vec<&Value> =
        if pod["spec"]["resources"].is_object() { vec![&pod["spec"]] } else { list(pod, "containers").chain(list(pod, "initContainers")).collect() };
    let zero = sum(&[]);
    let is_set = |amount: &Option<Quantity>| amount.as_ref().is_some_and(|amount| *amount > zero);
    let limit = |holder: &Value, name: &str| quantity(&holder["resources"]["limits"][name]);
    let each = || holders.iter().flat_map(|holder| ["cpu", "memory"].map(|name| (request(holder, name), limit(holder, name))));
    if !each().any(|(request, limit)| is_set(&request) || is_set(&limit)) {
        "BestEffort"
    } else if each().all(|(request, limit)| is_set(&limit) && request == limit) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_quality_of_service_stays_and_a_fetch_costs_no_cpu(pod in pod()) {
        let injection = review(&pod, &super::world()).unwrap();
        let after = apply(&pod, &injection);
        prop_assert_eq!(quality(&after), quality(&pod), "{:#}", after);
        let refreshes = pod["metadata"]["annotations"]["keyvault-injector.io/refresh"] != "off";
        let sidecar = list(&after, "initContainers").find(|container| container["name"] == "keyvault-agent-watch").unwrap_or(&Value::Null);
        prop_assert_eq!(sidecar.is_object(), refreshes);
        let added = |name| request(sidecar, name).unwrap_or_else(|| sum(&[]));
        prop_assert!(counted(&after, "cpu") <= sum(&[counted(&pod, "cpu"), added("cpu")]), "{:#}", after);
        prop_assert!(added("cpu") <= "100m".parse().unwrap());
        // Memory cannot be shared out like time: up to what the agent needs, 16Mi and its volume, it is reserved.
        let needed = sum(&["17Mi".parse().unwrap()]);
        prop_assert!(counted(&after, "memory") <= sum(&[counted(&pod, "memory").max(needed), added("memory")]), "{:#}", after);
        let told = injection.warnings.iter().any(|warning| warning.starts_with("container keyvault-agent-watch adds "));
        prop_assert_eq!(told, sidecar["resources"]["requests"].is_object());
    }
}

#[test]
fn all_three_qualities_are_tried() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = Map::new();
    for _ in 0..300 {
        let pod = proptest::strategy::ValueTree::current(&pod().new_tree(&mut runner).unwrap());
        let count = seen.entry(quality(&pod)).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap() + 1);
    }
    for quality in ["BestEffort", "Burstable", "Guaranteed"] {
        assert!(seen[quality].as_u64().unwrap() > 10, "{seen:?}");
    }
}
