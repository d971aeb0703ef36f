//! What is logged and counted of a review: who asked and what came of it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::answer::Verdict;
use super::metrics::Metrics;
use super::request::{Request, Subject};
use keyvault_common::excerpt::excerpt;
use keyvault_mutation::inject::Denial;
use keyvault_mutation::pod::PodView;

/// One review, for the log and the counters.
pub(super) struct Report {
    uid: String,
    namespace: String,
    pod: String,
    dry_run: bool,
    outcome: &'static str,
    warnings: usize,
    /// Whether something that another version or configuration of ours left was replaced.
    replaced: bool,
    policy_findings: usize,
    /// Bad annotations of the Namespace.
    namespace_problems: Vec<String>,
    /// Why the pod was denied.
    problems: Option<String>,
}

/// No name that Kubernetes allows is longer.
const NAME: usize = 253;
/// How many problems of a denial are logged. The author gets them all, the operator what kind they are of.
const PROBLEMS: usize = 10;

impl Report {
    /// Without a verdict the core panicked.
    pub(super) fn new(request: &Request<'_>, verdict: Option<&mut Verdict>) -> Report {
        let mut report = Report {
            uid: excerpt(request.uid.as_str(), NAME).into_owned(),
            namespace: excerpt(request.namespace.as_str(), NAME).into_owned(),
            pod: if let Subject::Pod(pod) = &request.subject { name(pod) } else { String::new() },
            dry_run: request.dry_run,
            outcome: verdict.as_ref().map_or("panicked", |verdict| verdict.word()),
            warnings: 0,
            replaced: false,
            policy_findings: 0,
            namespace_problems: Vec::new(),
            problems: None,
        };
        match verdict {
            Some(Verdict::Allowed(injection)) => {
                report.warnings = injection.warnings.len();
                report.replaced = injection.replaced;
                report.policy_findings = injection.policy_findings;
                report.namespace_problems = std::mem::take(&mut injection.namespace_problems);
            }
            Some(Verdict::Denied(denial)) => report.problems = Some(first_problems(denial)),
            Some(Verdict::NotOurs | Verdict::Unreadable(_) | Verdict::NoDefaults { .. }) | None => {}
        }
        report
    }

    /// Counts the review and writes its line.
    pub(super) fn publish(&self, time: Duration, metrics: &Metrics, told: &Told) {
        metrics.answered(self.outcome);
        metrics.took(time);
        metrics.found(self.warnings, self.policy_findings, self.namespace_problems.len());
        let namespace = self.namespace.as_str();
        for problem in self.namespace_problems.iter().filter(|problem| told.is_new(namespace, problem)) {
            tracing::warn!(namespace, problem, "a Namespace has a bad annotation");
        }
        tracing::info!(
            uid = self.uid,
            namespace,
            pod = self.pod,
            outcome = self.outcome,
            milliseconds = milliseconds(time),
            dry_run = self.dry_run,
            warnings = self.warnings,
            replaced = self.replaced,
            problems = self.problems.as_deref(),
            "review"
        );
    }

    /// Writes the line of a review whose answer came too late.
    pub(super) fn publish_late(&self, time: Duration) {
        let (uid, namespace, pod) = (self.uid.as_str(), self.namespace.as_str(), self.pod.as_str());
        tracing::warn!(uid, namespace, pod, milliseconds = milliseconds(time), "a review took so long that nobody waits for its answer");
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn first_problems(denial: &Denial) -> String {
    let shown = &denial.problems[..denial.problems.len().min(PROBLEMS)];
    match denial.problems.len() + denial.more - shown.len() {
        0 => shown.join("\n"),
        more => format!("{}\nand {more} more", shown.join("\n")),
    }
}

/// Whom people look for: the owner, whose pods have no names yet, or else the pod.
fn name(pod: &PodView<'_>) -> String {
    let short = |text| excerpt(text, NAME);
    match (pod.owner(), &pod.metadata.name, &pod.metadata.generate_name) {
        (Some((kind, name)), ..) => format!("{}/{}", short(kind), short(name)),
        (None, Some(name), _) => short(name.as_str()).into_owned(),
        (None, None, Some(prefix)) => format!("{}*", short(prefix.as_str())),
        (None, None, None) => String::new(),
    }
}

/// Which problems of Namespaces were logged: a bad annotation is one line, not one with every pod.
#[derive(Default)]
pub(super) struct Told {
    /// Hashes with a key of this process: the texts can be long, and an edit of a Namespace makes new ones.
    seen: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Told {
    /// So many are remembered; then all may be logged again.
    const MOST: usize = 1000;

    fn is_new(&self, namespace: &str, problem: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= Told::MOST {
            seen.clear();
        }
        seen.insert(self.hasher.hash_one((namespace, problem)))
    }
}
