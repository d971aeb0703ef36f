//! Says when a pod came in with an injection that is not the one it is given.

use serde_json::Value;

use super::findings::Findings;
use super::merge::is_mirrored;
use super::ours::Ours;
use super::planning::Planned;
use crate::annotations::{Annotations, Key};
use crate::config::Config;
use crate::plan::{PLAN_VARIABLE, Plan};
use crate::pod::PodView;

const CARRIED: &str = "the pod came with a status or warnings annotation, which only keyvault-injector writes; it was overwritten";
const STALE: &str = "the pod came with another plan (it is a copy of an injected pod, or was changed since); it was injected anew";
const IMAGE: &str = "the pod came with another agent image; it was replaced by the operator's";

/// Adds the warnings that fit. A second pass sees a pod that was put right by the first and keeps what that said.
pub(super) fn judge(pod: &PodView<'_>, ours: &Ours, plan: &Planned, config: &Config, findings: &mut Findings) {
    let (annotations, _) = Annotations::read(pod.our_annotations());
    let injected = !ours.agents.is_empty();
    let said = |sentence: &str| injected && annotations.get(Key::Warnings).is_some_and(|text| text.lines().any(|line| line == sentence));
    let carried = !injected && annotations.keys().any(Key::is_output);
    let agents = || ours.agents.iter().map(|(_, agent)| agent);
    let is_other = |text: &Value| text.as_str().is_none_or(|text| text != plan.json && without_room(text) != without_room(&plan.json));
    let is_stale = |agent: &Value| agent["env"].as_array().into_iter().flatten().any(|v| v["name"] == PLAN_VARIABLE && is_other(&v["value"]));
    let stale = agents().any(is_stale);
    let image = agents().any(|agent| !agent["image"].as_str().is_some_and(|image| is_mirrored(image, &config.agent.image)));
    for (sentence, now) in [(CARRIED, carried), (STALE, stale), (IMAGE, image)] {
        if now || said(sentence) {
            findings.warning(sentence);
        }
    }
}

/// A plan but for what follows from the number of containers, which another webhook may change between two passes.
fn without_room(plan: &str) -> Option<Plan> {
    let mut plan = Plan::from_json(plan).ok()?;
    plan.termination_message_bytes = None;
    Some(plan)
}
