//! `keyvault-agent watch`: the first fetch, or the files that are there already, and then one refresh after the other.

mod cycle;
mod decide;
mod few;
mod restart;
mod schedule;
mod serve;
mod status;

use std::fs::File;
use std::future::pending;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::directory::replace;
use super::marker::{self, Contents};
use super::{deliver, first_tries, report};
use cycle::{Files, Refreshed};
use few::Few;
use keyvault_client::{Client, Network, Outlook};
use keyvault_common::names::AbsolutePath;
use keyvault_common::plan::{Plan, Refresh};
use keyvault_delivery::fetch::Problem;
use keyvault_delivery::format::Values;
use restart::Restart;
use schedule::{Asked, Schedule};
pub(super) use serve::{PortError, listen};
use status::{STATUS, Status};

/// How often the file that asks for a refresh is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// As much of it is compared.
const LONGEST_TEXT: u64 = 4_096;

/// What to watch, and by which clock and dice.
pub(super) struct Job<'p> {
    pub(super) plan: &'p Plan,
    /// The plan's [`marker::digest`].
    pub(super) digest: &'p str,
    pub(super) refresh: &'p Refresh,
    /// Where health and metrics are asked for.
    pub(super) listener: Option<TcpListener>,
    pub(super) now: fn() -> SystemTime,
    /// Numbers from 0 up to 1.
    pub(super) random: fn() -> f64,
}

/// Why nothing is refreshed any more.
pub(super) enum Ended {
    /// The first fetch failed.
    Failed(Vec<Problem>),
    /// Values changed, and all containers of the pod are to be started with the new ones.
    Restart,
}

/// Refreshes until it is dropped, or there is a reason to end.
pub(super) async fn run<N: Network>(job: Job<'_>, network: N) -> Ended {
    match Watch::begin(job, network).await {
        Ok(mut watch) => {
            watch.keep_on().await;
            Ended::Restart
        }
        Err(problems) => Ended::Failed(problems),
    }
}

/// What every directory was made of and since when, if all files are there and of this plan: another container, or this one before it was
/// started again, has written them.
fn adopt(plan: &Plan, digest: &str) -> Option<(Vec<Contents>, SystemTime)> {
    let found: Vec<(Contents, SystemTime)> = plan.directories.iter().map(|directory| marker::read(directory, digest)).collect::<Option<_>>()?;
    let since = found.iter().map(|(_, since)| *since).min()?;
    Some((found.into_iter().map(|(made, _)| made).collect(), since))
}

struct Watch<'p, N> {
    job: Job<'p>,
    client: Client<'p, Few<N>>,
    files: Files<'p>,
    schedule: Schedule,
    restart: Option<Restart<'p>>,
    status: Arc<Mutex<Status>>,
    /// The problems of the last refresh, which are in the log already.
    logged: Vec<String>,
}

impl<'p, N: Network> Watch<'p, N> {
    /// The first fetch, where the files are not there already.
    async fn begin(mut job: Job<'p>, network: N) -> Result<Watch<'p, N>, Vec<Problem>> {
        let status = Arc::new(Mutex::new(Status::default()));
        if let Some(listener) = job.listener.take() {
            tokio::spawn(serve::serve(listener, status.clone()));
        }
        let retry = first_tries(job.plan);
        let client = Client::new(Few::new(network), &job.plan.cloud, &job.plan.identity, retry.clone());
        let (values, made, since) = match adopt(job.plan, job.digest) {
            Some((made, since)) => {
                tracing::info!("the files are in place already");
                (Values::new(), made, since)
            }
            None => match deliver(job.plan, job.digest, &client, &retry).await {
                Ok((values, made)) => (values, made, (job.now)()),
                Err(problems) => return Err(problems),
            },
        };
        let files = Files::new(job.plan, job.digest, values, made);
        let restart = job.refresh.restart.as_ref().map(|plan| Restart::begin(plan, (job.now)()));
        let watch = Watch { schedule: Schedule::new(job.refresh.every.get()), restart, job, client, files, status, logged: Vec::new() };
        watch.status().ready = true;
        watch.status().last_success = Some(since);
        Ok(watch)
    }

    /// Returns if all containers are to be restarted.
    async fn keep_on(&mut self) {
        let mut asked = Asked::new(self.job.refresh.now_file.as_ref().and_then(read).unwrap_or_default());
        let mut wait = self.schedule.first((self.job.random)());
        loop {
            if let Some(restart) = &mut self.restart {
                restart.look((self.job.now)(), (self.job.random)());
            }
            self.say(wait);
            let next = Instant::now() + wait;
            let refreshes = tokio::select! {
                () = self.pause(next, &mut asked) => true,
                () = self.restart_is_due() => false,
            };
            if refreshes {
                wait = self.refresh().await;
            } else if self.may_restart() {
                return;
            } else {
                wait = next - Instant::now();
            }
        }
    }

    async fn restart_is_due(&self) {
        match &self.restart {
            Some(restart) => restart.is_due().await,
            None => pending().await,
        }
    }

    /// Whether it could be remembered that the containers have the values of now.
    fn may_restart(&mut self) -> bool {
        let remembered = self.restart.as_mut().map_or(Ok(()), |restart| restart.remember((self.job.now)()));
        remembered.inspect_err(|error| tracing::error!("values changed, and no container is restarted: {error}")).is_ok()
    }

    /// Until `due`, or until somebody asks.
    async fn pause(&self, due: Instant, asked: &mut Asked) {
        let Some(file) = &self.job.refresh.now_file else { return sleep_until(due).await };
        while Instant::now() < due {
            sleep_until(due.min(Instant::now() + LOOK)).await;
            // While the kubelet replaces it, it may not be there.
            let Some(text) = read(file) else { continue };
            if asked.look(text, Instant::now()) {
                tracing::info!("a refresh is asked for");
                return;
            }
        }
    }

    /// One refresh; how long to wait for the next.
    async fn refresh(&mut self) -> Duration {
        let retry = first_tries(self.job.plan);
        self.client.renew(retry.clone());
        let refreshed = timeout_at(retry.deadline(), self.files.refresh(&self.client, self.job.now)).await;
        let Refreshed { problems, wrote } = refreshed.unwrap_or_else(|_| cycle::late(self.job.plan));
        let (now, random) = ((self.job.now)(), (self.job.random)());
        let Some(first) = problems.first() else {
            self.status().succeeded(now);
            if std::mem::take(&mut self.logged).is_empty() {
                tracing::debug!("refreshed")
            } else {
                tracing::info!("refreshed again")
            }
            return self.schedule.after_success(random);
        };
        let asked = problems.iter().filter_map(|problem| if let Outlook::After(asked) = problem.failure.outlook { Some(asked) } else { None }).max();
        let wait = self.schedule.after_failure(asked, random);
        let lines = report::lines(&problems, &self.job.plan.identity);
        let line = lines.first().map_or("", String::as_str);
        let more = if lines.len() > 1 { format!(", and {} more", lines.len() - 1) } else { String::new() };
        self.status().failed(now, first.failure.class, line);
        let what = if wrote { "partly refreshed, the other files stay" } else { "not refreshed, the last good files stay" };
        let text = format!("{what}: {line}{more}; next try in {} s", wait.as_secs());
        // One line for each change, not for each try.
        if lines == self.logged {
            tracing::debug!("{text}")
        } else {
            tracing::error!("{text}")
        }
        self.logged = lines;
        wait
    }

    /// Brings status and status files up to date.
    fn say(&self, wait: Duration) {
        let objects = |directory| {
            let objects = self.files.objects(directory).into_iter();
            objects.map(|(vault, kind, name, version)| (vault.to_owned(), kind, name.to_owned(), version)).collect()
        };
        let missing = |directory| {
            let missing = self.files.missing(directory).into_iter();
            missing.map(|(vault, kind, name, why)| json!({ "vault": vault, "kind": kind, "name": name, "why": why })).collect::<Vec<_>>()
        };
        let mut status = self.status();
        status.objects = objects(None);
        status.next_try = (self.job.now)().checked_add(wait);
        for (index, directory) in self.job.plan.directories.iter().enumerate() {
            let path = Path::new(directory.path.as_str()).join(STATUS);
            if let Err(error) = replace(&path, marker::mode(directory), &status.json(&objects(Some(index)), &missing(Some(index)))) {
                tracing::warn!("{}: {error}", path.display());
            }
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &AbsolutePath) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file.as_str()).and_then(|handle| handle.take(LONGEST_TEXT).read_to_end(&mut text)).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests;
