//! A namespace of a test, and what tests do with pods in it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::{CLIENT, Node};
use crate::cluster::{OPTED_IN, Output, within};

/// How long anything on a node may take: generous, for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until there is something. What is asked is a program on a machine that has enough to do: not too often.
#[track_caller]
pub(crate) fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(PATIENCE, Duration::from_millis(200), what, ask)
}

/// Namespaces have numbers, because Entra knows their names before they are made.
pub(super) fn name(number: usize) -> String {
    format!("node-test-{number}")
}

/// Opted in, with the ServiceAccount `app` that may read the vault `demo`. It goes with the value, and shows what was in it if the test has failed.
pub(crate) struct Namespace<'a> {
    pub(crate) node: &'a Node,
    pub(crate) name: String,
}

impl Node {
    pub(crate) async fn namespace(&self) -> Namespace<'_> {
        self.namespace_with(&[]).await
    }

    pub(crate) async fn namespace_with(&self, labels: &[(&str, &str)]) -> Namespace<'_> {
        self.namespace_labelled(&[&[OPTED_IN], labels].concat()).await
    }

    /// Not opted in: the webhook is not asked about pods in it.
    pub(crate) async fn namespace_apart(&self) -> Namespace<'_> {
        self.namespace_labelled(&[]).await
    }

    async fn namespace_labelled(&self, labels: &[(&str, &str)]) -> Namespace<'_> {
        let name = name(self.names.fetch_add(1, Ordering::Relaxed));
        let labels: Value = labels.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect::<serde_json::Map<_, _>>().into();
        let annotations = serde_json::json!({"azure.workload.identity/client-id": CLIENT});
        let objects = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}\n---\n\
             {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: app, namespace: {name}, annotations: {annotations}}}}}\n"
        );
        self.cluster.kubectl_with(&["apply", "-f", "-"], &objects).await.ok();
        Namespace { node: self, name }
    }
}

impl Namespace<'_> {
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.node.cluster.kubectl(&[&["-n", &self.name], arguments].concat()).await
    }

    /// What is applied must be accepted. The answer is what kubectl says besides, warnings.
    pub(crate) async fn apply(&self, objects: &[Value]) -> String {
        let output = self.try_to_apply(objects).await;
        assert!(output.success, "{output:?}");
        output.stderr
    }

    pub(crate) async fn try_to_apply(&self, objects: &[Value]) -> Output {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.node.cluster.kubectl_with(&["-n", &self.name, "apply", "-f", "-"], &list.to_string()).await
    }

    /// What would become of an object. Nothing is kept.
    pub(crate) async fn dry_run(&self, object: &Value) -> Output {
        let arguments = ["-n", &self.name, "create", "--dry-run=server", "-o", "json", "-f", "-"];
        self.node.cluster.kubectl_with(&arguments, &object.to_string()).await
    }

    /// An object as the API has it now.
    pub(crate) async fn get(&self, object: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"]).await.ok()).unwrap()
    }

    /// Waits until something holds for an object, which may not be there yet.
    pub(crate) async fn when(&self, object: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{object} that is {what}"), async || {
            let output = self.kubectl(&["get", object, "-o", "json"]).await;
            serde_json::from_str(&output.stdout).ok().filter(|value| holds(value))
        })
        .await
    }

    pub(crate) async fn ready(&self, pod: &str) -> Value {
        self.when(&format!("pod/{pod}"), "ready", |pod| condition(pod, "Ready")).await
    }

    /// Waits for the end of a pod, in this phase.
    pub(crate) async fn ended(&self, pod: &str, phase: &str) -> Value {
        let pod = self
            .when(&format!("pod/{pod}"), "at its end", |pod| ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default()))
            .await;
        assert_eq!(pod["status"]["phase"], phase, "{}", pod["status"]);
        pod
    }

    /// The status of one container of a pod, of whatever kind.
    pub(crate) fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
        let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
        let mut all = lists.into_iter().flatten().flatten();
        all.find(|container| container["name"] == name).unwrap_or_else(|| panic!("no container {name}: {}", pod["status"]))
    }

    /// The last words of a container that has failed, as `kubectl describe pod` shows them.
    pub(crate) async fn message(&self, pod: &str, container: &str) -> String {
        let pod = self.get(&format!("pod/{pod}")).await;
        let status = Namespace::container(&pod, container);
        let mut ends = [&status["state"]["terminated"], &status["lastState"]["terminated"]].into_iter();
        let failed = ends.find(|end| end["exitCode"].as_i64().is_some_and(|code| code != 0));
        failed.unwrap_or_else(|| panic!("it has not failed: {status}"))["message"].as_str().unwrap_or_default().trim_end().to_owned()
    }

    /// What a shell script prints in a container.
    pub(crate) async fn sh(&self, pod: &str, container: &str, script: &str) -> String {
        self.kubectl(&["exec", pod, "-c", container, "--", "/bin/sh", "-c", script]).await.ok()
    }

    /// The log of a container that has ended. That of one that runs may still be on its way: see [`Namespace::says`].
    pub(crate) async fn logs(&self, pod: &str, container: &str) -> String {
        self.kubectl(&["logs", pod, "-c", container]).await.ok()
    }

    /// Waits until a container has written exactly this, to one of its two streams: of two, either may be first.
    pub(crate) async fn says(&self, pod: &str, container: &str, expected: &str) {
        until(&format!("{expected:?} as the log of {container} in {pod}"), async || {
            let log = self.kubectl(&["logs", pod, "-c", container]).await;
            assert!(!log.success || expected.starts_with(&log.stdout), "{pod} {container}: {:?} is not {expected:?}", log.stdout);
            (log.success && log.stdout == expected).then_some(())
        })
        .await;
    }

    /// What `kubectl describe` prints of a pod has each line of a text, word for word.
    pub(crate) async fn describes(&self, pod: &str, text: &str) {
        let described = self.kubectl(&["describe", "pod", pod]).await.ok();
        for line in text.lines() {
            assert!(described.contains(line), "{line}\n{described}");
        }
    }

    /// Waits for a line in a container's log, and gives the log.
    pub(crate) async fn logged(&self, pod: &str, container: &str, line: &str) -> String {
        until(&format!("{line:?} in the log of {container}"), async || {
            let log = self.kubectl(&["logs", pod, "-c", container]).await.stdout;
            log.contains(line).then_some(log)
        })
        .await
    }
}

/// Whether a condition of the object is true.
pub(crate) fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == kind && condition["status"] == "True"))
}

#[allow(clippy::print_stderr, reason = "a test that fails shows what it has seen")]
impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // This may be inside a runtime, which must not wait.
        let kubectl = |arguments: &[&str]| {
            let ask = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(self.kubectl(arguments));
            std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
        };
        if std::thread::panicking() {
            eprintln!("{}", kubectl(&["describe", "pods,jobs,replicasets"]).stdout);
            eprintln!("{}", kubectl(&["logs", "--selector=", "--all-containers", "--prefix", "--tail=20"]).stdout);
        }
        kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
