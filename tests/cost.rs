//! What a review costs follows the size of what a pod's author writes, and stays within bounds for whatever the API server lets through.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::alloc::System;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cap::Cap;
use keyvault_injector::webhook::{FixedDefaults, Metrics, Reviewer};
use keyvault_mutation::config::Config;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The counters of the allocator are for one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Ten times the input may cost so many times as much.
const GROWTH: usize = 15;
/// What a review may hold at its peak, beside its body.
const MEMORY: usize = 32 << 20;
/// How much of a processor it may take without optimisation. Optimised code takes a tenth.
const TIME: Duration = Duration::from_secs(5);
/// Below this there is nothing to measure: the kernel counts in ticks.
const LEAST_TIME: Duration = Duration::from_millis(10);
/// The largest answer to a hostile pod: fifty problems of one KiB, escaped.
const ANSWER: usize = 128 << 10;

static REVIEWER: LazyLock<Reviewer> = LazyLock::new(|| {
    let text = "agent: {image: registry.example/injector:1}\nfeatures: {envFiles: \"on\"}\npolicy: {allowSharedIdentities: true}\n\
                defaults: {vault: demo, tenantId: aaaabbbb-1111-4222-8333-444455556666, clientId: 0f1e2d3c-1111-4222-8333-444455556666}\n";
    let config = Config::parse(text, "config.yaml").unwrap();
    Reviewer::new(config, Arc::new(FixedDefaults::default()), Arc::new(Metrics::default()))
});

/// What one review took.
#[derive(Debug)]
struct Cost {
    /// Bytes of all allocations, those freed at once among them: a measure of work that is the same each time.
    allocated: usize,
    /// Of this thread on a processor; the least of several runs.
    time: Duration,
    answer: Vec<u8>,
}

/// What this thread has had of a processor, which other programs do not lengthen.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

fn cost(pod: &Value, runs: usize) -> Cost {
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "payments", "operation": "CREATE", "object": pod},
    });
    let body = review.to_string().into_bytes();
    let (mut time, mut cost) = (Duration::MAX, None);
    for _ in 0..runs {
        let reviewer = &*REVIEWER;
        let before = ALLOCATOR.total_allocated();
        // Over the limit an allocation fails, and the process with it.
        ALLOCATOR.set_limit(ALLOCATOR.allocated() + MEMORY).unwrap();
        let started = processor_time();
        let answer = reviewer.respond(&body).expect("every review has an answer");
        time = time.min(processor_time() - started);
        ALLOCATOR.set_limit(usize::MAX).unwrap();
        cost.get_or_insert(Cost { allocated: ALLOCATOR.total_allocated() - before, time, answer });
    }
    Cost { time, ..cost.expect("there is a run") }
}

fn annotated(annotations: &[(&str, String)], spec: Value) -> Value {
    let annotations: serde_json::Map<_, _> = annotations.iter().map(|(key, value)| (format!("keyvault-injector.io/{key}"), json!(value))).collect();
    json!({ "metadata": { "name": "web", "annotations": annotations }, "spec": spec })
}

fn containers(count: usize) -> Value {
    json!({ "containers": (0..count).map(|index| json!({ "name": format!("c{index}"), "command": ["/app"] })).collect::<Vec<_>>() })
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|index| line(index) + "\n").collect()
}

/// A pod for each size, with the largest size that is read.
type Shape = (&'static str, usize, fn(usize) -> Value);

/// What grows with its size.
const SHAPES: [Shape; 16] = [
    ("references", 2000, |n| annotated(&[("secrets", lines(n, |i| format!("a{i}")))], containers(1))),
    ("bad references", 80_000, |n| annotated(&[("secrets", "a_,".repeat(n))], containers(1))),
    ("bad maps", 10_000, |n| annotated(&[("secrets", lines(n, |_| "- {nmae: a, b: c}".to_owned()))], containers(1))),
    ("members of a group", 20_000, |n| {
        annotated(&[("secrets", format!("- {{group: [{}], format: json, file: f}}", "A_=a_b,".repeat(n)))], containers(1))
    }),
    ("containers", 500, |n| annotated(&[("secrets", "a".to_owned())], containers(n))),
    ("a file for each container", 500, |n| {
        annotated(&[("secrets", lines(n, |i| format!("- {{name: a{i}, mode: \"0444\", containers: [c{i}]}}")))], containers(n))
    }),
    ("modes that no container can read", 500, |n| {
        annotated(&[("secrets", lines(n.min(2000), |i| format!("- {{name: a{i}, mode: \"0400\"}}")))], containers(n))
    }),
    ("unknown containers", 2000, |n| annotated(&[("secrets", lines(n, |i| format!("- {{name: a{i}, containers: [x, y, z]}}")))], containers(500))),
    ("one container named again and again", 80_000, |n| annotated(&[("secrets", "a".to_owned()), ("containers", "c1,".repeat(n))], containers(500))),
    ("templates", 20_000, |n| annotated(&[("templates", format!("a: \"{}\"", "${1}".repeat(n)))], containers(1))),
    ("unknown annotations", 2000, |n| {
        let keys: Vec<String> = (0..n).map(|i| format!("{i:060}")).collect();
        let mut all: Vec<(&str, String)> = keys.iter().map(|key| (key.as_str(), String::new())).collect();
        all.push(("secrets", "a".to_owned()));
        annotated(&all, containers(1))
    }),
    ("variables", 2000, |n| {
        let env: Vec<Value> = (0..n).map(|i| json!({ "name": format!("B{i}"), "value": format!("$(V{i})") })).collect();
        let spec = json!({ "containers": [{ "name": "c", "command": ["/app"], "env": env }] });
        annotated(&[("env", lines(n, |i| format!("V{i}=a")))], spec)
    }),
    ("brackets that never close", 100_000, |n| {
        let spec = json!({ "containers": [{ "name": "c", "command": ["/app"], "args": ["$(".repeat(n)] }] });
        annotated(&[("env", "V=a".to_owned())], spec)
    }),
    ("deep paths", 250, |n| annotated(&[("secrets", lines(n, |i| format!("{}{i:03}=a", "d/".repeat(500))))], containers(1))),
    ("places below a volume with many items", 500, |n| {
        let mut pod = annotated(&[("secrets", "a".to_owned())], containers(n));
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            container["volumeMounts"] = json!([{ "name": "v", "mountPath": "/" }]);
        }
        let items = vec![json!({ "key": "a", "path": "b" }); 20 * n];
        pod["spec"]["volumes"] = json!([{ "name": "v", "hostPath": { "path": "/", "type": "", "items": items } }]);
        pod
    }),
    ("mounts of volumes that are ours", 20_000, |n| {
        let mount = json!({ "name": "keyvault-files", "mountPath": "/keyvault", "readOnly": true });
        let mut pod = annotated(&[("secrets", "a".to_owned())], containers(1));
        pod["spec"]["containers"][0]["volumeMounts"] = json!(vec![mount; n]);
        pod
    }),
];

#[test]
fn ten_times_the_input_costs_at_most_fifteen_times_as_much() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, most, pod) in SHAPES {
        let (small, large) = (cost(&pod(most / 10), 3), cost(&pod(most), 3));
        assert!(large.allocated <= GROWTH * small.allocated, "{name}: {} bytes became {}", small.allocated, large.allocated);
        let least = small.time.max(LEAST_TIME);
        assert!(large.time <= least * u32::try_from(GROWTH).unwrap(), "{name}: {:?} became {:?}", small.time, large.time);
        check_bounds(name, &large);
    }
}

fn check_bounds(name: &str, cost: &Cost) {
    assert!(cost.time <= TIME, "{name}: {:?}", cost.time);
}

fn message(answer: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    answer["response"]["status"]["message"].as_str().expect("a denial").to_owned()
}

/// The message of a pod that is over a bound, which costs next to nothing.
#[track_caller]
fn refused(name: &str, pod: &Value) -> String {
    let cost = cost(pod, 1);
    check_bounds(name, &cost);
    assert!(cost.answer.len() <= ANSWER, "{name}: an answer of {} bytes", cost.answer.len());
    message(&cost.answer)
}

const ONE: &str = "keyvault-injector found 1 problem with this pod:\n- ";

#[test]
fn what_is_over_a_bound_is_one_problem() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let secrets = |text: String| vec![("secrets", text)];
    let too_many = "the pod has more than 500 containers and init containers: divide it into several pods";
    let too_long = |bytes: usize| {
        format!(
            "the pod's keyvault-injector.io annotations hold {bytes} bytes, and Kubernetes allows 262144 for all annotations of a pod: shorten them"
        )
    };

    let modes = secrets(lines(1000, |i| format!("- {{name: a{i}, mode: \"0400\"}}")));
    assert_eq!(refused("modes and containers", &annotated(&modes, containers(1000))), format!("{ONE}{too_many}"));
    let repeated = [("secrets", "a".to_owned()), ("containers", "b,".repeat(900_000))];
    assert_eq!(refused("names and containers", &annotated(&repeated, containers(3000))), format!("{ONE}{}", too_long(1_800_000 + 1 + 28 + 31)));
    let templates = [("templates", format!("a: \"{}\"", "${1}".repeat(600_000)))];
    assert_eq!(refused("templates", &annotated(&templates, containers(1))), format!("{ONE}{}", too_long(2_400_000 + 5 + 30)));
    let templates = [("templates", format!("a: \"{}\"", "${1}".repeat(50_000)))];
    assert_eq!(
        refused("templates below the limit of annotations", &annotated(&templates, containers(1))),
        format!(
            "{ONE}annotation keyvault-injector.io/templates: it has 200005 bytes, and 102400 are the most that a plan can hold: shorten the templates"
        )
    );
    let templates = [("templates", lines(3000, |i| format!("f{i}: x")))];
    assert_eq!(
        refused("many templates", &annotated(&templates, containers(1))),
        format!("{ONE}annotation keyvault-injector.io/templates: it has 3000 templates, and 2048 are the most that a plan can hold: write fewer")
    );
    assert_eq!(refused("references", &annotated(&secrets("a_,".repeat(300_000)), containers(1))), format!("{ONE}{}", too_long(900_000 + 28)));
    let spec = json!({ "containers": vec![json!({}); 90_000] });
    assert_eq!(refused("empty containers", &annotated(&secrets("a".to_owned()), spec)), format!("{ONE}{too_many}"));

    let long = json!({ "containers": [{ "name": "n".repeat(150_000) }] });
    let named = secrets(lines(2040, |i| format!("- {{name: a{i}, containers: [x]}}")));
    let name_too_long =
        |length: usize| format!("{ONE}container {}…: its name has {length} characters, and Kubernetes allows 63: shorten it", "n".repeat(60));
    assert_eq!(refused("a long name", &annotated(&named, long)), name_too_long(150_000));
    let long = json!({ "containers": [{ "name": "n".repeat(2_500_000) }] });
    assert_eq!(refused("a very long name", &annotated(&named, long)), name_too_long(2_500_000));
}

/// Three million bytes of the shortest entries that there are, past an API server that would write them out.
#[test]
fn lists_of_empty_entries_take_no_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let asks = [("secrets", "a".to_owned()), ("env", "V=a".to_owned())];
    let of_container = |field: &str, entries: Value| {
        let mut pod = annotated(&asks, containers(1));
        pod["spec"]["containers"][0][field] = entries;
        pod
    };
    let of_spec = |field: &str, entries: Value| {
        let mut pod = annotated(&asks, containers(1));
        pod["spec"][field] = entries;
        pod
    };
    let maps = |count: usize| json!(vec![json!({}); count]);
    let terms = |terms: Value| json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } });
    let texts = json!(vec![""; 900_000]);
    for (name, pod) in [
        ("volumes", of_spec("volumes", maps(900_000))),
        ("mounts", of_container("volumeMounts", maps(900_000))),
        ("variables", of_container("env", maps(900_000))),
        ("arguments", of_container("args", texts.clone())),
        ("a command", of_container("command", texts.clone())),
        ("a probe", of_container("livenessProbe", json!({ "exec": { "command": texts } }))),
        ("terms", of_spec("affinity", terms(maps(900_000)))),
        ("values", of_spec("affinity", terms(json!([{ "matchExpressions": [{ "key": "k", "operator": "In", "values": texts }] }])))),
        ("numbers that nobody reads", of_spec("more", json!(vec![0; 1_400_000]))),
    ] {
        assert_eq!(refused(name, &pod), "keyvault-injector: the pod cannot be read: it holds more than 100000 values", "{name}");
    }
    // What is just within the bound is read, and within the same memory.
    for (name, pod) in [
        ("volumes", of_spec("volumes", maps(99_000))),
        ("mounts", of_container("volumeMounts", maps(99_000))),
        ("variables", of_container("env", maps(99_000))),
        ("arguments", of_container("args", json!(vec![""; 99_000]))),
    ] {
        let cost = cost(&pod, 1);
        check_bounds(name, &cost);
    }
    // Commas in a text are not values.
    let spec = json!({ "containers": [{ "name": "c", "args": [",\\\",".repeat(200_000)] }] });
    let answer = cost(&annotated(&[("secrets", "a".to_owned())], spec), 1).answer;
    assert!(serde_json::from_slice::<Value>(&answer).unwrap()["response"]["allowed"].as_bool().unwrap());
}

#[test]
fn a_denial_is_short_whatever_it_quotes() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let unknown = lines(2000, |i| format!("- {{name: a{i}, containers: [{}]}}", "x,".repeat(20)));
    let text = refused("unknown containers", &annotated(&[("secrets", unknown)], containers(500)));
    let line = "annotation keyvault-injector.io/secrets: item 1 \"a0\": containers: the pod has no container x, x, x, x, x, x, x, x, x, x and 10 more; \
                it has c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 490 more";
    assert!(text.starts_with(&format!("keyvault-injector found 2000 problems with this pod:\n- {line}\n")), "{}", &text[..400]);
    assert!(text.ends_with("\n- and 1950 more"), "{}", &text[text.len() - 400..]);

    let modes = lines(1000, |i| format!("- {{name: a{i}, mode: \"0400\"}}"));
    let text = refused("modes", &annotated(&[("secrets", modes)], containers(500)));
    let line = "annotation keyvault-injector.io/secrets: item 1 \"a0\": mode: container c0 might not be able to read a file with mode 0400: it has no known UID, \
                because neither it nor the pod sets runAsUser (and neither might c1, c2 and 497 more); write 0444, or 0440 with an fsGroup in the pod's securityContext";
    // The thousand and first is that their plan would be too long.
    assert!(text.starts_with(&format!("keyvault-injector found 1001 problems with this pod:\n- {line}\n")), "{}", &text[..600]);

    let quoted = [("vault", "v".repeat(200_000)), ("secrets", "a".to_owned())];
    let text = refused("a long vault", &annotated(&quoted, containers(1)));
    let name = format!("{}…", "v".repeat(77));
    assert!(text.contains(&format!("annotation keyvault-injector.io/vault: \"{name}\" is not a vault name: ")), "{text}");
    let inject = [("inject", "v".repeat(200_000)), ("secrets", "a".to_owned())];
    assert!(refused("a long word", &annotated(&inject, containers(1))).len() < 1200);
}
