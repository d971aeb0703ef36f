//! The pure core: a pod and its defaults in, a patch or a denial out. No clock, disk, network or async.
//!
//! Annotations → `settings` → `views` → `given` → `planning` → `container` → `patch`. The plan is computed from annotations alone, on every
//! pass; what an earlier pass left is recognised by `ours` and only the difference is emitted.

mod abilities;
mod available;
mod config_map;
mod consumers;
mod container;
mod credential;
mod delivery;
mod findings;
mod given;
mod identity;
mod image;
mod limits;
mod merge;
mod mounts;
mod ours;
mod patch;
mod planning;
mod provenance;
mod reaction;
mod references;
mod reserved;
mod resources;
mod settings;
mod sources;
mod templates;
mod views;
mod wrap;

use crate::annotations::{Annotations, Key};
use crate::config::Config;
use crate::nodes::NodeAnswers;
use crate::pod::PodView;
use container::Frame;
use findings::Findings;
use given::Asked;
use merge::Admission;
use planning::Planning;
pub use reserved::{AGENT, REFRESHER};
use sources::Sources;

/// The annotations of the pod's Namespace that carry our prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceDefaults {
    /// The namespace the pod is created in, from the request.
    pub name: String,
    /// Key without prefix, value.
    pub annotations: Vec<(String, String)>,
}

/// What the pod's ServiceAccount says of its Azure identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccountDefaults {
    /// Whether the ServiceAccount was found.
    pub found: bool,
    /// `azure.workload.identity/client-id`.
    pub client_id: Option<String>,
    /// `azure.workload.identity/tenant-id`.
    pub tenant_id: Option<String>,
}

/// What a review ends in when it does not end in a denial.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Explicit operations in a stable order; empty where nothing changes.
    pub patch: json_patch::Patch,
    /// Why the patch is what it is.
    pub outcome: Outcome,
    /// What is allowed but surprising, for the pod's author.
    pub warnings: Vec<String>,
    /// For the audit log: key, value; objects' names, never values.
    pub audit: Vec<(&'static str, String)>,
    /// Problems of the Namespace's own annotations that this pod does not use: a log line and a metric.
    pub namespace_problems: Vec<String>,
    /// What policy would have denied, had its mode been `enforce`: a counter.
    pub policy_findings: usize,
    /// Whether the pod came with something under our names that is not what it is given: of another version or configuration, or forged.
    pub replaced: bool,
}

/// Why a patch is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod asked and was given.
    Injected,
    /// The pod already has everything: a second pass.
    Unchanged,
    /// Nothing under our prefix asks for anything.
    NotAsked,
    /// `inject: "false"`.
    OptedOut,
    /// A mirror pod: the kubelet runs it already.
    Mirror,
}

impl Outcome {
    /// The word for a log line or a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Injected => "injected",
            Outcome::Unchanged => "unchanged",
            Outcome::NotAsked => "not-asked",
            Outcome::OptedOut => "opted-out",
            Outcome::Mirror => "mirror",
        }
    }
}

/// Why a pod is refused: all problems at once, in words for its author. `Display` is the whole text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", text(problems, *more))]
pub struct Denial {
    /// One line each: the first fifty, each cut to 1 KiB.
    pub problems: Vec<String>,
    /// How many more there are.
    pub more: usize,
    /// Whether a fresh look at the Namespace or ServiceAccount could lift the denial, because it rests on something absent there.
    pub rests_on_absence: bool,
}

fn text(problems: &[String], more: usize) -> String {
    let count = if problems.len() + more == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len() + more) };
    let lines: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
    let more = if more == 0 { String::new() } else { format!("\n- and {more} more") };
    format!("keyvault-injector found {count} with this pod:{lines}{more}")
}

/// Decides what happens to a pod.
///
/// # Errors
/// A [`Denial`] where anything that the pod asks for is wrong or forbidden.
pub fn inject(
    pod: &PodView<'_>,
    namespace: &NamespaceDefaults,
    account: &ServiceAccountDefaults,
    nodes: &NodeAnswers,
    config: &Config,
) -> Result<Injection, Denial> {
    if pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.mirror) {
        return Ok(untouched(Outcome::Mirror, Vec::new()));
    }
    if let Some(problem) = limits::annotations(pod) {
        return Err(refusal(problem));
    }
    let (annotations, unknown) = Annotations::read(pod.our_annotations());
    if annotations.get(Key::Inject) == Some("false") {
        return Ok(untouched(Outcome::OptedOut, Vec::new()));
    }
    let mut findings = Findings::default();
    let mut listed = false;
    for key in unknown {
        findings.problem(|| key.sentence(&mut listed));
    }
    if let Some(other) = annotations.get(Key::Inject).filter(|text| *text != "true") {
        findings.problem(format!("annotation {}: {other:?} is neither \"true\" nor \"false\"", Key::Inject.annotation()));
    }
    if !annotations.keys().any(Key::asks) {
        return match findings.deny() {
            Some(denial) => Err(denial),
            None => Ok(idle(annotations, namespace, config)),
        };
    }
    if let Some(problem) = limits::containers_of(pod) {
        return Err(refusal(problem));
    }
    if pod.is_windows() {
        findings.problem(
            "the pod is for Windows, and the agent runs on Linux only: remove the content annotations, or move the containers to Linux nodes",
        );
    }
    let sources = Sources::new(annotations, namespace);
    let mut injection = asked(pod, &sources, (account, nodes), config, findings)?;
    injection.namespace_problems = sources.namespace_problems(config);
    Ok(injection)
}

/// The way of a pod that asks for something.
fn asked(
    pod: &PodView<'_>,
    sources: &Sources<'_>,
    (account, nodes): (&ServiceAccountDefaults, &NodeAnswers),
    config: &Config,
    mut findings: Findings,
) -> Result<Injection, Denial> {
    let settings = settings::read(sources, config, &mut findings);
    let identity = identity::resolve(pod, sources, account, config, &mut findings);
    let ours = ours::find(pod, &config.agent, &mut findings);
    let abilities = abilities::settle(config, nodes, pod, &ours);
    let views = views::arrange(pod, &settings, config, &abilities, &mut findings);
    let reaction = reaction::choose(pod, &settings, &views, abilities.restart_in_place, &mut findings);
    let containers = consumers::containers(pod).count() + container::roles(pod, &settings).len();
    let given = given::given(pod, &Asked { settings: &settings, views: &views, reaction, count: containers }, &mut findings);
    let wraps = given.iter().any(|given| given.wrapper.is_some());
    let image_volumes = abilities.image_volumes;
    let copies = wraps && !image_volumes;
    let plan = planning::plan(&Planning { settings: &settings, views: &views, config, copies, reaction, containers }, identity, &mut findings);
    let agents = resources::of_agents(pod, &settings, &views, copies, &mut findings);
    let plan = match (findings.deny(), plan) {
        (Some(denial), _) => return Err(denial),
        (None, Some(plan)) => plan,
        (None, None) => {
            return Err(refusal("the plan could not be written; please report this pod's annotations".into()));
        }
    };
    provenance::judge(pod, &ours, &config.agent, &mut findings);
    let frame = Frame { plan: &plan, views: &views, settings: &settings, agents: &agents, wraps, image_volumes, reaction, config };
    let wanted = patch::Wanted {
        agents: container::agents(&frame),
        volumes: container::volumes(&frame),
        given,
        admission: Admission::new(pod, &config.agent),
    };
    let mut operations = patch::difference(pod, &ours, wanted);
    patch::bind(pod, plan.binding.as_ref(), &mut operations);
    let warnings = findings.take_warnings();
    patch::annotate(pod, &plan.status, &warnings, &mut operations);
    Ok(Injection {
        replaced: operations.replaces(),
        outcome: if operations.is_empty() { Outcome::Unchanged } else { Outcome::Injected },
        patch: operations.into_patch(),
        warnings,
        audit: vec![("objects", plan.objects)],
        namespace_problems: Vec::new(),
        policy_findings: findings.policy_findings,
    })
}

/// A denial for one reason, beside which no other was looked for.
fn refusal(problem: String) -> Denial {
    Denial { problems: vec![problem], more: 0, rests_on_absence: false }
}

fn untouched(outcome: Outcome, warnings: Vec<String>) -> Injection {
    Injection {
        patch: json_patch::Patch(Vec::new()),
        outcome,
        warnings,
        audit: Vec::new(),
        namespace_problems: Vec::new(),
        policy_findings: 0,
        replaced: false,
    }
}

/// A pod that asks for nothing. If it seems to, what is wrong with its Namespace is said as well: that may be why.
fn idle(annotations: Annotations<'_>, namespace: &NamespaceDefaults, config: &Config) -> Injection {
    let warnings = idle_warnings(&annotations);
    let namespace_problems = if warnings.is_empty() { Vec::new() } else { Sources::new(annotations, namespace).namespace_problems(config) };
    Injection { namespace_problems, ..untouched(Outcome::NotAsked, warnings) }
}

/// Known keys that ask for nothing are most likely an oversight, `inject: "true"` among them.
fn idle_warnings(annotations: &Annotations<'_>) -> Vec<String> {
    let idle: Vec<String> = annotations.keys().map(Key::annotation).collect();
    if idle.is_empty() {
        return Vec::new();
    }
    let verb = if idle.len() == 1 { "asks" } else { "ask" };
    vec![format!(
        "nothing is injected: {} {verb} for no object; add {} (or certificates, keys, env, templates, template-config-map)",
        idle.join(", "),
        Key::Secrets.annotation()
    )]
}
