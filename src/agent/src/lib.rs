//! The agent in a workload's pod: reads the plan, fetches, writes, and ends or keeps the files up to date; or starts before a container's program.

mod arguments;
mod clock;
mod config_map;
mod delivery;
mod directory;
mod exec;
mod expansion;
mod log;
mod marker;
mod place;
mod program;
mod render;
mod report;
mod termination;
mod watch;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use arguments::Command;
use expansion::Found;
use keyvault_client::{Class, Client, HttpsNetwork, Network, ProxyVariables, Resolver, Retry};
use keyvault_common::plan::{self, Plan};
use keyvault_delivery::fetch::{self, Problem};
use keyvault_delivery::format::Values;
use marker::Contents;
use place::Places;
use watch::Ended;

/// Longer ones are as good as none, and clocks overflow.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 3_600);

/// Why the sidecar ends.
const RESTART: &str = "values changed: the sidecar ends, so that the kubelet starts all containers of the pod again with the new ones";

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
    Tls(#[from] keyvault_client::TlsError),
    #[error("the plan has no refresh, so there is nothing to watch: keyvault-agent fetch carries it out")]
    NoRefresh,
    #[error("{0}")]
    Port(#[from] watch::PortError),
    #[error("this machine cannot run the agent: {0}")]
    Machine(#[from] std::io::Error),
}

/// Runs the agent with its command line (without the program's name) and its environment. The exit code is in `docs/errors/README.md`.
pub fn main(arguments: &[OsString], environment: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let result = match Command::parse(arguments) {
        // A parent reads no value, and hidden it would be a first process whose /proc/1/fd nobody in its container may open.
        Ok(Command::Exec { supervise: true, program }) => Ok(exec::run(true, &program, environment)),
        Ok(Command::Exec { supervise: false, program }) => hide().map(|()| exec::run(false, &program, environment)),
        Ok(Command::Help) => return print(&arguments::help()),
        Ok(Command::Version) => return print(concat!("keyvault-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Fetch { root }) => hide().and_then(|()| fetch_once(&Places::below(root.as_deref())?, environment)),
        Ok(Command::Watch { root }) => hide().and_then(|()| keep_fresh(&Places::below(root.as_deref())?, environment)),
        Ok(Command::Render) => hide().and_then(|()| Ok(render::serve()?)),
        // It reads no value.
        Ok(Command::Started { root }) => Places::below(root.as_deref()).map_err(Unusable::from).and_then(|places| started(&places, environment)),
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
    let Prepared { plan, digest, network, runtime } = prepare(places, environment).inspect_err(|unusable| places.tell(unusable))?;
    log::start(plan.log_level);
    let ended = runtime.block_on(until_told_to_end(carry_out(&plan, &digest, network)));
    // Not that it waits for a key that is being derived.
    runtime.shutdown_background();
    match ended? {
        None => Ok(ExitCode::from(report::TOLD_TO_END)),
        Some(Ok(())) => Ok(ExitCode::SUCCESS),
        Some(Err(problems)) => Ok(failed(places, &plan, &problems)),
    }
}

fn keep_fresh(places: &Places, environment: &dyn Fn(&str) -> Option<String>) -> Result<ExitCode, Unusable> {
    let prepared = prepare(places, environment).and_then(|prepared| {
        let refresh = prepared.plan.refresh.clone().ok_or(Unusable::NoRefresh)?;
        let listener = refresh.port.map(watch::listen).transpose()?;
        Ok((prepared, refresh, listener))
    });
    let (Prepared { plan, digest, network, runtime }, refresh, listener) = prepared.inspect_err(|unusable| places.tell(unusable))?;
    log::start(plan.log_level);
    let ended = runtime.block_on(until_told_to_end(watch_over(&plan, &digest, refresh, listener, network)));
    runtime.shutdown_background();
    match ended? {
        None => Ok(ExitCode::SUCCESS),
        Some(Ended::Failed(problems)) => Ok(failed(places, &plan, &problems)),
        Some(Ended::Restart) => {
            tracing::info!("{RESTART}");
            termination::write(&places.termination_log(), &format!("{RESTART}\n"));
            Ok(ExitCode::from(plan::RESTART_EXIT_CODE))
        }
    }
}

/// What a plan selects, and the templates of its ConfigMap, are found out once; then their values are kept up to date.
async fn watch_over(plan: &Plan, digest: &str, refresh: plan::Refresh, listener: Option<TcpListener>, network: HttpsNetwork) -> Ended {
    let retry = first_tries(plan);
    let client = Client::new(network, &plan.cloud, &plan.identity, retry.clone());
    let completed = match delivery::copy_program(plan) {
        Ok(()) => complete(plan, &client, &retry).await,
        Err(problem) => Err(vec![problem]),
    };
    let whole = match completed {
        Ok(whole) => whole,
        Err(problems) => return Ended::Failed(problems),
    };
    let digest = digest_of(&whole, plan, digest);
    let job = watch::Job { plan: &whole, digest: &digest, refresh: &refresh, listener, now: SystemTime::now, random: fastrand::f64 };
    watch::run(job, client.into_network()).await
}

/// Whether the files of every directory are in place. Asked every second while a pod starts, so it is cheap.
fn started(places: &Places, environment: &dyn Fn(&str) -> Option<String>) -> Result<ExitCode, Unusable> {
    let text = environment(plan::PLAN_VARIABLE).ok_or(Unusable::NoPlan)?;
    let plan = places.apply(Plan::from_json(&text)?)?;
    // Whoever wrote them, it was for this pod.
    let in_place = plan.directories.iter().all(marker::is_whole);
    Ok(if in_place { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failed(places: &Places, plan: &Plan, problems: &[Problem]) -> ExitCode {
    let lines = report::lines(problems, &plan.identity);
    lines.iter().for_each(|line| tracing::error!("{line}"));
    let room = termination::room(plan.termination_message_bytes);
    termination::write(&places.termination_log(), &termination::fit(&lines, room));
    ExitCode::from(problems.first().map_or(report::UNUSABLE, |problem| report::exit_code(problem.failure.class)))
}

/// `None` if SIGTERM comes first. The first process of a container has to listen for it, or it is killed only after the grace period.
async fn until_told_to_end<T>(work: impl Future<Output = T>) -> std::io::Result<Option<T>> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => Ok(Some(result)),
        _ = terminate.recv() => Ok(None),
    }
}

struct Prepared {
    plan: Plan,
    /// The [`marker::digest`] of the plan as it came.
    digest: String,
    network: HttpsNetwork,
    runtime: tokio::runtime::Runtime,
}

/// Everything that can be wrong before the first request.
fn prepare(places: &Places, environment: &dyn Fn(&str) -> Option<String>) -> Result<Prepared, Unusable> {
    let text = environment(plan::PLAN_VARIABLE).ok_or(Unusable::NoPlan)?;
    let plan = places.apply(Plan::from_json(&text)?)?;
    let (proxies, resolver) = (ProxyVariables::read(environment), Resolver::new("/etc/resolv.conf"));
    let network = HttpsNetwork::new(plan.extra_ca.as_deref(), plan.identity.token_proxy(), &proxies, &resolver)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(Prepared { plan, digest: marker::digest(&text), network, runtime })
}

async fn carry_out(plan: &Plan, digest: &str, network: HttpsNetwork) -> Result<(), Vec<Problem>> {
    let retry = first_tries(plan);
    let client = Client::new(network, &plan.cloud, &plan.identity, retry.clone());
    delivery::copy_program(plan).map_err(|problem| vec![problem])?;
    let whole = complete(plan, &client, &retry).await?;
    deliver(&whole, &digest_of(&whole, plan, digest), &client, &retry).await.map(drop)
}

/// The digest of a plan by what it has turned out to be: templates of a ConfigMap that has changed since are other templates.
fn digest_of(plan: &Plan, came: &Plan, as_it_came: &str) -> String {
    if plan == came { as_it_came.to_owned() } else { marker::digest(&plan.to_json().unwrap_or_default()) }
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
            // The vault answers: a person who repairs the selection should know at once what else to repair.
            if problems.iter().all(|problem| matches!(problem.failure.class, Class::Rbac | Class::NotFound | Class::Format)) {
                problems.extend(fetch::fetch(client, &plan.fetch, retry).await.err().unwrap_or_default());
            }
            return Err(problems);
        }
    }
    expansion::expand(plan.clone(), found).map(Cow::Owned)
}

/// The tries that the plan's deadline allows, from now on.
fn first_tries(plan: &Plan) -> Retry {
    Retry::new(Instant::now() + plan.deadline.get().min(LONGEST_DEADLINE), fastrand::f64)
}

/// All values arrive and are rendered before the first file is written. Brings the values and what the files were made of.
async fn deliver<'p, N: Network>(
    plan: &'p Plan,
    digest: &str,
    client: &Client<'_, N>,
    retry: &Retry,
) -> Result<(Values<'p>, Vec<Contents>), Vec<Problem>> {
    let start = Instant::now();
    tracing::info!("objects to read: {}, directories to write: {}", plan.fetch.len(), plan.directories.len());
    let (values, versions) = fetch::fetch(client, &plan.fetch, retry).await?;
    let views = delivery::render_all(plan, &values, &versions).await?;
    delivery::write(&views, digest, SystemTime::now()).map_err(|problem| vec![problem])?;
    tracing::info!("done in {} ms", start.elapsed().as_millis());
    Ok((values, views.into_iter().map(|view| view.made).collect()))
}
