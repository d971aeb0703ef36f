//! What a review collects on its way.

use super::Denial;
use crate::config::{Policy, PolicyMode};

/// Problems deny, warnings do not; both are sentences for the pod's author.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<String>,
    absent: bool,
    pub(super) warnings: Vec<String>,
    pub(super) policy_findings: usize,
}

impl Findings {
    pub(super) fn new(problems: Vec<String>) -> Findings {
        Findings { problems, ..Findings::default() }
    }

    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// How many problems there are.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// A problem that a fresh look at Namespace or ServiceAccount could lift.
    pub(super) fn absence(&mut self, text: impl Into<String>) {
        self.absent = true;
        self.problem(text);
    }

    pub(super) fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Something that policy forbids: a problem, or in audit mode a warning and a count.
    pub(super) fn forbidden(&mut self, policy: &Policy, text: String) {
        match policy.mode {
            PolicyMode::Enforce => self.problem(text),
            PolicyMode::Audit => {
                self.policy_findings += 1;
                self.warning(format!("policy (audit only): {text}"));
            }
        }
    }

    /// The denial, if there is any problem.
    pub(super) fn deny(&mut self) -> Option<Denial> {
        if self.problems.is_empty() {
            return None;
        }
        Some(Denial { problems: std::mem::take(&mut self.problems), rests_on_absence: self.absent })
    }
}
