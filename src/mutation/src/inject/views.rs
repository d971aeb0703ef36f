//! Which container sees which files and variables: containers with the same set share a view, and a view is one volume.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::abilities::Abilities;
use super::consumers::{Consumer, Family, containers};
use super::delivery;
use super::findings::Findings;
use super::reserved::{environment_volume, files_volume, numbered};
use super::settings::Settings;
use crate::annotations::Key;
use crate::config::Config;
use crate::pod::PodView;
use keyvault_common::excerpt::listed;
use keyvault_common::names::{ContainerName, FileMode};
use keyvault_common::plan::MAX_ENTRIES;

/// The UID of the agent's image, and of an agent whose pod would run it as root.
const IMAGE_UID: i64 = 65532;

/// Every view of a pod, and the UID that writes them.
#[derive(Debug)]
pub(super) struct Views<'p> {
    pub(super) views: Vec<View<'p>>,
    /// The `runAsUser` of the injected container; `None` leaves it to the image or the platform.
    pub(super) run_as_user: Option<i64>,
}

/// One set of files or variables and the containers that are given it.
#[derive(Debug)]
pub(super) struct View<'p> {
    pub(super) family: Family,
    /// Among the views of files, or among those of variables.
    number: usize,
    /// Positions in [`Settings::files`], ascending.
    pub(super) files: Vec<usize>,
    pub(super) consumers: Vec<Consumer<'p>>,
    /// How many files there may be: a certificate has three.
    pub(super) file_count: usize,
    /// The mode of files that set none.
    pub(super) mode: FileMode,
}

impl<'p> Views<'p> {
    /// Every container that is given something, once, in the order of the views.
    pub(super) fn consumers(&self) -> impl Iterator<Item = Consumer<'p>> {
        let mut told = HashSet::new();
        self.views.iter().flat_map(|view| &view.consumers).filter(move |consumer| told.insert(consumer.place)).copied()
    }

    /// How many files all views have.
    pub(super) fn entries(&self) -> usize {
        self.views.iter().map(|view| view.file_count).sum()
    }
}

impl View<'_> {
    /// Whether the file at this position is in the view.
    pub(super) fn gives(&self, file: usize) -> bool {
        self.files.binary_search(&file).is_ok()
    }

    /// The name of its volume.
    pub(super) fn volume(&self) -> String {
        match self.family {
            Family::Files => files_volume(self.number),
            Family::Exec | Family::Environment => environment_volume(self.number),
        }
    }

    /// Where the agent writes it.
    pub(super) fn agent_path(&self) -> String {
        match self.family {
            Family::Files => numbered("/keyvault/files", self.number),
            Family::Exec | Family::Environment => numbered("/keyvault/env", self.number),
        }
    }
}

pub(super) fn arrange<'p>(
    pod: &'p PodView<'p>,
    settings: &Settings,
    config: &Config,
    abilities: &Abilities<'_>,
    findings: &mut Findings,
) -> Views<'p> {
    let choice = Choice::of(settings);
    check_names(pod, settings, findings);
    let mut views = Views { views: Vec::new(), run_as_user: None };
    for consumer in containers(pod) {
        let (variables, files) = choice.of_container(consumer.container.name.as_str(), settings, config);
        if !files.is_empty() {
            enter(&mut views.views, Family::Files, files, consumer, settings);
        }
        if !variables.is_empty() {
            let family = delivery::choose(&consumer, &variables, settings, abilities, findings);
            enter(&mut views.views, family, variables, consumer, settings);
        }
        if views.entries() > MAX_ENTRIES {
            // No plan holds them, which is a problem by itself: annotations can name a thousand files for each of hundreds of containers.
            return views;
        }
    }
    check(pod, &mut views, settings, findings);
    views
}

/// What files and containers must keep together.
fn check(pod: &PodView<'_>, Views { views, run_as_user }: &mut Views<'_>, settings: &Settings, findings: &mut Findings) {
    // Files first: what is numbered stays so whatever variables there are.
    views.sort_by_key(|view| view.family != Family::Files);
    check_everyone_is_given(views, settings, findings);
    let uids = Uids::of(pod, views);
    *run_as_user = uids.agent;
    let mut told = HashSet::new();
    for view in views {
        view.mode = uids.mode(view);
        check_destinations(view, settings, &mut told, findings);
        if view.family == Family::Files {
            check_modes(view, settings, &uids, findings);
        }
    }
}

/// Adds a consumer to the view of its set, which is made where there is none.
fn enter<'p>(views: &mut Vec<View<'p>>, family: Family, files: Cow<'_, [usize]>, consumer: Consumer<'p>, settings: &Settings) {
    if let Some(view) = views.iter_mut().find(|view| view.family == family && *view.files == *files) {
        return view.consumers.push(consumer);
    }
    let number = views.iter().filter(|view| (view.family == Family::Files) == (family == Family::Files)).count();
    let file_count = files.iter().map(|index| settings.files[*index].count()).sum();
    let files = files.into_owned();
    views.push(View { family, number, files, consumers: vec![consumer], file_count, mode: FileMode::OWNER });
}

/// Which references name which container, looked up by name: both lists are as long as a pod's author likes.
struct Choice<'s> {
    /// Positions of the references that name the container themselves, ascending.
    by_reference: HashMap<&'s str, Vec<usize>>,
    /// Positions of those that name none: the variables, and the files.
    by_pod: (Vec<usize>, Vec<usize>),
    /// What the annotation of the pod names.
    named: Option<HashSet<&'s str>>,
}

impl<'s> Choice<'s> {
    fn of(settings: &'s Settings) -> Choice<'s> {
        let named = settings.containers.as_ref().map(|names| names.iter().map(ContainerName::as_str).collect());
        let mut choice = Choice { by_reference: HashMap::new(), by_pod: (Vec::new(), Vec::new()), named };
        for (index, file) in settings.files.iter().enumerate() {
            let Some(names) = &file.containers else {
                let list = if file.variable().is_some() { &mut choice.by_pod.0 } else { &mut choice.by_pod.1 };
                list.push(index);
                continue;
            };
            for name in names {
                let positions = choice.by_reference.entry(name.as_str()).or_default();
                if positions.last() != Some(&index) {
                    positions.push(index);
                }
            }
        }
        choice
    }

    /// The variables and the files that a container is given, each in order.
    fn of_container(&self, name: &str, settings: &Settings, config: &Config) -> (Cow<'_, [usize]>, Cow<'_, [usize]>) {
        let by_pod = match &self.named {
            Some(names) => names.contains(name),
            None => !config.excluded_containers.iter().any(|excluded| excluded == name),
        };
        let (variables, files): (&[usize], &[usize]) = if by_pod { (&self.by_pod.0, &self.by_pod.1) } else { (&[], &[]) };
        let Some(own) = self.by_reference.get(name) else { return (Cow::Borrowed(variables), Cow::Borrowed(files)) };
        let (own_variables, own_files): (Vec<usize>, Vec<usize>) = own.iter().partition(|index| settings.files[**index].variable().is_some());
        let merged = |own: Vec<usize>, others: &[usize]| {
            let mut all = [own.as_slice(), others].concat();
            all.sort_unstable();
            all
        };
        (Cow::Owned(merged(own_variables, variables)), Cow::Owned(merged(own_files, files)))
    }
}

// === checks ===

fn check_names(pod: &PodView<'_>, settings: &Settings, findings: &mut Findings) {
    let known: Vec<&str> = containers(pod).map(|consumer| consumer.container.name.as_str()).collect();
    let is_known: HashSet<&str> = known.iter().copied().collect();
    let mut check = |place: &dyn Fn() -> String, names: &[ContainerName]| {
        let unknown = || names.iter().map(ContainerName::as_str).filter(|name| !is_known.contains(name));
        if unknown().next().is_some() {
            findings.problem(|| format!("{}: the pod has no container {}; it has {}", place(), listed(unknown()), listed(known.iter().copied())));
        }
    };
    if let Some(names) = &settings.containers {
        check(&|| format!("annotation {}", Key::Containers.annotation()), names);
    }
    for file in &settings.files {
        if let Some(names) = &file.containers {
            check(&|| format!("{}: containers", file.place()), names);
        }
    }
}

fn check_everyone_is_given(views: &[View<'_>], settings: &Settings, findings: &mut Findings) {
    for (index, file) in settings.files.iter().enumerate() {
        let named = file.containers.is_some() || settings.containers.is_some();
        if !named && !views.iter().any(|view| view.gives(index)) {
            findings.problem(|| {
                format!(
                    "{}: no container is given it, because the operator excludes them all: name one in {}",
                    file.place(),
                    Key::Containers.annotation()
                )
            });
        }
    }
}

/// Two files at one path, or a file where another needs a folder. Each pair is `told` once, however many views hold it.
fn check_destinations(view: &View<'_>, settings: &Settings, told: &mut HashSet<(usize, usize)>, findings: &mut Findings) {
    let paths = || view.files.iter().flat_map(|index| settings.files[*index].files().iter().map(|(path, _)| (*index, path.as_str())));
    let mut files: HashMap<&str, usize> = HashMap::new();
    for (index, path) in paths() {
        if let Some(first) = files.get(path) {
            if told.insert((*first, index)) {
                let what = if view.family == Family::Files { "file" } else { "variable" };
                findings.problem(|| conflict(view, settings, (*first, index), &format!("both become the {what} {path} of")));
            }
        } else {
            files.insert(path, index);
        }
    }
    for (index, path) in paths() {
        for folder in path.match_indices('/').map(|(end, _)| &path[..end]) {
            if let Some(outer) = files.get(folder).filter(|outer| told.insert((**outer, index))) {
                findings.problem(|| conflict(view, settings, (*outer, index), &format!("make {folder} both a file and the folder of {path} in")));
            }
        }
    }
}

fn conflict(view: &View<'_>, settings: &Settings, pair: (usize, usize), what: &str) -> String {
    let (first, second) = (&settings.files[pair.0.min(pair.1)], &settings.files[pair.0.max(pair.1)]);
    let container = view.consumers[0].container.name.as_str();
    let second = if first.key == second.key { second.label.clone() } else { second.place() };
    let name = if view.family == Family::Files { "file" } else { "name" };
    format!("{} and {second} {what} container {container}: give one of them another {name}", first.place())
}

// === who writes and who can read ===

/// The effective UIDs that decide modes.
struct Uids {
    pod: Option<i64>,
    fs_group: Option<i64>,
    /// What we set; `None` means the image's or the platform's.
    agent: Option<i64>,
}

impl Uids {
    fn of(pod: &PodView<'_>, views: &[View<'_>]) -> Uids {
        let security = pod.spec.security_context.unwrap_or_default();
        let mut uids = Uids { pod: security.run_as_user, fs_group: security.fs_group, agent: None };
        // The kubelet reads as root.
        let consumers = views.iter().filter(|view| view.family != Family::Environment).flat_map(|view| &view.consumers);
        uids.agent = match uids.shared(consumers) {
            Some(uid) => Some(uid),
            // Inheriting root never starts: the agent insists on not being root.
            None if uids.pod == Some(0) => Some(IMAGE_UID),
            None => uids.pod,
        };
        uids
    }

    fn effective(&self, consumer: &Consumer<'_>) -> Option<i64> {
        consumer.container.security_context.and_then(|security| security.run_as_user).or(self.pod)
    }

    /// The one UID of all these containers, if it is known and not root.
    fn shared<'c, 'p: 'c>(&self, consumers: impl IntoIterator<Item = &'c Consumer<'p>>) -> Option<i64> {
        let mut uids = consumers.into_iter().map(|consumer| self.effective(consumer));
        let first = uids.next()?.filter(|uid| *uid != 0)?;
        uids.all(|uid| uid == Some(first)).then_some(first)
    }

    fn mode(&self, view: &View<'_>) -> FileMode {
        if view.family == Family::Environment || (self.agent.is_some() && self.shared(&view.consumers) == self.agent) {
            FileMode::OWNER
        } else if self.fs_group.is_some() {
            FileMode::GROUP
        } else {
            FileMode::WORLD
        }
    }

    /// Why a container could not read a file of this mode.
    fn obstacle(&self, mode: FileMode, consumer: &Consumer<'_>) -> Option<String> {
        let bits = mode.bits();
        let owner = self.agent;
        match self.effective(consumer) {
            _ if bits & 0o004 != 0 || (bits & 0o040 != 0 && self.fs_group.is_some()) => None,
            Some(0) => None,
            Some(uid) if owner == Some(uid) => None,
            Some(uid) => Some(format!("runs as UID {uid} and the files belong to UID {}", owner.unwrap_or(IMAGE_UID))),
            None => Some("has no known UID, because neither it nor the pod sets runAsUser".to_owned()),
        }
    }
}

/// One problem for each file that sets a mode, and one for the mode of all others, however many containers cannot read them.
fn check_modes(view: &View<'_>, settings: &Settings, uids: &Uids, findings: &mut Findings) {
    let mut obstacles: HashMap<FileMode, Option<String>> = HashMap::new();
    let mut told = false;
    for file in view.files.iter().map(|index| &settings.files[*index]) {
        let Some(mode) = file.mode.or(settings.file_mode) else { continue };
        if file.mode.is_none() && std::mem::replace(&mut told, true) {
            continue;
        }
        if let Some(obstacle) = obstacles.entry(mode).or_insert_with(|| obstacle(view, mode, uids)) {
            findings.problem(|| {
                let place = if file.mode.is_some() { format!("{}: mode", file.place()) } else { settings.file_mode_place.clone() };
                format!("{place}: {obstacle}; write 0444, or 0440 with an fsGroup in the pod's securityContext")
            });
        }
    }
}

/// The first container that could not read a file of this mode, and why, and up to two others beside it.
fn obstacle(view: &View<'_>, mode: FileMode, uids: &Uids) -> Option<String> {
    let mut unable = view.consumers.iter().filter_map(|consumer| Some((consumer.container.name.as_str(), uids.obstacle(mode, consumer)?)));
    let (first, why) = unable.next()?;
    let others: Vec<&str> = unable.by_ref().take(2).map(|(name, _)| name).collect();
    let others = match (others.as_slice(), unable.count()) {
        ([], _) => String::new(),
        (others, 0) => format!(" (and neither might {})", others.join(" and ")),
        (others, more) => format!(" (and neither might {} and {more} more)", others.join(", ")),
    };
    Some(format!("container {first} might not be able to read a file with mode {mode}: it {why}{others}"))
}
