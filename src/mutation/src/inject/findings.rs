//! What a review collects on its way, bounded: whatever a pod's author writes, so much is kept and the rest is counted.

use super::Denial;
use crate::config::{Policy, PolicyMode};
use keyvault_common::excerpt::excerpt;

/// How many problems, and how many warnings, are kept. The answer travels in Events and in an annotation.
const MAX_SHOWN: usize = 50;
/// How long each may be, in bytes.
const MAX_LENGTH: usize = 1024;

/// A sentence for the pod's author, or what makes it: a closure runs only if the sentence is kept.
pub(super) trait Sentence {
    fn text(self) -> String;
}

impl Sentence for String {
    fn text(self) -> String {
        self
    }
}

impl Sentence for &str {
    fn text(self) -> String {
        self.to_owned()
    }
}

impl<F: FnOnce() -> String> Sentence for F {
    fn text(self) -> String {
        self()
    }
}

/// So many sentences, and how many more there were.
#[derive(Debug, Default)]
pub(super) struct Sentences {
    pub(super) kept: Vec<String>,
    pub(super) more: usize,
}

impl Sentences {
    pub(super) fn add(&mut self, sentence: impl Sentence) {
        if self.kept.len() < MAX_SHOWN {
            self.kept.push(cut(sentence.text()));
        } else {
            self.more += 1;
        }
    }

    fn count(&self) -> usize {
        self.kept.len() + self.more
    }

    /// The sentences, and one about the rest.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more", self.more));
        }
        self.kept
    }
}

fn cut(text: String) -> String {
    if text.len() <= MAX_LENGTH { text } else { excerpt(&text, MAX_LENGTH).into_owned() }
}

/// Problems deny, warnings do not; both are sentences for the pod's author.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Sentences,
    absent: bool,
    warnings: Sentences,
    /// About how the pod came in. A second pass looks for each of them in the pod, so none is left out.
    remarks: Vec<&'static str>,
    pub(super) policy_findings: usize,
}

impl Findings {
    pub(super) fn problem(&mut self, sentence: impl Sentence) {
        self.problems.add(sentence);
    }

    /// Problems that were counted where they were found.
    pub(super) fn further_problems(&mut self, count: usize) {
        self.problems.more += count;
    }

    /// How many problems there are.
    pub(super) fn count(&self) -> usize {
        self.problems.count()
    }

    /// A problem that a fresh look at Namespace or ServiceAccount could lift.
    pub(super) fn absence(&mut self, sentence: impl Sentence) {
        self.absent = true;
        self.problem(sentence);
    }

    pub(super) fn warning(&mut self, sentence: impl Sentence) {
        self.warnings.add(sentence);
    }

    /// A warning that is kept however many there are.
    pub(super) fn remark(&mut self, sentence: &'static str) {
        self.remarks.push(sentence);
    }

    /// The warnings in the order found, remarks last.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.warnings).into_lines();
        lines.extend(self.remarks.drain(..).map(str::to_owned));
        lines
    }

    /// Something that policy forbids: a problem, or in audit mode a warning and a count.
    pub(super) fn forbidden(&mut self, policy: &Policy, text: String) {
        match policy.mode {
            PolicyMode::Enforce => self.problem(text),
            PolicyMode::Audit => {
                self.policy_findings += 1;
                self.warning(|| format!("policy (audit only): {text}"));
            }
        }
    }

    /// The denial, if there is any problem.
    pub(super) fn deny(&mut self) -> Option<Denial> {
        let Sentences { kept, more } = std::mem::take(&mut self.problems);
        (!kept.is_empty()).then_some(Denial { problems: kept, more, rests_on_absence: self.absent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_counted_and_never_formatted() {
        let mut findings = Findings::default();
        let mut formatted = 0;
        for index in 0..1000 {
            findings.problem(|| {
                formatted += 1;
                format!("{index}")
            });
        }
        assert_eq!((findings.count(), formatted), (1000, 50));
        let denial = findings.deny().unwrap();
        assert_eq!((denial.problems.len(), denial.more), (50, 950));
        let text = denial.to_string();
        assert!(text.starts_with("keyvault-injector found 1000 problems with this pod:\n- 0\n- 1\n"), "{text}");
        assert!(text.ends_with("\n- 49\n- and 950 more"), "{text}");
    }

    #[test]
    fn a_sentence_is_cut_to_one_kibibyte() {
        let mut findings = Findings::default();
        findings.problem("é".repeat(100_000));
        findings.warning("x".repeat(1024));
        assert_eq!(findings.deny().unwrap().problems, [format!("{}…", "é".repeat(510))]);
        assert_eq!(findings.take_warnings(), ["x".repeat(1024)]);
    }

    #[test]
    fn remarks_are_kept_behind_however_many_warnings() {
        let mut findings = Findings::default();
        (0..60).for_each(|index| findings.warning(|| format!("{index}")));
        findings.remark("the pod came in somehow");
        let warnings = findings.take_warnings();
        assert_eq!(warnings[49..], ["49", "and 10 more", "the pod came in somehow"]);
    }
}
