//! What the benchmarks share: a review as an API server sends it, the defaults it meets, and how samples are compared.

use std::sync::Arc;

use keyvault_injector::webhook::{FixedDefaults, Metrics, Reviewer};
use keyvault_mutation::config::Config;
use serde_json::Value;

/// The review, compact as on the wire: 12 to 13 KB, five containers, two references.
pub(crate) fn review() -> Vec<u8> {
    let review: Value = serde_json::from_str(include_str!("review.json")).expect("the fixture is JSON");
    let bytes = review.to_string().into_bytes();
    assert!((12_000..=13_000).contains(&bytes.len()), "the fixture has {} bytes", bytes.len());
    bytes
}

/// The manifests that the pod inherits from.
pub(crate) const MANIFESTS: &str = "\
kind: Namespace
metadata: {name: payments}
---
kind: ServiceAccount
metadata:
  name: checkout
  namespace: payments
  annotations: {azure.workload.identity/client-id: 0f1e2d3c-1111-4222-8333-444455556666}
";

/// The operator's file, without its `server` part.
pub(crate) const CONFIG: &str = "\
agent:
  image: registry.example/keyvault-injector:0.1.0
defaults:
  tenantId: aaaabbbb-1111-4222-8333-444455556666
";

/// The reviewer that the webhook has, with these manifests and this file.
pub(crate) fn reviewer() -> Reviewer {
    let mut fixed = FixedDefaults::default();
    fixed.add(MANIFESTS).expect("the manifests are good");
    let config = Config::parse(CONFIG, "config.yaml").expect("the configuration is good");
    Reviewer::new(config, Arc::new(fixed), Arc::new(Metrics::default()))
}

/// Says whether a figure keeps its limit, as a line, and passes the verdict on.
pub(crate) fn judge(name: &str, value: f64, keeps: bool, limit: &str) -> bool {
    println!("{name}: {value:.3} ({limit}){}", if keeps { "" } else { "  BROKEN" });
    keeps
}

/// The middle sample.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// An answer must carry a patch: a benchmark of refusals would measure nothing.
pub(crate) fn assert_injected(answer: &[u8]) {
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    assert!(answer["response"]["patch"].is_string(), "the pod was not injected: {}", answer["response"]);
}
