//! The nodes of the cluster, followed for what all of them can do. Of each only a few words are kept, and of their status only those are read.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1 as core;
use kube::api::ObjectMeta;
use kube::core::ClusterResourceScope;
use kube::runtime::watcher::{Error, Event};
use kube::{Api, Client, Resource};
use serde::Deserialize;

use super::cache::Cache;
use super::watch::{self, Keeper};
use crate::webhook::Metrics;
use keyvault_mutation::nodes::{Answer, NodeAnswers, NodeFacts, NodeFeature};

const OS_LABEL: &str = "kubernetes.io/os";

/// What the nodes answer, and whether they have been asked.
#[derive(Default)]
pub(super) struct Nodes {
    seen: Cache<NodeFacts>,
    answers: RwLock<Arc<NodeAnswers>>,
    refused: AtomicBool,
}

impl Nodes {
    pub(super) fn answers(&self) -> Arc<NodeAnswers> {
        Arc::clone(&self.answers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the nodes have been read, or may not be read: without that right the webhook serves all the same. Any other error is retried.
    pub(super) fn settled(&self) -> bool {
        self.seen.filled() || self.refused.load(Ordering::Relaxed)
    }

    /// Follows the nodes, for ever.
    pub(super) async fn follow(&self, client: Client, metrics: &Metrics) {
        let mut keeps = Keeper::new(&self.seen, keep);
        let see = |event: Event<Node>| self.see(&mut keeps, event, metrics);
        let failed = |error: &Error| {
            if watch::refused_with(error, 403) {
                self.refused.store(true, Ordering::Relaxed);
            }
        };
        let api: Api<Node> = Api::all(client);
        watch::follow_or(api, watch::all(), see, failed).await;
    }

    /// Takes an event in. Most of them are a kubelet's heartbeat, which changes no answer.
    fn see(&self, keeps: &mut Keeper<'_, Node, NodeFacts>, event: Event<Node>, metrics: &Metrics) {
        if keeps.see(event) {
            self.conclude(metrics);
        }
    }

    /// Updates the answers. Only one task calls this.
    fn conclude(&self, metrics: &Metrics) {
        let facts = |seen: &super::cache::Seen<NodeFacts>| {
            let counted = seen.iter().filter_map(|(name, facts)| Some((&**name, &**facts.as_ref()?)));
            NodeAnswers::of(counted)
        };
        let Some(answers) = self.seen.read(facts) else { return };
        let before = self.answers();
        if *before == answers {
            return;
        }
        let unread = *before == NodeAnswers::default();
        for feature in NodeFeature::ALL {
            let (before, now) = (before.get(feature), answers.get(feature));
            if unread || matches!(before, Answer::Yes) != matches!(now, Answer::Yes) {
                tell(feature, now);
                metrics.nodes_can(feature, matches!(now, Answer::Yes));
            }
        }
        *self.answers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(answers);
    }
}

fn tell(feature: NodeFeature, answer: &Answer) {
    let feature = feature.key();
    match answer {
        Answer::Yes => tracing::info!(feature, answer = "yes", "every node can do what a feature needs"),
        Answer::No(obstacle) => tracing::info!(feature, answer = "no", reason = %obstacle, "not all nodes can do what a feature needs"),
    }
}

/// A Node, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
struct Node {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    unschedulable: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    node_info: NodeInfo,
    declared_features: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    #[serde(default)]
    kubelet_version: String,
    #[serde(default)]
    container_runtime_version: String,
}

impl Resource for Node {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        core::Node::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        core::Node::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        core::Node::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        core::Node::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The facts of a node that pods may come to. One that says nothing of its operating system counts.
fn keep(node: &Node) -> Option<NodeFacts> {
    let os = node.metadata.labels.as_ref().and_then(|labels| labels.get(OS_LABEL));
    let is_linux = os.is_none_or(|os| os.eq_ignore_ascii_case("linux"));
    if !is_linux || node.spec.unschedulable == Some(true) {
        return None;
    }
    let Status { node_info, declared_features } = &node.status;
    let declared = declared_features.iter().flatten().map(String::as_str);
    Some(NodeFacts::new(&node_info.kubelet_version, &node_info.container_runtime_version, declared))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, kubelet: &str, extra: &Value) -> Node {
        let mut node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"podCIDR": "10.0.0.0/24", "taints": []},
            "status": {
                "nodeInfo": {"kubeletVersion": kubelet, "containerRuntimeVersion": "containerd://2.2.9", "machineID": "x"},
                "images": [{"names": ["a"], "sizeBytes": 7}], "declaredFeatures": ["RestartAllContainersOnContainerExits"],
            },
        });
        json_patch::merge(&mut node, extra);
        serde_json::from_value(node).unwrap()
    }

    /// The answers as three letters, after events.
    fn after(events: Vec<Event<Node>>) -> (String, String) {
        let (nodes, metrics) = (Nodes::default(), Metrics::default());
        let mut keeps = Keeper::new(&nodes.seen, keep);
        for event in events {
            nodes.see(&mut keeps, event, &metrics);
        }
        let letter = |feature| if *nodes.answers().get(feature) == Answer::Yes { 'y' } else { 'n' };
        (NodeFeature::ALL.map(letter).iter().collect(), metrics.text())
    }

    #[test]
    fn only_schedulable_linux_nodes_count() {
        let whole = |nodes: Vec<Node>| {
            let events = std::iter::once(Event::Init).chain(nodes.into_iter().map(Event::InitApply)).chain([Event::InitDone]);
            after(events.collect()).0
        };
        let new = || node("new", "v1.36.3", &json!({}));
        assert_eq!(whole(vec![]), "nnn");
        assert_eq!(whole(vec![new()]), "yyy");
        assert_eq!(whole(vec![new(), node("old", "v1.34.1", &json!({}))]), "nny");
        assert_eq!(whole(vec![new(), node("old", "v1.34.1", &json!({"spec": {"unschedulable": true}}))]), "yyy");
        assert_eq!(whole(vec![new(), node("old", "v1.34.1", &json!({"spec": {"unschedulable": false}}))]), "nny");
        let windows =
            |os: &str| node("windows", "v1.34.1", &json!({"metadata": {"labels": {"kubernetes.io/os": os}}, "status": {"declaredFeatures": null}}));
        assert_eq!(whole(vec![new(), windows("windows")]), "yyy");
        assert_eq!(whole(vec![new(), windows("linux")]), "nnn");
        assert_eq!(whole(vec![windows("windows")]), "nnn", "no node is seen");
        assert_eq!(whole(vec![new(), node("bare", "", &json!({"metadata": {"labels": null}, "spec": null, "status": {"nodeInfo": null}}))]), "nny");
    }

    #[test]
    fn the_answer_follows_changes_and_nothing_is_answered_before_the_first_list_is_whole() {
        let (new, old) = (node("a", "v1.36.3", &json!({})), node("b", "v1.34.1", &json!({})));
        assert_eq!(after(vec![Event::Init, Event::InitApply(new.clone())]).0, "nnn");
        let list = || vec![Event::Init, Event::InitApply(new.clone()), Event::InitDone];
        let (letters, text) = after(list());
        assert_eq!(letters, "yyy");
        assert!(text.contains("keyvault_injector_nodes_can{feature=\"envFiles\"} 1\n"), "{text}");
        let (letters, text) = after([list(), vec![Event::Apply(old.clone())]].concat());
        assert_eq!(letters, "nny");
        assert!(text.contains("keyvault_injector_nodes_can{feature=\"envFiles\"} 0\n"), "{text}");
        assert!(text.contains("keyvault_injector_nodes_can{feature=\"restartInPlace\"} 1\n"), "{text}");
        assert_eq!(after([list(), vec![Event::Apply(old.clone()), Event::Delete(old)]].concat()).0, "yyy");
        assert_eq!(after([list(), vec![Event::Delete(new)]].concat()).0, "nnn");
    }

    #[test]
    fn an_event_that_changes_no_fact_of_a_node_asks_no_other_node() {
        let (nodes, metrics) = (Nodes::default(), Metrics::default());
        let mut keeps = Keeper::new(&nodes.seen, keep);
        // Whether the nodes were asked: an answer that nobody gave gives way.
        let mut asks = |event| {
            *nodes.answers.write().unwrap() = Arc::default();
            nodes.see(&mut keeps, event, &metrics);
            *nodes.answers() != NodeAnswers::default()
        };
        let kubelet = |version| node("a", version, &json!({}));
        let heartbeat =
            || node("a", "v1.36.3", &json!({"metadata": {"resourceVersion": "8"}, "status": {"images": [], "conditions": [{"type": "Ready"}]}}));
        for (event, expected) in [
            (Event::Init, false),
            (Event::InitApply(kubelet("v1.36.3")), false),
            (Event::InitDone, true),
            (Event::Apply(heartbeat()), false),
            (Event::Apply(kubelet("v1.36.4")), true),
            (Event::Apply(node("b", "v1.36.3", &json!({}))), true),
            (Event::Delete(kubelet("v1.36.4")), true),
            (Event::Delete(kubelet("v1.36.4")), false),
        ] {
            assert_eq!(asks(event.clone()), expected, "{event:?}");
        }
    }
}
