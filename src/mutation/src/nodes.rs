//! What the nodes of a cluster can do, by what they report of themselves. Holds no address, label or pod of a node.

use std::fmt;
use std::str::FromStr;

use keyvault_common::excerpt::excerpt;
use keyvault_common::names::NameError;

mod version;

use version::{runtime_at_least, version_of};

/// What a part of the clusters cannot do yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeFeature {
    /// `valueFrom.fileKeyRef`: variables from a file of a volume.
    EnvFiles,
    /// Volumes that are the files of an image.
    ImageVolumes,
    /// Restart rules with the action `RestartAllContainers`.
    RestartInPlace,
}

/// The feature gate that nodes list in `status.declaredFeatures`.
const RESTART_ALL: &str = "RestartAllContainersOnContainerExits";
/// The kubelet with variables from files, and with image volumes, on by default.
const FILES: Release = (1, 35);
/// The release with restarts in place on by default.
const RESTARTS: Release = (1, 36);
/// The runtimes that mount images.
const CONTAINERD: Release = (2, 1);
const CRI_O: Release = (1, 33);
/// What is kept of a version, in bytes: nodes write what they like.
const LONGEST: usize = 64;

/// Major and minor number.
type Release = (u32, u32);

impl NodeFeature {
    /// All of them.
    pub const ALL: [NodeFeature; 3] = [NodeFeature::EnvFiles, NodeFeature::ImageVolumes, NodeFeature::RestartInPlace];

    /// Its key in the section `features` of the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            NodeFeature::EnvFiles => "envFiles",
            NodeFeature::ImageVolumes => "imageVolumes",
            NodeFeature::RestartInPlace => "restartInPlace",
        }
    }
}

/// What one schedulable Linux node reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `status.nodeInfo.kubeletVersion`
    kubelet: Box<str>,
    /// `status.nodeInfo.containerRuntimeVersion`
    runtime: Box<str>,
    restarts_all: bool,
}

impl NodeFacts {
    /// `declared` is `status.declaredFeatures`.
    #[must_use]
    pub fn new<'f>(kubelet: &str, runtime: &str, declared: impl IntoIterator<Item = &'f str>) -> NodeFacts {
        let restarts_all = declared.into_iter().any(|feature| feature == RESTART_ALL);
        NodeFacts { kubelet: excerpt(kubelet, LONGEST).into(), runtime: excerpt(runtime, LONGEST).into(), restarts_all }
    }

    fn can(&self, feature: NodeFeature) -> bool {
        let is_new = || version_of(&self.kubelet).is_some_and(|version| version >= FILES);
        match feature {
            NodeFeature::EnvFiles => is_new(),
            NodeFeature::ImageVolumes => is_new() && runtime_at_least(&self.runtime, CONTAINERD, CRI_O),
            NodeFeature::RestartInPlace => self.restarts_all,
        }
    }

    /// In a sentence that begins with the node's name.
    fn lack(&self, feature: NodeFeature) -> String {
        let kubelet = if self.kubelet.is_empty() { "an unknown kubelet".to_owned() } else { format!("kubelet {}", self.kubelet) };
        let runtime = if self.runtime.is_empty() { "an unknown runtime" } else { &*self.runtime };
        match feature {
            NodeFeature::EnvFiles => format!("runs {kubelet}, and variables from files need 1.35 or later"),
            NodeFeature::ImageVolumes => {
                format!("runs {kubelet} and {runtime}, and image volumes need kubelet 1.35 and containerd 2.1 or CRI-O 1.33, or later")
            }
            NodeFeature::RestartInPlace => {
                format!("runs {kubelet} and does not declare the feature {RESTART_ALL}, which Kubernetes 1.36 turns on")
            }
        }
    }
}

/// Whether every schedulable Linux node can do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every one, and there is one.
    Yes,
    /// Not, or nobody knows.
    No(Obstacle),
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nodes have not been read yet, or may not be read.
    Unread,
    /// The command runs without a cluster.
    NoCluster,
    /// No schedulable Linux node has been seen.
    NoNode,
    /// The first node by name that cannot do it.
    Node {
        /// Its name.
        name: String,
        /// What it lacks, after its name.
        lack: String,
    },
    /// A version of Kubernetes that was given in place of nodes.
    Version(KubernetesVersion, NodeFeature),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Unread => f.write_str("the webhook has not read the cluster's nodes yet"),
            Obstacle::NoCluster => f.write_str("the webhook runs without a cluster and knows no node"),
            Obstacle::NoNode => f.write_str("the cluster has no schedulable Linux node"),
            Obstacle::Node { name, lack } => write!(f, "node {name} {lack}"),
            Obstacle::Version(version, NodeFeature::RestartInPlace) => {
                write!(f, "Kubernetes {version} cannot restart all containers of a pod (1.36 can)")
            }
            Obstacle::Version(version, NodeFeature::EnvFiles | NodeFeature::ImageVolumes) => {
                write!(f, "Kubernetes {version} has neither variables from files nor image volumes (1.35 has)")
            }
        }
    }
}

impl Obstacle {
    /// What would help.
    #[must_use]
    pub fn remedy(&self, feature: NodeFeature) -> String {
        match self {
            Obstacle::Unread => "try again, and if that does not help, ask the operator whether the webhook may list and watch nodes".to_owned(),
            Obstacle::NoCluster | Obstacle::NoNode => format!("ask the operator to set features.{} to on, if every node can do it", feature.key()),
            Obstacle::Node { name, .. } => format!("ask the operator to upgrade or cordon node {name}"),
            Obstacle::Version(..) => "name another version by --kubernetes-version".to_owned(),
        }
    }
}

/// The answers to all features; every one no until nodes have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswers([Answer; 3]);

impl Default for NodeAnswers {
    fn default() -> NodeAnswers {
        NodeAnswers::no(&Obstacle::Unread)
    }
}

impl NodeAnswers {
    /// No to everything, for one reason.
    #[must_use]
    pub fn no(obstacle: &Obstacle) -> NodeAnswers {
        NodeAnswers(NodeFeature::ALL.map(|_| Answer::No(obstacle.clone())))
    }

    /// By name and facts of every schedulable Linux node, in any order.
    #[must_use]
    pub fn of<'n>(nodes: impl IntoIterator<Item = (&'n str, &'n NodeFacts)>) -> NodeAnswers {
        let mut seen = false;
        let mut first: [Option<(&str, &NodeFacts)>; 3] = [None; 3];
        for (name, facts) in nodes {
            seen = true;
            for (feature, first) in NodeFeature::ALL.into_iter().zip(&mut first) {
                if first.is_none_or(|(other, _)| name < other) && !facts.can(feature) {
                    *first = Some((name, facts));
                }
            }
        }
        if !seen {
            return NodeAnswers::no(&Obstacle::NoNode);
        }
        let answer = |feature: NodeFeature| match first[feature as usize] {
            None => Answer::Yes,
            Some((name, facts)) => Answer::No(Obstacle::Node { name: name.to_owned(), lack: facts.lack(feature) }),
        };
        NodeAnswers(NodeFeature::ALL.map(answer))
    }

    /// As if every node were of this version, with a runtime of its time.
    #[must_use]
    pub fn of_version(version: KubernetesVersion) -> NodeAnswers {
        let answer = |feature: NodeFeature| {
            let since = if feature == NodeFeature::RestartInPlace { RESTARTS } else { FILES };
            if version.0 >= since { Answer::Yes } else { Answer::No(Obstacle::Version(version, feature)) }
        };
        NodeAnswers(NodeFeature::ALL.map(answer))
    }

    /// The answer to one.
    #[must_use]
    pub fn get(&self, feature: NodeFeature) -> &Answer {
        &self.0[feature as usize]
    }
}

/// `1.36`, also as `v1.36.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KubernetesVersion(Release);

impl KubernetesVersion {
    /// The newest that this build knows of.
    pub const NEWEST: KubernetesVersion = KubernetesVersion((1, 36));
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.0, self.0.1)
    }
}

impl FromStr for KubernetesVersion {
    type Err = NameError;

    fn from_str(text: &str) -> Result<KubernetesVersion, NameError> {
        let version = version_of(text).map(KubernetesVersion);
        version.ok_or_else(|| NameError::new("a version of Kubernetes", text, "major and minor number, such as 1.36"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kubelet: &str, runtime: &str, declared: &[&str]) -> NodeFacts {
        NodeFacts::new(kubelet, runtime, declared.iter().copied())
    }

    /// The answers as three letters.
    fn letters(answers: &NodeAnswers) -> String {
        NodeFeature::ALL.map(|feature| if *answers.get(feature) == Answer::Yes { 'y' } else { 'n' }).iter().collect()
    }

    #[test]
    fn each_feature_has_its_own_demands() {
        for (kubelet, runtime, declared, expected) in [
            ("v1.36.3", "containerd://2.2.9", &[RESTART_ALL, "Other"][..], "yyy"),
            ("v1.36.3", "containerd://2.2.9", &["Other"], "yyn"),
            ("v1.35.0-eks-113cf36", "containerd://1.7.27", &[RESTART_ALL], "yny"),
            ("v1.35.1+k3s1", "containerd://2.1.4-k3s1", &[], "yyn"),
            ("v1.35.2-gke.1234000", "cri-o://1.33.1", &[], "yyn"),
            ("v1.35.2", "cri-o://1.32.9", &[], "ynn"),
            ("v1.34.9", "containerd://2.2.0", &[], "nnn"),
            ("v2.0.0", "containerd://3.0.0", &[], "yyn"),
            ("", "", &[], "nnn"),
        ] {
            let facts = node(kubelet, runtime, declared);
            assert_eq!(letters(&NodeAnswers::of([("a", &facts)])), expected, "{kubelet} {runtime} {declared:?}");
        }
    }

    #[test]
    fn every_node_counts_and_the_first_by_name_is_named() {
        let (new, old, older) =
            (node("v1.36.3", "containerd://2.2.9", &[RESTART_ALL]), node("v1.34.2", "containerd://1.7.0", &[]), node("v1.33.0", "docker://28", &[]));
        assert_eq!(letters(&NodeAnswers::of([("b", &new), ("a", &new)])), "yyy");
        let answers = NodeAnswers::of([("n-2", &old), ("n-3", &new), ("n-1", &older)]);
        assert_eq!(letters(&answers), "nnn");
        let Answer::No(obstacle) = answers.get(NodeFeature::EnvFiles) else { panic!("{answers:?}") };
        assert_eq!(obstacle.to_string(), "node n-1 runs kubelet v1.33.0, and variables from files need 1.35 or later");
        let Answer::No(obstacle) = NodeAnswers::of([("n", &NodeFacts::default())]).get(NodeFeature::ImageVolumes).clone() else { panic!() };
        assert_eq!(
            obstacle.to_string(),
            "node n runs an unknown kubelet and an unknown runtime, and image volumes need kubelet 1.35 and containerd 2.1 or CRI-O 1.33, or later"
        );
    }

    #[test]
    fn without_a_node_the_answer_is_no() {
        let word = |answers: &NodeAnswers| match answers.get(NodeFeature::RestartInPlace) {
            Answer::Yes => "yes".to_owned(),
            Answer::No(obstacle) => obstacle.to_string(),
        };
        assert_eq!(word(&NodeAnswers::of([])), "the cluster has no schedulable Linux node");
        assert_eq!(word(&NodeAnswers::default()), "the webhook has not read the cluster's nodes yet");
        assert_eq!(word(&NodeAnswers::no(&Obstacle::NoCluster)), "the webhook runs without a cluster and knows no node");
    }

    #[test]
    fn a_version_answers_for_a_whole_cluster() {
        for (version, expected) in [("1.34", "nnn"), ("v1.35.7", "yyn"), ("1.36", "yyy"), ("2.0", "yyy")] {
            assert_eq!(letters(&NodeAnswers::of_version(version.parse().unwrap())), expected, "{version}");
        }
        assert_eq!(letters(&NodeAnswers::of_version(KubernetesVersion::NEWEST)), "yyy");
        assert_eq!(
            "latest".parse::<KubernetesVersion>().unwrap_err().to_string(),
            "\"latest\" is not a version of Kubernetes: major and minor number, such as 1.36"
        );
        let Answer::No(obstacle) = NodeAnswers::of_version("1.35".parse().unwrap()).get(NodeFeature::RestartInPlace).clone() else { panic!() };
        assert_eq!(obstacle.to_string(), "Kubernetes 1.35 cannot restart all containers of a pod (1.36 can)");
    }
}
