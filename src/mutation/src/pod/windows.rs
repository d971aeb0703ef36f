//! Everything in a pod that can demand a Windows node.

use super::{PodView, Text};

/// `spec.os`
#[derive(Debug, serde::Deserialize)]
pub struct Os<'a> {
    /// `linux` or `windows`.
    #[serde(borrow)]
    pub name: Text<'a>,
}

/// `spec.nodeSelector`, as far as it can demand Windows.
#[derive(Debug, serde::Deserialize)]
pub struct NodeLabels<'a> {
    #[serde(borrow, rename = "kubernetes.io/os")]
    os: Option<Text<'a>>,
    #[serde(borrow, rename = "beta.kubernetes.io/os")]
    beta_os: Option<Text<'a>>,
}

/// `spec.affinity`, as far as it can demand Windows.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity<'a> {
    /// Rules about nodes.
    #[serde(borrow)]
    node_affinity: Option<NodeAffinity<'a>>,
}

/// `spec.affinity.nodeAffinity`
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeAffinity<'a> {
    /// The rules that must hold.
    #[serde(borrow, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector<'a>>,
}

/// Alternatives, one of which must hold.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelector<'a> {
    /// The alternatives.
    #[serde(borrow, default, deserialize_with = "super::or_default")]
    node_selector_terms: Vec<NodeSelectorTerm<'a>>,
}

/// One alternative.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelectorTerm<'a> {
    /// Its demands.
    #[serde(borrow)]
    match_expressions: Option<Vec<NodeRequirement<'a>>>,
}

/// One demand.
#[derive(Debug, serde::Deserialize)]
struct NodeRequirement<'a> {
    /// A label.
    #[serde(borrow)]
    key: Text<'a>,
    /// `In`, `NotIn` …
    #[serde(borrow)]
    operator: Text<'a>,
    /// The label's values.
    #[serde(borrow)]
    values: Option<Vec<Text<'a>>>,
}

impl PodView<'_> {
    /// Whether the pod can only run on Windows.
    #[must_use]
    pub fn is_windows(&self) -> bool {
        let spec = &self.spec;
        let mut labels = spec.node_selector.iter().flat_map(|labels| [&labels.os, &labels.beta_os]).flatten();
        let selected = labels.any(|os| os.as_str() == "windows");
        selected || spec.os.as_ref().is_some_and(|os| os.name.as_str() == "windows") || spec.affinity.as_ref().is_some_and(demands_windows)
    }
}

fn is_os_label(key: &str) -> bool {
    matches!(key, "kubernetes.io/os" | "beta.kubernetes.io/os")
}

/// Whether every alternative of the required node affinity takes only Windows nodes.
fn demands_windows(affinity: &Affinity<'_>) -> bool {
    let Some(required) = affinity.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref()) else { return false };
    let only_windows = |values: &[Text<'_>]| !values.is_empty() && values.iter().all(|value| value.as_str() == "windows");
    let demands = |rule: &NodeRequirement<'_>| {
        is_os_label(rule.key.as_str()) && rule.operator.as_str() == "In" && rule.values.as_deref().is_some_and(only_windows)
    };
    !required.node_selector_terms.is_empty() && required.node_selector_terms.iter().all(|term| term.match_expressions.iter().flatten().any(demands))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: &str) -> PodView<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn windows_is_seen_wherever_it_is_demanded() {
        let demand = |key: &str, operator: &str| {
            format!(
                r#"{{"spec":{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{{"matchExpressions":[{{"key":"{key}","operator":"{operator}","values":["windows"]}}]}}]}}}}}}}}}}"#
            )
        };
        for (json, expected) in [
            (r#"{"spec":{"os":{"name":"windows"}}}"#.to_owned(), true),
            (r#"{"spec":{"nodeSelector":{"kubernetes.io/os":"windows"}}}"#.to_owned(), true),
            (r#"{"spec":{"nodeSelector":{"beta.kubernetes.io/os":"windows"}}}"#.to_owned(), true),
            (demand("kubernetes.io/os", "In"), true),
            (demand("kubernetes.io/os", "NotIn"), false),
            (demand("team", "In"), false),
            (r#"{"spec":{"os":{"name":"linux"},"nodeSelector":{"kubernetes.io/os":"linux"}}}"#.to_owned(), false),
        ] {
            assert_eq!(pod(&json).is_windows(), expected, "{json}");
        }
    }
}
