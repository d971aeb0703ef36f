//! Values that change while a pod lives.

use serde_json::{Value, json};

use crate::harness::{Node, pod, shell, until};

/// Says which value it has been started with, and on SIGHUP which one it finds.
const FOLLOWS: &str = "trap 'echo \"now $(cat /keyvault/value), and still $VALUE\"' HUP; trap 'exit 0' TERM
echo \"started with $VALUE\"
while :; do sleep 3600 & wait $!; done";

#[tokio::test]
async fn a_new_value_comes_with_the_interval_or_at_once_and_the_program_is_told() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    node.emulator.set("followed", "one").await;
    let follows = |name: &str, interval: &str| {
        let asked = [
            ("secrets", "value=followed"),
            ("env", "VALUE=followed"),
            ("refresh", interval),
            ("on-change", "signal:SIGHUP"),
            ("on-change-spread", "0s"),
            ("metrics-port", "9100"),
        ];
        pod(name, &asked, json!({"shareProcessNamespace": name == "at-once", "containers": [shell("app", FOLLOWS)]}))
    };
    namespace.apply(&[follows("interval", "30s"), follows("at-once", "24h")]).await;
    for name in ["interval", "at-once"] {
        namespace.ready(name).await;
        namespace.logged(name, "app", "started with one\n").await;
    }
    node.emulator.set("followed", "two").await;
    namespace.kubectl(&["annotate", "pod", "at-once", "keyvault-injector.io/refresh-now=please"]).await.ok();
    for name in ["at-once", "interval"] {
        let signalled = "keyvault-agent: values changed: SIGHUP sent to the program";
        namespace.logged(name, "app", signalled).await;
        let log = namespace.logged(name, "app", "now ").await;
        // Two processes write the last two lines: either may be first.
        let mut lines: Vec<_> = log.lines().skip(1).collect();
        lines.sort_unstable();
        assert_eq!((log.lines().next(), lines), (Some("started with one"), vec![signalled, "now two, and still one"]), "{name}");
    }

    let status: Value = serde_json::from_str(&namespace.sh("at-once", "app", "cat /keyvault/..status.json").await).unwrap();
    assert_eq!((&status["objects"][0]["name"], &status["failures"]), (&json!("followed"), &json!({})), "{status}");
    let metrics = namespace.sh("at-once", "app", "wget -qO- http://127.0.0.1:9100/metrics").await;
    let version = status["objects"][0]["version"].as_str().unwrap();
    let line = format!("keyvault_agent_object_version_info{{vault=\"demo\",kind=\"secret\",name=\"followed\",version=\"{version}\"}} 1");
    assert!(metrics.contains(&line), "{line}\n{metrics}");
}

#[tokio::test]
async fn an_outage_leaves_the_last_good_files_and_is_told_until_it_ends() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    node.emulator.set("outage", "one").await;
    let asked = [("secrets", "outage"), ("refresh", "30s")];
    namespace.apply(&[pod("lasting", &asked, json!({"containers": [shell("app", crate::harness::STAY)]}))]).await;
    namespace.ready("lasting").await;
    node.emulator.set_disabled("outage", "two").await;
    let failures = async || {
        let status = namespace.sh("lasting", "app", "cat /keyvault/..status.json; echo; cat /keyvault/outage").await;
        status.contains("\"disabled\"").then_some(status)
    };
    let seen = until("failed refresh", failures).await;
    assert!(seen.ends_with("one"), "{seen}");
    node.emulator.set("outage", "two").await;
    until("new value", async || (namespace.sh("lasting", "app", "cat /keyvault/outage").await == "two").then_some(())).await;
}
