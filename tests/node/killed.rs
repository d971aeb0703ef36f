//! Whatever is killed, pods have their files.

use serde_json::{Value, json};

use crate::harness::{Namespace, Node, STAY, condition, pod, processes, shell, until};

const PASSWORD: &str = "correct horse battery staple";

fn restarts(pod: &Value, container: &str) -> u64 {
    Namespace::container(pod, container)["restartCount"].as_u64().unwrap()
}

/// Waits until a container runs that has been restarted so often, and the pod is ready.
async fn restarted(namespace: &Namespace<'_>, name: &str, container: &str, times: u64) -> Value {
    let what = format!("ready after restart {times} of {container}");
    namespace.when(&format!("pod/{name}"), &what, |pod| condition(pod, "Ready") && restarts(pod, container) == times).await
}

#[tokio::test]
async fn an_app_a_wrapper_a_sidecar_and_a_sandbox_come_back_with_their_files() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let asked = [("secrets", "db-password"), ("env", "PASSWORD=db-password"), ("refresh", "24h"), ("on-change", "signal:SIGHUP")];
    let script = format!("cat /keyvault/db-password; echo \" $PASSWORD\"{STAY}");
    namespace.apply(&[pod("web", &asked, json!({"containers": [shell("app", &script)]}))]).await;
    let line = format!("{PASSWORD} {PASSWORD}\n");

    let pod = namespace.ready("web").await;
    namespace.says("web", "app", &line).await;
    let processes = processes::of_container(&pod, "app");
    let program = processes.iter().find(|process| process.inside != 1 && process.name == "sh").expect("the program below the wrapper");
    program.kill();
    let pod = restarted(&namespace, "web", "app", 1).await;
    assert_eq!(Namespace::container(&pod, "app")["lastState"]["terminated"]["exitCode"], 137);
    namespace.says("web", "app", &line).await;

    let wrapper = &processes::of_container(&pod, "app")[0];
    assert_eq!((wrapper.inside, wrapper.name.as_str()), (1, "keyvault-agent"));
    wrapper.kill();
    let pod = restarted(&namespace, "web", "app", 2).await;
    namespace.says("web", "app", &line).await;

    processes::of_container(&pod, "keyvault-agent-watch")[0].kill();
    let pod = restarted(&namespace, "web", "keyvault-agent-watch", 1).await;
    assert_eq!(restarts(&pod, "app"), 2);
    let log = namespace.logged("web", "keyvault-agent-watch", "the files are in place already").await;
    assert!(!log.contains("db-password: read"), "{log}");

    let before = pod["status"]["podIP"].clone();
    processes::of_sandbox(&pod).kill();
    let again = |pod: &Value| condition(pod, "Ready") && pod["status"]["podIP"] != before;
    namespace.when("pod/web", "in a new sandbox", again).await;
    namespace.says("web", "app", &line).await;
}

#[tokio::test]
async fn the_kubelet_and_containerd_may_go_and_come_back() {
    let node = Node::alone().await;
    let namespace = node.namespace().await;
    node.emulator.set("lasting", "one").await;
    let asked = [("secrets", "lasting"), ("refresh", "24h")];
    namespace.apply(&[pod("web", &asked, json!({"containers": [shell("app", STAY)]}))]).await;
    let before = namespace.ready("web").await;
    node.restart_kubelet();
    node.restart_containerd();
    node.emulator.set("lasting", "two").await;
    namespace.kubectl(&["annotate", "pod", "web", "keyvault-injector.io/refresh-now=please"]).await.ok();
    until("new value", async || {
        let output = namespace.kubectl(&["exec", "web", "-c", "app", "--", "cat", "/keyvault/lasting"]).await;
        (output.stdout == "two").then_some(())
    })
    .await;
    let after = namespace.ready("web").await;
    for container in ["app", "keyvault-agent-watch"] {
        let same = |pod: &Value| Namespace::container(pod, container)["containerID"].clone();
        assert_eq!(same(&before), same(&after), "{container}");
    }
}
