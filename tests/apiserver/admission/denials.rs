//! What people see: denials, warnings, what is left in the audit log, and a webhook that is not there.

use std::fs;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::{Scene, annotate, annotations, assert_injected, pod, workload};
use crate::cluster::{registration, until};

const DENIED: &str = r#"admission webhook "inject.keyvault-injector.io" denied the request: "#;

/// A pod with a mistake of each of several kinds, and what its author is told.
fn several_problems() -> (Value, String) {
    let mut pod = pod("web");
    annotate(&mut pod, "secret", "x");
    annotate(&mut pod, "secrets", "my_secret");
    annotate(&mut pod, "deadline", "1d");
    let text = "keyvault-injector found 3 problems with this pod:\n\
        - annotation keyvault-injector.io/secret is unknown; did you mean keyvault-injector.io/secrets?\n\
        - annotation keyvault-injector.io/secrets: item 1 \"my_secret\": \"my_secret\" is not a Key Vault object name: 1 to 127 letters, digits and hyphens\n\
        - annotation keyvault-injector.io/deadline: \"1d\" is not a duration: whole numbers with units, largest first, such as 30s, 2m or 1h30m (units h, m, s, ms)";
    (pod, text.to_owned())
}

/// A pod with so many mistakes that the text is over 5 KB, and that text.
fn many_problems() -> (Value, String) {
    let names: Vec<String> = (1..=40).map(|number| format!("secret_{number}")).collect();
    let mut pod = pod("web");
    annotate(&mut pod, "secrets", &names.join(","));
    let problem = |(index, name): (usize, &String)| {
        let item = format!("item {} {name:?}", index + 1);
        format!("\n- annotation keyvault-injector.io/secrets: {item}: {name:?} is not a Key Vault object name: 1 to 127 letters, digits and hyphens")
    };
    let problems: String = names.iter().enumerate().map(problem).collect();
    let text = format!("keyvault-injector found 40 problems with this pod:{problems}");
    assert!(text.len() > 5000, "{}", text.len());
    (pod, text)
}

#[tokio::test]
async fn kubectl_shows_a_denial_whole() {
    let scene = Scene::new("denials", &[]).await;
    for (pod, text) in [several_problems(), many_problems()] {
        let output = scene.kubectl(&["create", "-f", "-"], &pod).await;
        assert!(!output.success);
        assert_eq!(output.stderr, format!("Error from server (Forbidden): error when creating \"STDIN\": {DENIED}{text}\n"));
    }
    // A denial is not asked about twice, and what it was about is not created.
    assert_eq!(scene.reviews("web", 2).await, ["denied", "denied"]);
    assert_eq!(scene.get("api/v1/namespaces/NAMESPACE/pods").await["items"], json!([]));
}

#[tokio::test]
async fn the_events_of_owners_hold_a_denial_whole() {
    let scene = Scene::new("events", &[]).await;
    let event = async |kind: &str| {
        let path = format!("api/v1/namespaces/NAMESPACE/events?fieldSelector=reason%3DFailedCreate,involvedObject.kind%3D{kind}");
        until("event", async || scene.get(&path).await["items"].as_array()?.first()?["message"].as_str().map(str::to_owned)).await
    };
    let (pod, several) = several_problems();
    scene.create_workload(&workload("Job", "report", &pod)).await;
    assert_eq!(event("Job").await, format!("Error creating: {DENIED}{several}"));

    let (pod, many) = many_problems();
    scene.create_workload(&workload("Deployment", "web", &pod)).await;
    assert_eq!(event("ReplicaSet").await, format!("Error creating: {DENIED}{many}"));
    let described = scene.cluster.kubectl(&["-n", &scene.namespace, "describe", "replicasets"]).await.ok();
    for line in many.lines() {
        assert!(described.contains(line), "{line} is not in {described}");
    }
    // The Deployment says so too: `kubectl rollout status` and dashboards read this.
    let failure = async || {
        let deployment = scene.get("apis/apps/v1/namespaces/NAMESPACE/deployments/web").await;
        let conditions = deployment["status"]["conditions"].as_array()?.clone();
        conditions.into_iter().find(|condition| condition["type"] == "ReplicaFailure")
    };
    assert_eq!(until("failure of the Deployment", failure).await["message"], format!("{DENIED}{many}"));
}

// === warnings ===

/// A pod whose containers have so little memory that each is warned about, and the warnings.
fn small(containers: usize) -> (Value, Vec<String>) {
    let mut pod = pod("web");
    let names: Vec<String> = (0..containers).map(|number| format!("app-{number}")).collect();
    let container = |name: &String| {
        let mut container = super::container(name);
        container["resources"] = json!({"limits": {"memory": "8Mi"}});
        container
    };
    pod["spec"]["containers"] = names.iter().map(container).collect();
    let warning = |name: &String| {
        format!(
            "container {name}: the memory volumes with the secrets (1Mi at most) count against the pod and are more than 5 % of its memory limit (8Mi); \
             raise the limit if memory is tight"
        )
    };
    (pod, names.iter().map(warning).collect())
}

fn warnings_on(pod: &Value) -> Vec<&str> {
    annotations(pod)["keyvault-injector.io/warnings"].as_str().unwrap().lines().collect()
}

#[tokio::test]
async fn warnings_are_shown_by_kubectl_and_stand_on_the_pods_of_a_deployment() {
    let scene = Scene::new("warnings", &[]).await;
    let (pod, warnings) = small(2);
    let output = scene.kubectl(&["create", "-f", "-"], &pod).await;
    let shown: Vec<String> = warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
    assert_eq!((output.success, output.stdout.as_str(), output.stderr), (true, "pod/web created\n", shown.concat()));
    assert_eq!(scene.reviews("web", 1).await, ["injected"]);

    scene.create_workload(&workload("Deployment", "web", &pod)).await;
    for pod in scene.pods_of("web", 2).await {
        assert_eq!(warnings_on(&pod), warnings);
        assert_injected(&pod, &["app-0", "app-1"]);
    }
}

#[tokio::test]
async fn where_the_api_server_drops_warnings_the_last_one_says_where_they_are() {
    let scene = Scene::new("many-warnings", &[]).await;
    let (pod, warnings) = small(40);
    let output = scene.kubectl(&["create", "-f", "-"], &pod).await;
    let shown: Vec<&str> = output.stderr.lines().map(|line| line.strip_prefix("Warning: ").unwrap()).collect();
    let (last, first) = shown.split_last().unwrap();
    assert_eq!(*last, "there are more warnings: see the pod's annotation keyvault-injector.io/warnings");
    assert!(first.len() > 15 && *first == warnings[..first.len()], "{shown:#?}");
    assert_eq!(warnings_on(&scene.get("api/v1/namespaces/NAMESPACE/pods/web").await), warnings);
}

// === audit ===

/// What the audit log says of the creation of a pod.
async fn audited(scene: &Scene, name: &str) -> Value {
    let of_pod = |event: &Value| {
        let reference = &event["objectRef"];
        event["stage"] == "ResponseComplete" && reference["namespace"] == scene.namespace.as_str() && reference["name"] == name
    };
    until("event in the audit log", async || {
        let log = fs::read_to_string(scene.cluster.audit_log()).ok()?;
        // The last line may be half written.
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).find(of_pod)
    })
    .await
}

#[tokio::test]
async fn the_audit_log_says_which_objects_a_pod_was_given_and_holds_nothing_secret() {
    let scene = Scene::new("audit", &[]).await;
    let mut pod = pod("web");
    annotate(&mut pod, "secrets", "db-password, team-b/api-key@fa30baf29582406ca154583060b42e39");
    pod["spec"]["containers"][0]["env"] = json!([{"name": "OWN", "value": "canary-of-the-pod"}]);
    scene.create(&pod).await.unwrap();
    let event = audited(&scene, "web").await;
    let annotations = event["annotations"].as_object().unwrap();
    let objects = "https://team-a.vault.azure.net/secrets/db-password \
        https://team-b.vault.azure.net/secrets/api-key/fa30baf29582406ca154583060b42e39";
    assert_eq!(annotations["inject.keyvault-injector.io/objects"], objects);
    let ours: Vec<&str> = annotations.keys().map(String::as_str).filter(|key| key.starts_with("patch.")).collect();
    // The index counts the registrations of other tests too. There is no round 1: the second pass changes nothing.
    assert!(ours.len() == 1 && ours[0].starts_with("patch.webhook.admission.k8s.io/round_0_index_"), "{ours:?}");
    let patch: Value = serde_json::from_str(annotations[ours[0]].as_str().unwrap()).unwrap();
    let paths: Vec<&str> = patch["patch"].as_array().unwrap().iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    let status = "/metadata/annotations/keyvault-injector.io~1status";
    let expected = ["/spec/containers/0/volumeMounts/-", "/spec/volumes/-", "/spec/volumes/-", "/spec/initContainers", status];
    assert_eq!(paths, expected, "{patch:#}");
    // The administrator's token is the one secret here; what is the pod's own is not repeated.
    let text = fs::read_to_string(scene.cluster.audit_log()).unwrap();
    let kubeconfig: Value = serde_json::from_str(&fs::read_to_string(scene.cluster.kubeconfig()).unwrap()).unwrap();
    assert!(!text.contains(kubeconfig["users"][0]["user"]["token"].as_str().unwrap()));
    assert!(!Value::Object(annotations.clone()).to_string().contains("canary-of-the-pod"));
}

// === no webhook ===

#[tokio::test]
async fn while_the_webhook_is_away_annotated_pods_are_refused_and_others_are_not() {
    let scene = Scene::unregistered("away", &[]).await;
    // A port that is taken, and nobody listens: its connections are refused for as long as the test lasts.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let name = scene.cluster.name("zz-keyvault-injector");
    let registration = registration(&name, &scene.namespace, &address.to_string(), Some(&scene.loopback.ca));
    scene.cluster.create_registration(&registration).await;
    until("refused pod", async || scene.dry_run(&pod("probe")).await.err()).await;

    let failed = format!(
        "Internal error occurred: failed calling webhook \"inject.keyvault-injector.io\": failed to call webhook: \
         Post \"https://{address}/mutate?timeout=5s\": dial tcp {address}: connect: connection refused"
    );
    let output = scene.kubectl(&["create", "-f", "-"], &pod("web")).await;
    assert!(!output.success);
    assert_eq!(output.stderr, format!("Error from server (InternalError): error when creating \"STDIN\": {failed}\n"));
    let mut unconcerned = pod("web");
    unconcerned["metadata"]["annotations"] = json!({"example.com/note": "x"});
    scene.create(&unconcerned).await.unwrap();

    // What a controller makes is made once the webhook is back.
    scene.create_workload(&workload("Deployment", "later", &pod(""))).await;
    let message = async || {
        let events = scene.get("api/v1/namespaces/NAMESPACE/events?fieldSelector=reason%3DFailedCreate").await;
        events["items"].as_array()?.first()?["message"].as_str().map(str::to_owned)
    };
    assert_eq!(until("event", message).await, format!("Error creating: {failed}"));
    let back =
        json!([{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": format!("https://{}/mutate", scene.injector.https)}]).to_string();
    scene.cluster.kubectl(&["patch", "mutatingwebhookconfiguration", &name, "--type=json", "-p", &back]).await.ok();
    for pod in scene.pods_of("later", 2).await {
        assert_injected(&pod, &["app"]);
    }
}
