//! The references of one annotation.

use super::findings::Findings;
use super::sources::Sources;
use crate::annotations::Key;
use crate::reference::{self, Grammar, Parsed, Reference};
use keyvault_common::plan::MAX_ENTRIES;

/// The references that are right. None where there are more than any plan holds, which is a problem by itself.
pub(super) fn read(sources: &Sources<'_>, key: Key, grammar: Grammar, findings: &mut Findings) -> Vec<Reference> {
    let Some(text) = sources.pod.get(key) else { return Vec::new() };
    let Parsed { references, count, problems, problem_count, .. } = reference::parse(text, grammar);
    let further = problem_count - problems.len();
    for problem in problems {
        findings.problem(|| format!("annotation {}: {problem}", key.annotation()));
    }
    findings.further_problems(further);
    if count <= MAX_ENTRIES {
        return references;
    }
    findings.problem(|| {
        format!("annotation {}: it has {count} references, and {MAX_ENTRIES} are the most that a plan can hold: name fewer", key.annotation())
    });
    Vec::new()
}
