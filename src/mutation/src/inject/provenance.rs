//! Warns if a pod came in with what only we write, or with a stranger's image under our name.

use super::findings::Findings;
use super::image::is_trusted;
use super::ours::Ours;
use crate::annotations::{Annotations, Key};
use crate::config::AgentConfig;
use crate::pod::PodView;

const CARRIED: &str = "the pod came with a status or warnings annotation, which only keyvault-injector writes; it was overwritten";
const IMAGE: &str = "the pod came with an agent image that is not the operator's; it was replaced (if a webhook of the cluster rewrites images, the operator lists the mirror in agent.imageMirrors)";

/// Adds the warnings that fit. A second pass sees a pod that was put right by the first and keeps what that said. What another version or
/// configuration of ours left is no news for the pod's author.
pub(super) fn judge(pod: &PodView<'_>, ours: &Ours, agent: &AgentConfig, findings: &mut Findings) {
    let (annotations, _) = Annotations::read(pod.our_annotations());
    let injected = !ours.agents.is_empty();
    let said = |sentence: &str| injected && annotations.get(Key::Warnings).is_some_and(|text| text.lines().any(|line| line == sentence));
    let carried = !injected && annotations.keys().any(Key::is_output);
    let foreign = ours.agents.iter().any(|(_, container)| !container["image"].as_str().is_some_and(|image| is_trusted(image, agent)));
    for (sentence, now) in [(CARRIED, carried), (IMAGE, foreign)] {
        if now || said(sentence) {
            findings.remark(sentence);
        }
    }
}
