//! Certificates of our own: the loop that keeps Secret and registration in step, and offers each new leaf to be served.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, pending};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::objects::{ClusterObjects, stored};
use super::registration::follow_object;
use crate::tls::{Change, Gate, KeepError, Keeper, Kept, Objects, Pair, Stored, Terms, Trust, View};
use crate::webhook::Metrics;
use keyvault_mutation::config::{SelfManaged, ServerConfig};
use keyvault_mutation::installation::TLS_SECRET;

/// The pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two repairs by one replica: a program that keeps setting `caBundle` is not fought faster than that.
const BETWEEN_REPAIRS: Duration = Duration::from_secs(1);

/// A Secret of ours that holds a leaf to serve.
pub struct SelfManagedCertificates {
    keeper: Keeper<ClusterObjects>,
    kept: Kept<Secret>,
    pair: Pair,
    clock: fn() -> i64,
    metrics: Arc<Metrics>,
    /// How often time alone is a reason to look.
    period: Duration,
}

impl SelfManagedCertificates {
    /// Finds or makes the Secret, trying for as long as that takes. `awaited` hears why it takes long; `clock` gives the seconds since 1970.
    pub async fn start(
        client: &Client,
        server: &ServerConfig,
        settings: &SelfManaged,
        clock: fn() -> i64,
        metrics: Arc<Metrics>,
        awaited: &watch::Sender<Option<String>>,
    ) -> SelfManagedCertificates {
        let service = format!("{}.{}.svc", server.service, client.default_namespace());
        let names = [service].into_iter().chain(settings.names.clone()).collect();
        let terms = Terms { leaf_lifetime: settings.leaf_lifetime, authority_lifetime: settings.ca_lifetime, names };
        let keeper = Keeper::new(ClusterObjects::new(client, &server.registration), terms);
        let period = (settings.leaf_lifetime / 20).clamp(Duration::from_millis(200), LONGEST_PAUSE);
        let mut pause = PAUSE;
        loop {
            let reason = match first(&keeper, clock()).await {
                Ok((kept, pair)) => {
                    let ours = SelfManagedCertificates { keeper, kept, pair, clock, metrics, period };
                    ours.report();
                    return ours;
                }
                Err(reason) => reason,
            };
            tracing::warn!(secret = TLS_SECRET, reason, "no certificate to serve yet");
            awaited.send_replace(Some(format!("Secret {TLS_SECRET}: {reason}")));
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The newest leaf with its key.
    #[must_use]
    pub fn pair(&self) -> Pair {
        self.pair.clone()
    }

    /// Keeps Secret and registration in step, and `gate` supplied, for ever.
    pub async fn keep(self, gate: Gate, trust: watch::Receiver<Trust>) {
        let secret = watch::Sender::new(None);
        let api = self.keeper.objects().secrets.clone();
        join(follow_object(api, TLS_SECRET, |secret| secret.map(stored), &secret), self.take_turns(gate, secret.subscribe(), trust)).await;
    }

    async fn take_turns(mut self, gate: Gate, mut secret: watch::Receiver<Option<Stored<Secret>>>, mut trust: watch::Receiver<Trust>) {
        let (mut pause, mut next_turn, mut next_repair) = (PAUSE, Instant::now(), Instant::now());
        let mut known = Some(self.kept.stored.clone());
        loop {
            let (trusted, now) = (trust.borrow_and_update().clone(), Instant::now());
            if now >= next_turn {
                match self.turn(known.take(), &trusted, now >= next_repair).await {
                    Ok(repaired) => {
                        (pause, known) = (PAUSE, Some(self.kept.stored.clone()));
                        next_repair = if repaired { now + BETWEEN_REPAIRS } else { next_repair };
                    }
                    // What is known may have been the reason: the next turn begins by reading the Secret.
                    Err(error) => {
                        tracing::warn!(%error, "certificates could not be looked after");
                        next_turn = now + pause;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            gate.offer(self.pair(), &trusted, (self.clock)());
            self.metrics.certificate_expires(gate.not_after());
            tokio::select! {
                Ok(()) = secret.changed() => known.clone_from(&secret.borrow_and_update()),
                Ok(()) = trust.changed() => {}
                () = sleep(self.period) => {}
                () = soon(next_turn) => {}
                () = soon(next_repair) => {}
            }
        }
    }

    /// Whether `caBundle`s were repaired.
    async fn turn(&mut self, secret: Option<Stored<Secret>>, trust: &Trust, may_repair: bool) -> Result<bool, KeepError<kube::Error>> {
        let remembered = self.kept.state.bundle();
        self.kept = self.keeper.update(View { secret, trust, remembered: &remembered }, (self.clock)()).await?;
        self.report();
        let repaired = may_repair && self.keeper.repair(&mut self.kept, trust).await?;
        if repaired {
            tracing::info!("caBundle of the registration was set");
            self.metrics.ca_bundle_repaired();
        }
        // A leaf that others have spoilt since is replaced by the next turn.
        if let Ok(pair) = self.kept.state.leaf.pair() {
            self.pair = pair;
        }
        Ok(repaired)
    }

    /// Says what the last update did.
    fn report(&self) {
        for change in &self.kept.changes {
            tracing::info!(secret = TLS_SECRET, "{}", sentence(*change));
            if *change == Change::NewLeaf {
                self.metrics.certificate_renewed();
            }
        }
    }
}

async fn first(keeper: &Keeper<ClusterObjects>, now: i64) -> Result<(Kept<Secret>, Pair), String> {
    let secret = keeper.objects().secret().await.map_err(|error| error.to_string())?;
    let view = View { secret, trust: &Trust::Unknown, remembered: "" };
    let kept = keeper.update(view, now).await.map_err(|error| error.to_string())?;
    let pair = kept.state.leaf.pair().map_err(|error| error.to_string())?;
    Ok((kept, pair))
}

/// Waits for a moment to come; one that has passed never comes.
async fn soon(moment: Instant) {
    if moment <= Instant::now() {
        return pending().await;
    }
    sleep_until(moment).await;
}

fn sentence(change: Change) -> &'static str {
    match change {
        Change::NewAuthority => "a new CA was made",
        Change::NextAuthority => "the next CA was made; it signs once every caBundle of the registration holds it",
        Change::Promoted => "every caBundle of the registration holds the next CA: it signs from now on",
        Change::NewLeaf => "a new serving certificate was made",
        Change::Dropped => "a CA whose last certificate has expired was dropped",
    }
}
