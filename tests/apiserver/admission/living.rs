//! Pods with variables and with a sidecar that refreshes: what a real API server makes of them, under `restricted`.

use serde_json::{Value, json};

use super::{RESTRICTED, Scene, annotate, container, pod, workload};

const FEATURES: &str = "features: {envFiles: 'on', imageVolumes: 'off'}\n";

/// A pod whose container has a command, a probe and a hook, and wants a variable.
fn with_variable(name: &str) -> Value {
    let mut pod = pod(name);
    annotate(&mut pod, "env", "DB_PASSWORD=db-password");
    let app = &mut pod["spec"]["containers"][0];
    app["command"] = json!(["/app", "serve"]);
    app["env"] = json!([{"name": "MODE", "value": "prod"}]);
    app["livenessProbe"] = json!({"exec": {"command": ["/app", "health"]}});
    app["lifecycle"] = json!({"preStop": {"exec": {"command": ["/app", "drain"]}}});
    pod
}

/// A second pass over what the API server has stored changes nothing.
async fn assert_settled(scene: &Scene, made: &Value) {
    let answer = scene.review(made).await;
    assert_eq!((&answer["allowed"], &answer["patch"]), (&json!(true), &Value::Null), "{answer:#}");
}

#[tokio::test]
async fn a_wrapped_container_is_accepted_with_its_probes_and_hooks() {
    let scene = Scene::configured("wrapped", &[RESTRICTED], FEATURES).await;
    let made = scene.create(&with_variable("web")).await.unwrap();
    let app = &made["spec"]["containers"][0];
    let wrapped = |words: [&str; 2]| json!(["/keyvault-injector/bin/keyvault-agent", "exec", "--", words[0], words[1]]);
    assert_eq!(app["command"], wrapped(["/app", "serve"]));
    assert_eq!(app["livenessProbe"]["exec"]["command"], wrapped(["/app", "health"]));
    assert_eq!(app["lifecycle"]["preStop"]["exec"]["command"], wrapped(["/app", "drain"]));
    assert_eq!(app["env"][1]["name"], "KEYVAULT_AGENT_EXEC", "{app:#}");
    assert_settled(&scene, &made).await;
}

#[tokio::test]
async fn the_wrapper_comes_from_the_agents_image_where_kubelets_can_mount_it() {
    let scene = Scene::configured("image-volume", &[RESTRICTED], "features: {envFiles: 'off', imageVolumes: 'on'}\n").await;
    let made = scene.create(&with_variable("web")).await.unwrap();
    let volumes = made["spec"]["volumes"].as_array().unwrap();
    let program = volumes.iter().find(|volume| volume["name"] == "keyvault-program").unwrap();
    assert_eq!(program["image"]["reference"], "registry.example/keyvault-injector:0.1.0", "{program:#}");
    assert!(super::our_mounts(&made["spec"]["initContainers"][0]).iter().all(|name| *name != "keyvault-program"), "the agent copies nothing");
    assert_settled(&scene, &made).await;
}

#[tokio::test]
async fn variables_from_a_file_are_accepted_and_stand_first() {
    let scene = Scene::configured("file-keys", &[RESTRICTED], FEATURES).await;
    let mut pod = with_variable("web");
    annotate(&mut pod, "env-delivery", "file");
    let made = scene.create(&pod).await.unwrap();
    let app = &made["spec"]["containers"][0];
    assert_eq!(app["command"], json!(["/app", "serve"]));
    let key = json!({"volumeName": "keyvault-env", "path": "env", "key": "DB_PASSWORD", "optional": false});
    assert_eq!(app["env"][0], json!({"name": "DB_PASSWORD", "valueFrom": {"fileKeyRef": key}}), "{app:#}");
    assert_eq!(app["env"][1]["name"], "MODE");
    assert_settled(&scene, &made).await;
}

#[tokio::test]
async fn a_sidecar_that_refreshes_is_accepted_and_a_job_has_a_first_fetch_before_it() {
    let scene = Scene::configured("refreshing", &[RESTRICTED], FEATURES).await;
    let mut asking = with_variable("web");
    for (key, value) in [("refresh", "5m"), ("metrics-port", "9090"), ("on-change", "restart"), ("deadline", "90s")] {
        annotate(&mut asking, key, value);
    }
    let made = scene.create(&asking).await.unwrap();
    let names = |pod: &Value| pod["spec"]["initContainers"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&made), ["keyvault-agent-watch"]);
    let sidecar = &made["spec"]["initContainers"][0];
    assert_eq!((&sidecar["restartPolicy"], &sidecar["command"]), (&json!("Always"), &json!(["/keyvault-agent", "watch"])));
    let probe = &sidecar["startupProbe"];
    assert_eq!((&probe["exec"]["command"], &probe["failureThreshold"]), (&json!(["/keyvault-agent", "started"]), &json!(120)), "{probe:#}");
    assert_eq!(made["spec"]["containers"][0]["command"][2], "--supervise");
    assert_settled(&scene, &made).await;

    annotate(&mut asking, "on-change", "signal:SIGHUP");
    scene.create_workload(&workload("Job", "batch", &asking)).await;
    for pod in scene.pods_of("batch", 1).await {
        assert_eq!(names(&pod), ["keyvault-agent", "keyvault-agent-watch"], "{pod:#}");
        assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], Value::Null);
        assert_settled(&scene, &pod).await;
    }
}

#[tokio::test]
async fn a_pod_that_loses_its_annotations_is_what_it_was() {
    let scene = Scene::configured("unasked", &[], FEATURES).await;
    let mut asking = with_variable("web");
    annotate(&mut asking, "refresh", "5m");
    let mut copy = scene.create(&asking).await.unwrap();
    copy["metadata"] = json!({"name": "copy", "annotations": pod("copy")["metadata"]["annotations"]});
    copy["spec"]["containers"].as_array_mut().unwrap().push(container("second"));
    let made = scene.create(&copy).await.unwrap();
    let app = &made["spec"]["containers"][0];
    assert_eq!((&app["command"], &app["env"]), (&json!(["/app", "serve"]), &json!([{"name": "MODE", "value": "prod"}])), "{app:#}");
    assert_eq!(app["livenessProbe"]["exec"]["command"], json!(["/app", "health"]));
    assert_eq!(made["spec"]["initContainers"].as_array().unwrap().len(), 1);
    assert_eq!(made["spec"]["initContainers"][0]["name"], "keyvault-agent");
    assert_eq!(made["spec"]["initContainers"][0]["restartPolicy"], Value::Null);
    let volumes = made["spec"]["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["name"].as_str());
    assert_eq!(volumes.filter(|name| name.starts_with("keyvault-")).collect::<Vec<_>>(), ["keyvault-files", "keyvault-token"]);
}
