//! What parses already and is not carried out yet. Each arm is the one place to lift a denial.

use super::findings::Findings;

/// A part of the contract that a later version carries out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Feature {
    AgentImage,
}

/// Denies what is not available yet. `place` names where it was asked for.
pub(super) fn require(feature: Feature, place: &str, findings: &mut Findings) {
    let until_then = match feature {
        Feature::AgentImage => "remove it: only the operator chooses the agent's image",
    };
    findings.problem(format!("{place}: not available yet in this version; {until_then}"));
}
