//! What parses already and is not carried out yet. Each arm is the one place to lift a denial.

use super::findings::Findings;

/// A part of the contract that a later version carries out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Feature {
    Env,
    Select,
    Refresh,
    OnChange,
    AgentImage,
}

/// Denies what is not available yet. `place` names where it was asked for.
pub(super) fn require(feature: Feature, place: &str, findings: &mut Findings) {
    findings.problem(format!("{place}: {}", not_yet(feature)));
}

/// Says that a feature is not available, and what to do until then.
pub(super) fn not_yet(feature: Feature) -> String {
    let until_then = match feature {
        Feature::Env => "take the values from files: name the secrets under secrets",
        Feature::Select => "name the secrets one by one",
        Feature::Refresh => "write off on the pod: files are fetched once, at its start",
        Feature::OnChange => "write none: files do not change while the pod runs",
        Feature::AgentImage => "remove it: only the operator chooses the agent's image",
    };
    format!("not available yet in this version; {until_then}")
}
