//! A review with the world around it: defaults, a limit in time, a panic that must not spread, one log line, counters.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::answer::Verdict;
use super::defaults::{Defaults, LookupError, PodDefaults};
use super::lookout::{Lookout, Running};
use super::metrics::Metrics;
use super::report::{Report, Told};
use super::request::{Malformed, Request, Subject};
use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Denial, Injection, inject};
use keyvault_mutation::pod::PodView;

/// The pure core with its configuration bound.
pub type Decide = dyn for<'a> Fn(&PodView<'a>, &PodDefaults) -> Result<Injection, Denial> + Send + Sync;

/// Answers reviews.
pub struct Reviewer {
    decide: Box<Decide>,
    defaults: Arc<dyn Defaults>,
    metrics: Arc<Metrics>,
    told: Told,
    /// A review that outlives its limit keeps its place among these, so that such reviews cannot pile up.
    workers: Arc<Semaphore>,
    /// From the first short review on, where the runtime has a thread to spare for what is not one.
    lookout: OnceLock<Option<Lookout>>,
}

/// How long a review may take, with all that it waits for: short of the 5 seconds that the API server waits, so that it learns why.
const LIMIT: Duration = Duration::from_secs(4);
/// How many reviews are read and decided at one time. More work than that is for more replicas.
pub(super) const WORKERS: usize = 2;
/// The longest review that runs on the thread that has read it, in bytes. It ends before the next one could be woken; a longer one may take a while.
const SHORT: usize = 64 << 10;

/// Why a body has no answer that is a review.
pub(super) enum NoAnswer {
    Malformed(Malformed),
    /// The core panicked over this review.
    Panicked,
    /// No worker was free in time.
    Busy,
    /// It took longer than this.
    Overdue(Duration),
}

/// How far one look at a review gets.
enum Step {
    Answered {
        answer: Result<Vec<u8>, NoAnswer>,
        report: Report,
    },
    /// There is no answer before this is looked up.
    LookUp {
        namespace: String,
        account: String,
    },
}

impl Reviewer {
    /// A reviewer that decides as the core does.
    #[must_use]
    pub fn new(config: Config, defaults: Arc<dyn Defaults>, metrics: Arc<Metrics>) -> Reviewer {
        let decide = move |pod: &PodView<'_>, defaults: &PodDefaults| inject(pod, &defaults.namespace, &defaults.account, &defaults.nodes, &config);
        Reviewer::deciding(Box::new(decide), defaults, metrics)
    }

    /// A reviewer with the given decision.
    #[must_use]
    pub fn deciding(decide: Box<Decide>, defaults: Arc<dyn Defaults>, metrics: Arc<Metrics>) -> Reviewer {
        Reviewer { decide, defaults, metrics, told: Told::default(), workers: Arc::new(Semaphore::new(WORKERS)), lookout: OnceLock::new() }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a review on this thread: without a limit, a log line or a counter. `None` if something has to be looked up, or nothing can be answered.
    #[must_use]
    pub fn respond(&self, body: &[u8]) -> Option<Vec<u8>> {
        match self.step(body, None) {
            Ok(Step::Answered { answer, .. }) => answer.ok(),
            Ok(Step::LookUp { .. }) | Err(_) => None,
        }
    }

    /// Answers one review. There is at most one question to the source of defaults.
    pub(super) async fn answer(self: &Arc<Self>, body: impl Into<Bytes>) -> Result<Vec<u8>, NoAnswer> {
        let (body, started) = (body.into(), Instant::now());
        let mut step = self.work(body.clone(), None, started).await?;
        if let Step::LookUp { namespace, account } = &step {
            let fresh = timeout_at(started + LIMIT, self.defaults.fresh(namespace, account)).await;
            let fresh = fresh.map_err(|_| NoAnswer::Overdue(LIMIT))?;
            self.metrics.looked_up(fresh.is_ok());
            step = self.work(body, Some(fresh), started).await?;
        }
        let Step::Answered { answer, report } = step else { return Err(NoAnswer::Panicked) };
        report.publish(started.elapsed(), &self.metrics, &self.told);
        answer
    }

    /// Takes a step if a worker is free in time, and waits for it no longer than the limit.
    async fn work(self: &Arc<Self>, body: Bytes, looked_up: Option<Result<PodDefaults, LookupError>>, started: Instant) -> Result<Step, NoAnswer> {
        let deadline = started + LIMIT;
        let Ok(Ok(worker)) = timeout_at(deadline, Arc::clone(&self.workers).acquire_owned()).await else { return Err(NoAnswer::Busy) };
        let (reviewer, running) = (Arc::clone(self), self.running(body.len()));
        let is_short = running.is_some();
        let step = move || {
            let _occupied = (worker, running);
            let step = reviewer.step(&body, looked_up);
            if let (Ok(Step::Answered { report, .. }), true) = (&step, Instant::now() > deadline) {
                report.publish_late(started.elapsed());
            }
            step
        };
        // A task that is spawned last runs next, on this thread: nobody is woken.
        let step = if is_short { tokio::spawn(async { step() }) } else { tokio::task::spawn_blocking(step) };
        match timeout_at(deadline, step).await {
            Ok(Ok(step)) => step.map_err(NoAnswer::Malformed),
            Ok(Err(_)) => Err(NoAnswer::Panicked),
            Err(_) => Err(NoAnswer::Overdue(LIMIT)),
        }
    }

    /// Says to the lookout that a review begins, if it is one for the threads of the runtime.
    fn running(&self, length: usize) -> Option<Running> {
        let lookout = || {
            let runtime = Handle::current();
            (runtime.metrics().num_workers() > WORKERS).then(|| Lookout::start(runtime).ok()).flatten()
        };
        let lookout = if length > SHORT { None } else { self.lookout.get_or_init(lookout).as_ref() };
        lookout.map(Lookout::begin)
    }

    fn step(&self, body: &[u8], looked_up: Option<Result<PodDefaults, LookupError>>) -> Result<Step, Malformed> {
        let request = Request::parse(body)?;
        let verdict = match &request.subject {
            Subject::Pod(pod) => match self.judge(pod, request.namespace.as_str(), looked_up).transpose() {
                Some(verdict) => verdict,
                None => {
                    let (namespace, account) = (request.namespace.as_str().to_owned(), pod.service_account_name().to_owned());
                    return Ok(Step::LookUp { namespace, account });
                }
            },
            Subject::NotOurs => Ok(Verdict::NotOurs),
            Subject::Unreadable(why) => Ok(Verdict::Unreadable(why.clone())),
        };
        Ok(match verdict {
            Ok(mut verdict) => {
                Step::Answered { answer: Ok(verdict.to_json(request.uid.as_str())), report: Report::new(&request, Some(&mut verdict)) }
            }
            Err(panicked) => Step::Answered { answer: Err(panicked), report: Report::new(&request, None) },
        })
    }

    /// `None` asks for a lookup: of what is not cached, or before a denial that rests on something absent.
    fn judge(&self, pod: &PodView<'_>, namespace: &str, looked_up: Option<Result<PodDefaults, LookupError>>) -> Result<Option<Verdict>, NoAnswer> {
        let cached = || self.defaults.cached(namespace, pod.service_account_name()).map(|known| self.decide(pod, &known)).transpose();
        match looked_up {
            None => Ok(cached()?.filter(|verdict| !matches!(verdict, Verdict::Denied(denial) if denial.rests_on_absence))),
            Some(Ok(fresh)) => self.decide(pod, &fresh).map(Some),
            // What is cached may be all there is: a denial helps the author more than the error of our lookup.
            Some(Err(error)) => Ok(Some(cached()?.unwrap_or_else(|| Verdict::NoDefaults { namespace: namespace.to_owned(), error }))),
        }
    }

    fn decide(&self, pod: &PodView<'_>, defaults: &PodDefaults) -> Result<Verdict, NoAnswer> {
        catch_unwind(AssertUnwindSafe(|| (self.decide)(pod, defaults))).map(Verdict::from).map_err(|_| NoAnswer::Panicked)
    }
}
