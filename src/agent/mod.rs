//! The agent in a workload's pod: reads the plan, fetches, writes, ends; or stands before a container's program.

mod arguments;
mod config_map;
mod directory;
mod exec;
mod expansion;
mod log;
mod place;
mod program;
mod report;
mod termination;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::fetch::{self, Problem, label};
use crate::format::{self, Rendered, Values};
use crate::plan::{self, Plan};
use crate::vault::{Class, Client, Failure, HttpsNetwork, Network, ProxyVariables, Resolver, Retry};
use arguments::Command;
use directory::{File, Staged};
use expansion::Found;
use place::Places;

/// Longer ones are as good as none, and clocks overflow.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 3_600);

/// Why the agent ends before it has done anything.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Arguments(#[from] arguments::UsageError),
    #[error("the environment variable {} is not set: the injector puts the plan there", plan::PLAN_VARIABLE)]
    NoPlan,
    #[error("{0}")]
    Plan(#[from] plan::PlanError),
    #[error("{0}")]
    Place(#[from] place::PlaceError),
    #[error("{0}")]
    Tls(#[from] crate::vault::TlsError),
    #[error("this machine cannot run the agent: {0}")]
    Machine(#[from] std::io::Error),
}

/// Runs the agent with its command line (without the program's name) and its environment. The exit code is in `docs/errors/README.md`.
pub fn main(arguments: &[OsString], environment: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let result = match Command::parse(arguments) {
        Ok(Command::Exec { supervise, program }) => hide().map(|()| exec::run(supervise, &program, environment)),
        Ok(Command::Help) => return print(&arguments::help()),
        Ok(Command::Version) => return print(concat!("keyvault-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Fetch { root }) => hide().and_then(|()| Ok(Places::below(root.as_deref())?)).and_then(|places| fetch_once(&places, environment)),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|unusable| {
        let _ = writeln!(std::io::stderr(), "keyvault-agent: {unusable}");
        ExitCode::from(report::UNUSABLE)
    })
}

/// Before a value is read: no core dump, no debugger, and `/proc/PID/mem` for root alone. What this process becomes by `execve` has its own rules.
fn hide() -> Result<(), Unusable> {
    let set = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    set.map_err(|error| Unusable::Machine(error.into()))
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fetch_once(places: &Places, environment: &dyn Fn(&str) -> Option<String>) -> Result<ExitCode, Unusable> {
    let prepared =
        prepare(places, environment).inspect_err(|unusable| termination::write(&places.termination_log(), &format!("plan: {unusable}\n")))?;
    let (plan, network, runtime) = prepared;
    log::start(plan.log_level);
    match runtime.block_on(until_told_to_end(carry_out(&plan, network)))? {
        None => Ok(ExitCode::from(report::TOLD_TO_END)),
        Some(Ok(())) => Ok(ExitCode::SUCCESS),
        Some(Err(problems)) => {
            let lines = report::lines(&problems);
            lines.iter().for_each(|line| tracing::error!("{line}"));
            termination::write(&places.termination_log(), &termination::fit(&lines));
            Ok(ExitCode::from(problems.first().map_or(report::UNUSABLE, |problem| report::exit_code(problem.failure.class))))
        }
    }
}

/// `None` if SIGTERM comes first. The first process of a container has to listen for it, or it is killed only after the grace period.
async fn until_told_to_end<T>(work: impl Future<Output = T>) -> std::io::Result<Option<T>> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => Ok(Some(result)),
        _ = terminate.recv() => Ok(None),
    }
}

/// Everything that can be wrong before the first request.
fn prepare(places: &Places, environment: &dyn Fn(&str) -> Option<String>) -> Result<(Plan, HttpsNetwork, tokio::runtime::Runtime), Unusable> {
    let plan = places.apply(Plan::from_json(&environment(plan::PLAN_VARIABLE).ok_or(Unusable::NoPlan)?)?)?;
    let (proxies, resolver) = (ProxyVariables::read(environment), Resolver::new("/etc/resolv.conf"));
    let network = HttpsNetwork::new(plan.extra_ca.as_deref(), plan.identity.token_proxy(), &proxies, &resolver)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((plan, network, runtime))
}

/// All values arrive and are rendered before the first file is written.
async fn carry_out(plan: &Plan, network: HttpsNetwork) -> Result<(), Vec<Problem>> {
    let start = Instant::now();
    copy_program(plan).map_err(|problem| vec![problem])?;
    let retry = Retry::new(start + plan.deadline.get().min(LONGEST_DEADLINE), fastrand::f64);
    let client = Client::new(network, &plan.cloud, &plan.identity, retry.clone());
    let plan = complete(plan, &client, &retry).await?;
    tracing::info!("objects to read: {}, directories to write: {}", plan.fetch.len(), plan.directories.len());
    let values = fetch::fetch(&client, &plan.fetch, &retry).await?;
    let views = render(&plan, &values)?;
    write(&views).map_err(|problem| vec![problem])?;
    tracing::info!("done in {} ms", start.elapsed().as_millis());
    Ok(())
}

fn copy_program(plan: &Plan) -> Result<(), Problem> {
    let Some(directory) = &plan.program else { return Ok(()) };
    let copied = program::copy(Path::new("/proc/self/exe"), Path::new(directory.as_str()));
    copied.map_err(|error| Problem { object: directory.to_string(), failure: Failure::new(Class::Volume, error.to_string()) })
}

/// The plan with everything in it that was unknown when it was made.
async fn complete<'p, N: Network>(plan: &'p Plan, client: &Client<'_, N>, retry: &Retry) -> Result<Cow<'p, Plan>, Vec<Problem>> {
    if plan.select.is_empty() && plan.config_map.is_none() {
        return Ok(Cow::Borrowed(plan));
    }
    let mut found = Found::default();
    if let Some(templates) = &plan.config_map {
        let object = format!("ConfigMap {}", templates.name);
        let read = retry.clone().run(&object, async || config_map::read(templates)).await;
        found.templates = read.map_err(|failure| vec![Problem { object, failure }])?;
    }
    match fetch::select(client, &plan.select, retry).await {
        Ok(selected) => found.selected = selected,
        Err(mut problems) => {
            // The vault answers: whoever mends the selection should know at once what else there is to mend.
            if problems.iter().all(|problem| matches!(problem.failure.class, Class::Rbac | Class::NotFound | Class::Format)) {
                problems.extend(fetch::fetch(client, &plan.fetch, retry).await.err().unwrap_or_default());
            }
            return Err(problems);
        }
    }
    expansion::expand(plan.clone(), found).map(Cow::Owned)
}

/// A directory and the files that it will hold.
type View<'p> = (&'p Path, Vec<File<'p>>);

fn render<'p>(plan: &'p Plan, values: &Values<'_>) -> Result<Vec<View<'p>>, Vec<Problem>> {
    let (mut views, mut problems) = (Vec::new(), Vec::new());
    for directory in &plan.directories {
        let mut files = Vec::new();
        for entry in &directory.entries {
            match format::render(&entry.value, values) {
                Ok(Rendered::File(content)) => files.push(File { path: &entry.file, mode: entry.mode, content }),
                Ok(Rendered::Absent(why)) => tracing::info!("{}: left out, because {why}", entry.file),
                Err(error) => problems.push(unfit(plan, entry, &error)),
            }
        }
        views.push((Path::new(directory.path.as_str()), files));
    }
    if problems.is_empty() { Ok(views) } else { Err(problems) }
}

fn unfit(plan: &Plan, entry: &plan::Entry, error: &format::FormatError) -> Problem {
    let id = error.id().or(entry.value.id());
    match plan.fetch.iter().find(|fetch| Some(fetch.id.as_str()) == id) {
        Some(fetch) => Problem { object: label(&fetch.object), failure: Failure::new(Class::Format, format!("file {}: {error}", entry.file)) },
        None => Problem { object: format!("file {}", entry.file), failure: Failure::new(Class::Format, error.to_string()) },
    }
}

/// Stages every directory before the first one changes.
fn write(views: &[View<'_>]) -> Result<(), Problem> {
    let problem = |directory: &Path, error: directory::WriteError| Problem {
        object: directory.display().to_string(),
        failure: Failure::new(Class::Volume, error.to_string()),
    };
    let now = SystemTime::now();
    let stage = |(directory, files): &View<'_>| Staged::new(directory, files, now).map_err(|error| problem(directory, error));
    let staged = views.iter().map(stage).collect::<Result<Vec<_>, Problem>>()?;
    for (staged, (directory, files)) in staged.into_iter().zip(views) {
        staged.publish().map_err(|error| problem(directory, error))?;
        tracing::info!("{}: files written: {}", directory.display(), files.len());
    }
    Ok(())
}
