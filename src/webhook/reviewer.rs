//! A review with the world around it: defaults, a panic that must not spread, one log line, counters.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::answer::Verdict;
use super::defaults::{Defaults, PodDefaults};
use super::metrics::Metrics;
use super::request::{Malformed, Request, Subject};
use crate::config::Config;
use crate::inject::{Denial, Injection, inject};
use crate::pod::PodView;

/// The pure core with its configuration bound.
pub type Decide = dyn for<'a> Fn(&PodView<'a>, &PodDefaults) -> Result<Injection, Denial> + Send + Sync;

/// Answers reviews.
pub struct Reviewer {
    decide: Box<Decide>,
    defaults: Arc<dyn Defaults>,
    metrics: Arc<Metrics>,
    told: Mutex<HashSet<String>>,
}

/// How many problems of Namespaces are remembered as told; after so many, all may be told again.
const MAX_TOLD: usize = 1000;

/// The core panicked over one review.
pub(super) struct Panicked;

/// Why a body has no answer that is a review.
pub(super) enum NoAnswer {
    Malformed(Malformed),
    Panicked,
}

impl Reviewer {
    /// A reviewer that decides as the core does.
    #[must_use]
    pub fn new(config: Config, defaults: Arc<dyn Defaults>, metrics: Arc<Metrics>) -> Reviewer {
        let decide = move |pod: &PodView<'_>, defaults: &PodDefaults| inject(pod, &defaults.namespace, &defaults.account, &config);
        Reviewer::deciding(Box::new(decide), defaults, metrics)
    }

    /// A reviewer that decides as it is told.
    #[must_use]
    pub fn deciding(decide: Box<Decide>, defaults: Arc<dyn Defaults>, metrics: Arc<Metrics>) -> Reviewer {
        Reviewer { decide, defaults, metrics, told: Mutex::default() }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers one review.
    pub(super) async fn answer(&self, body: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        let started = Instant::now();
        let request = Request::parse(body).map_err(NoAnswer::Malformed)?;
        let verdict = match &request.subject {
            Subject::Pod(pod) => self.judge(pod, request.namespace.as_str()).await,
            Subject::NotOurs => Ok(Verdict::NotOurs),
            Subject::Unreadable(why) => Ok(Verdict::Unreadable(why.clone())),
        };
        self.report(&request, verdict.as_ref().ok(), started.elapsed());
        verdict.map(|verdict| verdict.to_json(request.uid.as_str())).map_err(|Panicked| NoAnswer::Panicked)
    }

    /// At most one question to the source of defaults: for what is not cached, or before a denial that rests on something absent.
    async fn judge(&self, pod: &PodView<'_>, namespace: &str) -> Result<Verdict, Panicked> {
        let account = pod.service_account_name();
        let cached = self.defaults.cached(namespace, account).map(|known| self.decide(pod, &known)).transpose()?;
        match cached {
            Some(Verdict::Denied(denial)) if denial.rests_on_absence => match self.look_up(namespace, account).await {
                Ok(fresh) => self.decide(pod, &fresh),
                // What is cached may be all there is: the author learns more from the denial than from our trouble.
                Err(_) => Ok(Verdict::Denied(denial)),
            },
            Some(verdict) => Ok(verdict),
            None => match self.look_up(namespace, account).await {
                Ok(fresh) => self.decide(pod, &fresh),
                Err(error) => Ok(error),
            },
        }
    }

    async fn look_up(&self, namespace: &str, account: &str) -> Result<PodDefaults, Verdict> {
        let fresh = self.defaults.fresh(namespace, account).await;
        self.metrics.looked_up(fresh.is_ok());
        fresh.map_err(|error| Verdict::NoDefaults { namespace: namespace.to_owned(), error })
    }

    fn decide(&self, pod: &PodView<'_>, defaults: &PodDefaults) -> Result<Verdict, Panicked> {
        catch_unwind(AssertUnwindSafe(|| (self.decide)(pod, defaults))).map(Verdict::from).map_err(|_| Panicked)
    }

    fn report(&self, request: &Request<'_>, verdict: Option<&Verdict>, time: Duration) {
        let outcome = verdict.map_or("panicked", Verdict::word);
        self.metrics.answered(outcome);
        self.metrics.took(time);
        let (mut warnings, mut replaced) = (0, false);
        if let Some(Verdict::Allowed(injection)) = verdict {
            (warnings, replaced) = (injection.warnings.len(), injection.replaced);
            self.metrics.found(warnings, injection.policy_findings, injection.namespace_problems.len());
            for problem in &injection.namespace_problems {
                self.tell_once(request.namespace.as_str(), problem);
            }
        }
        tracing::info!(
            uid = request.uid.as_str(),
            namespace = request.namespace.as_str(),
            pod = subject_name(&request.subject).as_str(),
            outcome,
            milliseconds = time.as_secs_f64() * 1000.0,
            dry_run = request.dry_run,
            warnings,
            replaced,
            "review"
        );
    }

    /// A Namespace's bad annotation is one line, not one with every pod.
    fn tell_once(&self, namespace: &str, problem: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        if told.insert(format!("{namespace}: {problem}")) {
            tracing::warn!(namespace, problem, "a Namespace has a bad annotation");
        }
    }
}

/// Whom people look for: the owner, whose pods have no names yet, or else the pod.
fn subject_name(subject: &Subject<'_>) -> String {
    let Subject::Pod(pod) = subject else { return String::new() };
    match (pod.owner(), &pod.metadata.name, &pod.metadata.generate_name) {
        (Some((kind, name)), ..) => format!("{kind}/{name}"),
        (None, Some(name), _) => name.as_str().to_owned(),
        (None, None, Some(prefix)) => format!("{}*", prefix.as_str()),
        (None, None, None) => String::new(),
    }
}
