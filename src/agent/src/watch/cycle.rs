//! One refresh: what is not pinned is asked for once, what changed is written, everything else stays.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use futures::stream::{self, StreamExt};

use super::decide::{Seen, Verdict, holds, judge};
use super::few::AT_ONCE;
use crate::delivery::{self, View};
use crate::directory::DATA;
use crate::marker::{Contents, Made};
use keyvault_client::{Class, Client, Failure, Network, Outlook, Stored};
use keyvault_common::plan::{Directory, Entry, Fetch, Object, Plan};
use keyvault_common::secret::SecretValue;
use keyvault_delivery::fetch::{self, Problem, label};
use keyvault_delivery::format::Values;

/// A file of the plan and what it is made of now.
#[derive(Debug)]
struct Slot<'p> {
    directory: usize,
    entry: &'p Entry,
    inputs: Vec<&'p str>,
    made: Made,
}

/// The files of a plan as they are, and all that is remembered from one refresh to the next.
#[derive(Debug)]
pub(super) struct Files<'p> {
    plan: &'p Plan,
    digest: &'p str,
    by_id: HashMap<&'p str, &'p Fetch>,
    slots: Vec<Slot<'p>>,
    /// What shares a file with something else that may change: its value may be needed although it has not changed.
    companions: HashSet<&'p str>,
    /// What is pinned and shares a file with something that may change: never asked for twice.
    keepers: HashSet<&'p str>,
    /// The values of the keepers that were needed so far.
    kept: Values<'p>,
    /// Optional objects that the vault did not have when it was last asked, and its words.
    missing: BTreeMap<&'p str, String>,
}

/// What a refresh came to.
#[derive(Debug)]
pub(super) struct Refreshed {
    /// What could not be done.
    pub(super) problems: Vec<Problem>,
    /// Whether any directory has new files.
    pub(super) wrote: bool,
}

/// What came of asking for an object.
enum Answer {
    /// The value is there as long as somebody needs it.
    Version {
        version: String,
        stored: Option<Stored>,
    },
    Missing,
    Refused,
}

type Answers<'p> = HashMap<&'p str, Answer>;

/// A file that was made again: its content, if there is one, and what it is made of.
type Rendered = (Option<SecretValue>, Made);

impl<'p> Files<'p> {
    /// `made` says of each directory what its files are made of; `values` are what was just fetched, and most of it is dropped.
    pub(super) fn new(plan: &'p Plan, digest: &'p str, values: Values<'p>, made: Vec<Contents>) -> Files<'p> {
        let by_id: HashMap<&str, &Fetch> = plan.fetch.iter().map(|fetch| (fetch.id.as_str(), fetch)).collect();
        let mut slots = Vec::new();
        for (index, (directory, mut made)) in plan.directories.iter().zip(made).enumerate() {
            slots.extend(directory.entries.iter().map(|entry| {
                let inputs: BTreeSet<&str> = entry.value.uses().into_iter().map(|(id, _)| id).collect();
                let made = made.remove(entry.file.as_str()).unwrap_or_default();
                Slot { directory: index, entry, inputs: inputs.into_iter().collect(), made }
            }));
        }
        let (mut companions, mut keepers) = (HashSet::new(), HashSet::new());
        for slot in &slots {
            let (pinned, moving): (Vec<&str>, Vec<&str>) = slot.inputs.iter().partition(|id| is_pinned(&by_id, id));
            keepers.extend(pinned.into_iter().filter(|_| !moving.is_empty()));
            companions.extend(moving.iter().filter(|_| moving.len() > 1).copied());
        }
        let kept = values.into_iter().filter(|(id, _)| keepers.contains(id)).collect();
        Files { plan, digest, by_id, slots, companions, keepers, kept, missing: BTreeMap::new() }
    }

    /// How many values are in memory.
    #[cfg(test)]
    pub(super) fn values_held(&self) -> usize {
        self.kept.len()
    }

    /// Vault, kind, name and version of everything that the files are made of, in one directory or in all.
    pub(super) fn objects(&self, directory: Option<usize>) -> BTreeSet<(&'p str, &'static str, &'p str, String)> {
        let slots = self.slots.iter().filter(|slot| directory.is_none_or(|index| index == slot.directory));
        let made = slots.flat_map(|slot| &slot.made.versions);
        made.filter_map(|(id, version)| {
            let Fetch { kind, object, .. } = self.by_id.get(id.as_str())?;
            Some((object.vault.name(), kind.noun(), object.name.as_str(), version.clone()))
        })
        .collect()
    }

    /// Vault, kind and name of optional objects that the vault does not have, or that no file is made of, and why, in one directory or in all.
    pub(super) fn missing(&self, directory: Option<usize>) -> BTreeSet<(&'p str, &'static str, &'p str, Option<&str>)> {
        let slots = self.slots.iter().filter(|slot| directory.is_none_or(|index| index == slot.directory));
        let inputs = slots.flat_map(|slot| slot.inputs.iter().map(move |id| (id, slot.made.versions.contains_key(*id))));
        inputs
            .filter_map(|(id, is_held)| {
                let (Fetch { kind, object, .. }, why) = (self.by_id.get(id)?, self.missing.get(id).map(String::as_str));
                let is_missing = object.optional && (!is_held || why.is_some());
                is_missing.then(|| (object.vault.name(), kind.noun(), object.name.as_str(), why))
            })
            .collect()
    }

    /// Asks, and writes what changed. What cannot be had now leaves every file as it is; what can no longer be had at all, only those made of it.
    pub(super) async fn refresh<N: Network>(&mut self, client: &Client<'_, N>, now: fn() -> SystemTime) -> Refreshed {
        let (mut answers, mut problems) = match self.ask(client).await {
            Ok(answered) => answered,
            Err(problem) => return Refreshed::failed(problem),
        };
        let mut wrote = false;
        let verdicts: Vec<Verdict> = self.slots.iter().map(|slot| self.judge(slot, &answers)).collect();
        if verdicts.contains(&Verdict::Render) {
            let unread = match self.complete(client, &verdicts, &mut problems).await {
                Ok(unread) => unread,
                Err(problem) => return Refreshed::failed(problem),
            };
            let rendered = self.render(&mut answers, &verdicts, unread, &mut problems).await;
            match self.write(rendered, now) {
                Ok(directories) => wrote = directories > 0,
                Err(problem) => problems.push(problem),
            }
        }
        Refreshed { problems, wrote }
    }

    /// One request for each object that is not pinned. A failure that may pass ends it: the vault is not bothered further.
    async fn ask<N: Network>(&mut self, client: &Client<'_, N>) -> Result<(Answers<'p>, Vec<Problem>), Problem> {
        let moving: Vec<&'p Fetch> = self.plan.fetch.iter().filter(|fetch| fetch.object.version.is_none()).collect();
        let (mut answers, mut problems) = (Answers::new(), Vec::new());
        if moving.is_empty() {
            return Ok((answers, problems));
        }
        client.sign_in().await.map_err(|failure| Problem { object: fetch::all(&self.plan.fetch), failure })?;
        let read = async |fetch: &'p Fetch| (fetch, client.read(fetch.kind, &fetch.object).await);
        let mut reads = stream::iter(moving.into_iter().map(read)).buffered(AT_ONCE);
        while let Some((Fetch { id, object, .. }, result)) = reads.next().await {
            let answer = match result {
                Ok(stored) => {
                    if self.missing.remove(id.as_str()).is_some() {
                        tracing::info!("{}: exists now", label(object));
                    }
                    self.needed(id, stored)
                }
                Err(failure) if object.optional && failure.class == Class::NotFound => {
                    let is_held = self.slots.iter().any(|slot| slot.made.versions.contains_key(id));
                    let is_news = self.missing.insert(id, failure.what).is_none();
                    if is_held && is_news {
                        tracing::warn!("{}: does not exist any more, its files stay as they are", label(object));
                    }
                    Answer::Missing
                }
                Err(failure) => {
                    problems.push(refused(object, failure)?);
                    Answer::Refused
                }
            };
            answers.insert(id, answer);
        }
        Ok((answers, problems))
    }

    /// Lets go of a value at once that every file has and no other may need.
    fn needed(&self, id: &str, stored: Stored) -> Answer {
        let version = stored.version().to_owned();
        let is_held = self.slots.iter().filter(|slot| slot.inputs.contains(&id)).all(|slot| holds(&slot.made, id, &version));
        let stored = (!is_held || self.companions.contains(id)).then_some(stored);
        if !is_held {
            tracing::info!("{}: version {}", self.by_id.get(id).map(|fetch| label(&fetch.object)).unwrap_or_default(), named(&version));
        }
        Answer::Version { version, stored }
    }

    fn judge(&self, slot: &Slot<'p>, answers: &Answers<'p>) -> Verdict {
        let seen = |id: &&'p str| match answers.get(id) {
            None => Seen::Pinned,
            Some(Answer::Version { version, .. }) => Seen::Version(version),
            Some(Answer::Missing) => Seen::Missing,
            Some(Answer::Refused) => Seen::Refused,
        };
        judge(&slot.made, &slot.inputs.iter().map(|id| (*id, seen(id))).collect::<Vec<_>>())
    }

    /// Reads pinned objects that are needed beside others and not in memory, because the files were here before this process. Brings those that
    /// cannot be had at all; a failure that may pass ends the refresh here, too.
    async fn complete<N: Network>(
        &mut self,
        client: &Client<'_, N>,
        verdicts: &[Verdict],
        problems: &mut Vec<Problem>,
    ) -> Result<HashSet<&'p str>, Problem> {
        let mut unread = HashSet::new();
        let wanted: BTreeSet<&'p str> = self
            .to_render(verdicts)
            .flat_map(|slot| slot.inputs.iter().filter(|id| slot.made.versions.contains_key(**id)))
            .filter(|id| self.keepers.contains(**id) && !self.kept.contains_key(**id))
            .copied()
            .collect();
        for id in wanted {
            let Some(Fetch { kind, object, .. }) = self.by_id.get(id) else { continue };
            let opened = match client.read(*kind, object).await {
                Ok(stored) => fetch::open(object, stored).await,
                Err(failure) => Err(failure),
            };
            match opened {
                Ok(value) => drop(self.kept.insert(id, value)),
                Err(failure) => {
                    problems.push(refused(object, failure)?);
                    unread.insert(id);
                }
            }
        }
        Ok(unread)
    }

    fn to_render<'s>(&'s self, verdicts: &'s [Verdict]) -> impl Iterator<Item = &'s Slot<'p>> {
        self.slots.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Render).map(|(slot, _)| slot)
    }

    /// By slot, what could be made again. Values are gone when it returns, but for those that are kept.
    async fn render(
        &mut self,
        answers: &mut Answers<'p>,
        verdicts: &[Verdict],
        mut unread: HashSet<&'p str>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Option<Rendered>> {
        let mut values = std::mem::take(&mut self.kept);
        let needed: BTreeSet<&'p str> = self.to_render(verdicts).flat_map(|slot| slot.inputs.iter().copied()).collect();
        for (id, fetch) in needed.into_iter().filter_map(|id| Some((id, self.by_id.get(id)?))) {
            let Some(Answer::Version { stored, .. }) = answers.get_mut(id) else { continue };
            let Some(stored) = stored.take() else { continue };
            match fetch::open(&fetch.object, stored).await {
                Ok(value) => drop(values.insert(id, value)),
                Err(failure) => {
                    problems.push(Problem { object: label(&fetch.object), failure });
                    unread.insert(id);
                }
            }
        }
        let mut rendered = Vec::new();
        for (slot, verdict) in self.slots.iter().zip(verdicts) {
            let is_whole = *verdict == Verdict::Render && !slot.inputs.iter().any(|id| unread.contains(id));
            let result = if is_whole { Some(delivery::render_entry(self.plan, slot.entry, &values).await) } else { None };
            rendered.push(result.and_then(|result| {
                let content = result.map_err(|problem| problems.push(problem)).ok()?;
                Some((content, slot.made_of(answers)))
            }));
        }
        values.retain(|id, _| self.keepers.contains(id));
        self.kept = values;
        rendered
    }

    /// Swaps the directories in which a byte changed; how many.
    fn write(&mut self, mut rendered: Vec<Option<Rendered>>, now: fn() -> SystemTime) -> Result<usize, Problem> {
        let mut views = Vec::new();
        for (index, directory) in self.plan.directories.iter().enumerate() {
            let slots = || self.slots.iter().enumerate().filter(|(_, slot)| slot.directory == index);
            let mut changed = false;
            for (number, slot) in slots() {
                if let Some((content, _)) = &rendered[number] {
                    changed |= current(directory, slot.entry)? != *content;
                }
            }
            if !changed {
                continue;
            }
            let mut view = View { directory, files: Vec::new(), made: Contents::new() };
            for (number, slot) in slots() {
                let (content, made) = match &mut rendered[number] {
                    Some((content, made)) => (content.take(), made.clone()),
                    None => (slot.copy(directory)?, slot.made.clone()),
                };
                view.add(slot.entry, content, made);
            }
            views.push(view);
        }
        delivery::write(&views, self.digest, now())?;
        for (slot, rendered) in self.slots.iter_mut().zip(rendered) {
            if let Some((_, made)) = rendered {
                slot.made = made;
            }
        }
        Ok(views.len())
    }
}

impl Refreshed {
    fn failed(problem: Problem) -> Refreshed {
        Refreshed { problems: vec![problem], wrote: false }
    }
}

impl Slot<'_> {
    /// What it is made of after this refresh.
    fn made_of(&self, answers: &Answers<'_>) -> Made {
        let version = |id: &str| match answers.get(id) {
            Some(Answer::Version { version, .. }) => Some(version.clone()),
            Some(Answer::Missing | Answer::Refused) => None,
            None => self.made.versions.get(id).cloned(),
        };
        Made { versions: delivery::of_inputs(self.entry, version), absent: false }
    }

    /// Byte for byte what is there.
    fn copy(&self, directory: &Directory) -> Result<Option<SecretValue>, Problem> {
        let content = current(directory, self.entry)?;
        if content.is_none() && !self.made.absent {
            let gone = format!("{} is gone, and nothing is written without it", self.entry.file);
            return Err(delivery::volume(directory.path.as_str(), &gone));
        }
        Ok(content)
    }
}

fn current(directory: &Directory, entry: &Entry) -> Result<Option<SecretValue>, Problem> {
    match fs::read(Path::new(directory.path.as_str()).join(DATA).join(entry.file.as_str())) {
        Ok(content) => Ok(Some(SecretValue::new(content))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(delivery::volume(directory.path.as_str(), &format!("{} cannot be read: {error}", entry.file))),
    }
}

/// A problem of one object, or an error where it may pass.
fn refused(object: &Object, failure: Failure) -> Result<Problem, Problem> {
    let is_final = failure.outlook == Outlook::Final;
    let problem = Problem { object: label(object), failure };
    if is_final { Ok(problem) } else { Err(problem) }
}

fn is_pinned(by_id: &HashMap<&str, &Fetch>, id: &str) -> bool {
    by_id.get(id).is_some_and(|fetch| fetch.object.version.is_some())
}

fn named(version: &str) -> &str {
    if version.is_empty() { "unknown" } else { version }
}

/// A refresh that took too long.
pub(super) fn late(plan: &Plan) -> Refreshed {
    let failure = Failure::new(Class::Timeout, format!("the refresh did not end within {}", plan.deadline));
    Refreshed::failed(Problem { object: fetch::all(&plan.fetch), failure })
}
