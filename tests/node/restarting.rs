//! `on-change: restart`: a program runs again with its new value, by its wrapper or by the kubelet.

use serde_json::{Value, json};

use crate::harness::{APP_IMAGE, Namespace, Node, annotations, condition, pod, shell, shell_with, spec, until};

/// Says what it has been started with, and stays.
const SAYS: &str = "echo \"started VALUE=$VALUE\"\ntrap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

fn asked(secret: &str) -> (String, [(&'static str, &'static str); 3]) {
    (format!("PASSWORD={secret}\nVALUE={secret}\n"), [("refresh", "24h"), ("on-change", "restart"), ("on-change-spread", "0s")])
}

/// A pod that follows a secret by files and variables.
fn following(name: &str, secret: &str, given: Value) -> Value {
    let (env, more) = asked(secret);
    let secrets = format!("value={secret}");
    pod(name, &[&[("secrets", secrets.as_str()), ("env", &env)], &more[..]].concat(), given)
}

/// The pod as the webhook makes it, but that a restart may follow another at once: ten minutes are more than a test has. It is created where nobody makes it right again.
async fn impatient(asked: &Namespace<'_>, created: &Namespace<'_>, pod: &Value) {
    let mut made: Value = serde_json::from_str(&asked.dry_run(pod).await.ok()).unwrap();
    for given in ["namespace", "uid", "creationTimestamp", "managedFields"] {
        made["metadata"].as_object_mut().unwrap().remove(given);
    }
    made.as_object_mut().unwrap().remove("status");
    let mut changed = 0;
    for list in ["containers", "initContainers"] {
        for variable in made["spec"][list].as_array_mut().unwrap().iter_mut().flat_map(|container| container["env"].as_array_mut()).flatten() {
            let Some(mut plan) = variable["value"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object) else {
                continue;
            };
            let of_wrapper = plan["onChange"] == "restart";
            let Some(restart) = (if of_wrapper { Some(&mut plan) } else { plan.pointer_mut("/refresh/restart") }) else { continue };
            restart["restartsApart"] = json!("1s");
            // The kubelet would replace `$(NAME)`.
            variable["value"] = plan.to_string().replace('$', "\\u0024").into();
            changed += 1;
        }
    }
    assert!(changed > 0, "nobody restarts: {made}");
    created.apply(&[made]).await;
}

/// Asks each pod for a refresh, and waits until its app sees the new value in its file.
async fn refreshed(namespace: &Namespace<'_>, pods: &[&str], value: &str) {
    for pod in pods {
        namespace.kubectl(&["annotate", "--overwrite", "pod", pod, &format!("keyvault-injector.io/refresh-now={value}")]).await.ok();
    }
    for pod in pods {
        until("new file", async || {
            let seen = namespace.kubectl(&["exec", pod, "-c", "app", "--", "cat", "/keyvault/value"]).await;
            (seen.success && seen.stdout == value).then_some(())
        })
        .await;
    }
}

/// Waits until a container runs again, and gives its pod.
async fn restarted(namespace: &Namespace<'_>, name: &str, container: &str) -> Value {
    let again = |pod: &Value| condition(pod, "Ready") && Namespace::container(pod, container)["restartCount"] == 1;
    namespace.when(&format!("pod/{name}"), "ready after a restart", again).await
}

#[tokio::test]
async fn a_wrapper_ends_its_program_and_the_kubelet_starts_it_with_the_new_value() {
    let node = Node::shared().await;
    let (namespace, apart) = (node.namespace().await, node.namespace_apart().await);
    node.emulator.set("by-wrapper", "one").await;
    let given = |policy: &str| json!({"restartPolicy": policy, "containers": [shell("app", SAYS), shell("other", SAYS)]});
    let selected = |name: &str, policy: &str| {
        let mut pod = following(name, "by-wrapper", given(policy));
        pod["metadata"]["annotations"]["keyvault-injector.io/containers"] = "app".into();
        pod
    };
    for (name, policy) in [("always", "Always"), ("on-failure", "OnFailure")] {
        impatient(&namespace, &apart, &selected(name, policy)).await;
    }
    // This one is as everybody has it.
    namespace.apply(&[selected("patient", "Always")]).await;
    for (namespace, name) in [(&apart, "always"), (&apart, "on-failure"), (&namespace, "patient")] {
        namespace.ready(name).await;
        namespace.says(name, "app", "started VALUE=one\n").await;
    }
    node.emulator.set("by-wrapper", "two").await;
    refreshed(&namespace, &["patient"], "two").await;
    refreshed(&apart, &["always", "on-failure"], "two").await;
    for (name, code) in [("always", 0), ("on-failure", 80)] {
        let pod = restarted(&apart, name, "app").await;
        apart.says(name, "app", "started VALUE=two\n").await;
        let end = &Namespace::container(&pod, "app")["lastState"]["terminated"];
        let line = "values changed: the program is ended, so that its container starts again with the new ones\n";
        assert_eq!((&end["exitCode"], end["message"].as_str()), (&json!(code), Some(line)), "{name}");
        for other in ["other", "keyvault-agent-watch"] {
            assert_eq!(Namespace::container(&pod, other)["restartCount"], 0, "{name} {other}");
        }
    }
    let patient = namespace.ready("patient").await;
    assert_eq!(Namespace::container(&patient, "app")["restartCount"], 0, "ten minutes have not passed");
}

#[tokio::test]
async fn the_kubelet_restarts_all_containers_of_a_pod_whose_image_starts_by_itself() {
    let node = Node::shared().await;
    let (namespace, apart) = (node.namespace().await, node.namespace_apart().await);
    node.emulator.set("by-kubelet", "one").await;
    let first = shell("first", "cat /keyvault/value; echo");
    let side = shell_with("side", SAYS, json!({"restartPolicy": "Always"}));
    let given = json!({"initContainers": [first, side], "containers": [{"name": "app", "image": APP_IMAGE}, shell("second", SAYS)]});
    let all = ["first", "side", "app", "second", "keyvault-agent-watch"];
    impatient(&namespace, &apart, &following("web", "by-kubelet", given.clone())).await;
    let said = namespace.apply(&[following("patient", "by-kubelet", given)]).await;
    let warning = "keyvault-injector.io/on-change restart: the kubelet restarts all containers of the pod at once, each 2 seconds after SIGTERM and without its preStop hook \
        (container app has no command that could be wrapped)";
    assert!(said.contains(warning), "{said}");
    for (namespace, name) in [(&apart, "web"), (&namespace, "patient")] {
        namespace.ready(name).await;
        namespace.says(name, "app", "started PASSWORD=one\n").await;
    }
    node.emulator.set("by-kubelet", "two").await;
    refreshed(&namespace, &["patient"], "two").await;
    refreshed(&apart, &["web"], "two").await;
    let pod = restarted(&apart, "web", "app").await;
    for (container, line) in
        [("first", "two\n"), ("side", "started VALUE=two\n"), ("app", "started PASSWORD=two\n"), ("second", "started VALUE=two\n")]
    {
        apart.says("web", container, line).await;
    }
    for container in all {
        let status = Namespace::container(&pod, container);
        assert_eq!(
            (&status["restartCount"], &status["lastState"]["terminated"]["reason"]),
            (&json!(1), &json!("RestartingAllContainers")),
            "{status}"
        );
    }
    let patient = namespace.ready("patient").await;
    for container in all {
        assert_eq!(Namespace::container(&patient, container)["restartCount"], 0, "ten minutes have not passed: {container}");
    }
}

#[tokio::test]
async fn a_job_is_never_restarted_for_a_new_value() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    node.emulator.set("of-a-job", "one").await;
    let (env, more) = asked("of-a-job");
    let asked = [&[("env", env.as_str())], &more[..]].concat();
    let job = |name: &str, policy: &str| {
        let template = json!({"metadata": {"annotations": annotations(&asked)}, "spec": spec(json!({"restartPolicy": policy, "containers": [{"name": "app", "image": APP_IMAGE}]}))});
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}})
    };
    let jobs = [("never", "Never"), ("on-failure", "OnFailure")];
    namespace.apply(&jobs.map(|(name, policy)| job(name, policy))).await;
    let reason = "container app: keyvault-injector.io/on-change: it has no command that could be wrapped, and the kubelet restarts all containers only if the pod's restartPolicy is Always: ";
    for (name, _) in jobs {
        let told = async || {
            let events = namespace.get("events").await;
            let of_job = |event: &&Value| event["involvedObject"]["name"] == name && event["reason"] == "FailedCreate";
            let message = events["items"].as_array().unwrap().iter().find(of_job)?["message"].as_str()?.to_owned();
            Some(message)
        };
        let message = until("event of the Job", told).await;
        assert!(message.contains(reason), "{name}: {message}");
    }
    assert_eq!(namespace.get("pods").await["items"], json!([]));
}
