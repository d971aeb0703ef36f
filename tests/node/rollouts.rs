//! What happens to the webhook's replicas while pods are created all the time.

use serde_json::{Value, json};

use crate::creations::{Creations, Number, annotated, plain};
use crate::harness::{Namespace, Node, PRODUCT, condition, processes, until};

#[tokio::test]
async fn no_creation_fails_while_replicas_are_replaced_and_configured() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let creations = Creations::start(&namespace, annotated()).await;
    node.product(&["rollout", "restart", "deployment", PRODUCT]).await.ok();
    node.rolled_out().await;
    // Wrapped containers get the agent's program in another way: two replicas that disagree may see the same pod.
    node.configured("logLevel: debug", "imageVolumes: off", "emptyDir").await;
    creations.more(20).await;
    creations.all_injected().await;

    namespace
        .apply(&[crate::harness::pod("copied", &[("env", "PASSWORD=db-password")], json!({"containers": [crate::harness::shell("app", SAY)]}))])
        .await;
    let pod = namespace.ready("copied").await;
    assert_eq!(program_volume(&pod)["emptyDir"]["medium"], "Memory", "{}", pod["spec"]["volumes"]);
    namespace.says("copied", "app", "it is correct horse battery staple\n").await;
    node.configured("", "", "image").await;
}

const SAY: &str = "echo \"it is $PASSWORD\"\ntrap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

fn program_volume(pod: &Value) -> &Value {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == "keyvault-program").unwrap_or_else(|| panic!("{volumes:?}"))
}

/// The replica that is asked now: the API server keeps a connection.
async fn asked(node: &Node, creations: &Creations) -> Value {
    let counts = async || {
        let mut counts = Vec::new();
        for replica in node.replicas().await {
            let metrics = node.metrics(&replica).await;
            let reviews = metrics.lines().filter(|line| line.starts_with("keyvault_injector_reviews_total"));
            let count: u64 = reviews.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
            counts.push((replica, count));
        }
        counts
    };
    let before = counts().await;
    creations.more(10).await;
    let after = counts().await;
    let asked = before.into_iter().zip(after).max_by_key(|((_, before), (_, after))| after - before);
    asked.unwrap().0.0
}

#[tokio::test]
async fn a_killed_replica_costs_the_reviews_that_it_had_and_those_sent_to_it_before_it_is_back() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let creations = Creations::start(&namespace, annotated()).await;
    let victim = asked(&node, &creations).await;
    let process = processes::of_container(&victim, "webhook").swap_remove(0);
    // It still takes reviews, and answers none.
    process.stop();
    let stopped = creations.next();
    let stuck = until("reviews in flight", async || Some(creations.stuck()).filter(|stuck| !stuck.is_empty())).await;
    let mut in_flight = creations.pending();
    let killed = creations.next();
    process.kill();
    until("end of the process", async || process.has_ended().then_some(())).await;
    in_flight.extend(killed..creations.next());
    let name = victim["metadata"]["name"].as_str().unwrap();
    let restarts = |pod: &Value| Namespace::container(pod, "webhook")["restartCount"].as_u64().unwrap();
    until("replica that is back", async || {
        let pod: Value = serde_json::from_str(&node.product(&["get", "pod", name, "-o", "json"]).await.ok()).unwrap();
        (restarts(&pod) > restarts(&victim) && condition(&pod, "Ready")).then_some(())
    })
    .await;
    let back = creations.next();
    creations.more(30).await;
    let answers = creations.stop().await;

    let of = |which: &dyn Fn(Number) -> bool| {
        let failed = answers.iter().filter(|(number, _)| which(**number)).filter_map(|(_, answer)| answer.as_ref().err());
        failed.map(String::as_str).collect::<Vec<_>>()
    };
    assert!(of(&|number| number < stopped && !in_flight.contains(&number)).is_empty(), "before: {answers:?}");
    let lost = of(&|number| in_flight.contains(&number));
    assert!((stuck.len()..=in_flight.len()).contains(&lost.len()), "in flight {in_flight:?}, of which {stuck:?} were its own: {lost:?}\n{answers:?}");
    // Nobody listens at its address until the kubelet has started it again; a busy machine may have given up waiting for it before.
    let meanwhile = of(&|number| number >= stopped && !in_flight.contains(&number) && number < back);
    let expected = |error: &&str| ["connection refused", "context deadline exceeded"].iter().any(|end| error.contains(end));
    assert!(meanwhile.iter().all(expected), "between {stopped}, {killed} and {back}: {meanwhile:?}");
    let not_called = |error: &&str| !error.contains("failed calling webhook \"inject.keyvault-injector.io\"");
    assert_eq!(lost.into_iter().chain(meanwhile).find(not_called), None);
    assert!(of(&|number| number >= back).is_empty(), "afterwards: {answers:?}");
}

#[tokio::test]
async fn without_replicas_annotated_pods_wait_and_others_do_not() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    let others = Creations::start(&namespace, plain()).await;
    node.product(&["scale", "deployment", PRODUCT, "--replicas=0"]).await.ok();
    // Replicas that stop answer reviews until the API server has heard that they are gone.
    let refused = until("refusal", async || {
        let made = namespace.dry_run(&annotated()).await;
        (!made.success).then_some(made.stderr)
    })
    .await;
    assert!(refused.contains("no endpoints available for service \"keyvault-injector\""), "{refused}");
    others.more(10).await;
    node.product(&["scale", "deployment", PRODUCT, "--replicas=2"]).await.ok();
    node.rolled_out().await;
    until("pod that is admitted", async || namespace.try_to_apply(&[annotated()]).await.success.then_some(())).await;
    namespace.ready("web").await;
    assert!(others.none_failed().await.into_values().all(|injected| !injected));
}
