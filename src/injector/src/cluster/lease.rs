//! What one replica is enough for is done by the holder of a Lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// A Lease that nobody renewed for so long is free.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long holds it no more: well before anybody else takes it.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between renewals.
const RENEWAL: Duration = Duration::from_secs(5);
/// Between attempts to take a Lease that another holds, or after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// For giving a Lease back at the end: without it the next holder waits for `DURATION`.
const RELEASE: Duration = Duration::from_secs(2);

/// One of those who want to hold a Lease. The clock is the wall's, for others to read in the Lease; decisions rest on time that passes here.
pub(super) struct Candidate {
    api: Api<Lease>,
    name: &'static str,
    identity: String,
    clock: fn() -> Timestamp,
}

/// What was found in a Lease, and since when it has stood there. Clocks of other machines are not believed.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    version: Option<String>,
    holder: Option<String>,
    lasts: Duration,
    since: Instant,
}

#[derive(Debug, PartialEq)]
enum Step {
    Take,
    Renew,
    Wait,
}

#[derive(Debug, PartialEq)]
enum Attempt {
    Held,
    /// Somebody else holds it.
    Taken,
    /// Somebody else wrote at the same time.
    Conflict,
}

impl Sight {
    /// What is seen now, after what was seen before.
    fn after(earlier: Option<&Sight>, found: &Lease, now: Instant) -> Sight {
        let spec = found.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
        let version = found.metadata.resource_version.clone();
        let since = earlier.filter(|earlier| earlier.version == version).map_or(now, |earlier| earlier.since);
        let holder = spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty());
        Sight { version, holder, lasts: seconds.map_or(DURATION, Duration::from_secs), since }
    }

    fn step(&self, identity: &str, now: Instant) -> Step {
        match self.holder.as_deref() {
            Some(holder) if holder == identity => Step::Renew,
            Some(_) if now.duration_since(self.since) < self.lasts => Step::Wait,
            Some(_) | None => Step::Take,
        }
    }
}

/// What a Lease says once `holder` has it: `None` gives it back.
fn written(found: Option<Lease>, name: &str, holder: Option<&str>, now: Timestamp) -> Lease {
    let Lease { metadata, spec } =
        found.unwrap_or_else(|| Lease { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec: None });
    let mut spec: LeaseSpec = spec.unwrap_or_default();
    if spec.holder_identity.as_deref() != holder {
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + i32::from(holder.is_some()));
    }
    spec.holder_identity = holder.map(str::to_owned);
    spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
    spec.renew_time = Some(MicroTime(now));
    Lease { metadata, spec: Some(spec) }
}

impl Candidate {
    /// A candidate for the Lease `name` in the client's own namespace. No other candidate may have its `identity`.
    pub(super) fn new(client: Client, name: &'static str, identity: String, clock: fn() -> Timestamp) -> Candidate {
        Candidate { api: Api::default_namespaced(client), name, identity, clock }
    }

    /// Does `work` whenever the Lease is held, and drops it at once when it is lost, until `stop`; then the Lease is free for the next.
    pub(super) async fn whenever_held<F: Future<Output = ()>>(&self, work: impl Fn() -> F, stop: impl Future<Output = ()>) {
        let turns = async {
            loop {
                let renewed = self.take().await;
                tracing::info!(lease = self.name, identity = self.identity, "this replica holds the lease");
                tokio::select! {
                    () = self.keep(renewed) => tracing::warn!(lease = self.name, "the lease is lost"),
                    () = work() => {}
                }
            }
        };
        tokio::select! {
            () = turns => {}
            () = stop => {}
        }
        // Without an answer the Lease runs out by itself.
        let _ = timeout(RELEASE, self.release()).await;
    }

    /// Waits until the Lease is held; gives back since when.
    async fn take(&self) -> Instant {
        let mut sight = None;
        loop {
            let asked = Instant::now();
            match timeout(DEADLINE, self.attempt(&mut sight)).await {
                Ok(Ok(Attempt::Held)) => return asked,
                Ok(Ok(Attempt::Taken | Attempt::Conflict)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the lease cannot be taken"),
                Err(_) => tracing::warn!(lease = self.name, "the API server does not answer"),
            }
            sleep(RETRY).await;
        }
    }

    /// Ends when the Lease is lost.
    async fn keep(&self, mut renewed: Instant) {
        let mut sight = None;
        loop {
            sleep_until(renewed + RENEWAL).await;
            match timeout_at(renewed + DEADLINE, self.renew(&mut sight)).await {
                Ok(Some(at)) => renewed = at,
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Tries until there is an answer; `None` if it is that somebody else holds the Lease.
    async fn renew(&self, sight: &mut Option<Sight>) -> Option<Instant> {
        loop {
            let asked = Instant::now();
            match self.attempt(sight).await {
                Ok(Attempt::Held) => return Some(asked),
                Ok(Attempt::Taken) => return None,
                Ok(Attempt::Conflict) => {}
                Err(error) => tracing::warn!(lease = self.name, %error, "the lease cannot be renewed"),
            }
            sleep(RETRY).await;
        }
    }

    async fn attempt(&self, sight: &mut Option<Sight>) -> Result<Attempt, kube::Error> {
        let found = self.api.get_opt(self.name).await?;
        let now = Instant::now();
        *sight = found.as_ref().map(|found| Sight::after(sight.as_ref(), found, now));
        if sight.as_ref().is_some_and(|sight| sight.step(&self.identity, now) == Step::Wait) {
            return Ok(Attempt::Taken);
        }
        self.write(found, Some(&self.identity)).await
    }

    /// Writes over what was found, and over nothing newer.
    async fn write(&self, found: Option<Lease>, holder: Option<&str>) -> Result<Attempt, kube::Error> {
        let exists = found.is_some();
        let lease = written(found, self.name, holder, (self.clock)());
        let parameters = PostParams::default();
        let result = if exists { self.api.replace(self.name, &parameters, &lease).await } else { self.api.create(&parameters, &lease).await };
        match result {
            Ok(_) => Ok(Attempt::Held),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Attempt::Conflict),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) {
        match self.api.get_opt(self.name).await {
            Ok(Some(found)) if found.spec.as_ref().is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity)) => {
                if let Err(error) = self.write(Some(found), None).await {
                    tracing::warn!(lease = self.name, %error, "the lease cannot be given back");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(lease = self.name, %error, "the lease cannot be given back"),
        }
    }
}

#[cfg(test)]
mod tests;
