//! Where the serving certificate comes from: files, or a Secret of our own. Either way a new one waits until the API server trusts it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::{BoxFuture, join};
use tokio::sync::watch;

use super::WebhookError;
use crate::cluster::{Client, SelfManagedCertificates, follow_registration};
use crate::tls::{CertificateFiles, Certificates, Clients, FilesError, Gate, Offer, Pair, Trust};
use crate::webhook::Metrics;
use keyvault_mutation::config::{SelfManaged, ServerConfig, TlsSource};

/// How often certificate files are read again: well within the hours that a renewal leaves.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);

/// The one place that says which sources of certificates there are.
pub(super) enum CertificateSource {
    /// With a cluster, its registration must trust them.
    Files { files: CertificateFiles, first: Pair, cluster: Option<Client> },
    /// Kept in a cluster.
    SelfManaged { settings: SelfManaged, cluster: Client },
}

impl CertificateSource {
    /// Files are read: what cannot serve is found out before a port is taken.
    pub(super) fn new(server: &ServerConfig, cluster: Option<Client>) -> Result<CertificateSource, WebhookError> {
        match (&server.tls, cluster) {
            (TlsSource::SelfManaged(settings), Some(cluster)) => Ok(CertificateSource::SelfManaged { settings: settings.clone(), cluster }),
            (TlsSource::SelfManaged(_), None) => Err(WebhookError::SelfManaged),
            (TlsSource::Files { cert_file, key_file }, cluster) => {
                let files = CertificateFiles { cert_file: cert_file.clone(), key_file: key_file.clone() };
                Ok(CertificateSource::Files { first: files.load()?, files, cluster })
            }
        }
    }

    /// Waits for a first pair, which serves at once. What readiness waits for goes to `awaited`.
    pub(super) async fn first(self, server: &ServerConfig, metrics: Arc<Metrics>, awaited: watch::Sender<Option<String>>) -> Supply {
        let (trusted, trust) = (watch::Sender::new(Trust::Unknown), watch::Sender::new(Trust::Absent).subscribe());
        let registration = server.registration.clone();
        let gate = |pair, awaited| {
            let certificates = Certificates::new(pair);
            (certificates.clone(), Gate::new(certificates, &server.registration, awaited, now()))
        };
        match self {
            CertificateSource::Files { files, first, cluster: None } => {
                let (certificates, gate) = gate(first, awaited);
                Supply { follow: follow_files(files, certificates.clone(), gate, trust, metrics).boxed(), certificates, registration: None }
            }
            CertificateSource::Files { files, first, cluster: Some(cluster) } => {
                let (certificates, gate) = gate(first, awaited);
                let following = follow_files(files, certificates.clone(), gate, trusted.subscribe(), metrics);
                let seen = Some(trusted.subscribe());
                let watching = async move { follow_registration(cluster, &registration, false, &trusted).await };
                Supply { certificates, registration: seen, follow: join(following, watching).map(drop).boxed() }
            }
            CertificateSource::SelfManaged { settings, cluster } => {
                let ours = SelfManagedCertificates::start(&cluster, server, &settings, now, metrics, &awaited).await;
                let (certificates, gate) = gate(ours.pair(), awaited);
                let keeping = ours.keep(gate, trusted.subscribe());
                let seen = Some(trusted.subscribe());
                let watching = async move { follow_registration(cluster, &registration, true, &trusted).await };
                Supply { certificates, registration: seen, follow: join(keeping, watching).map(drop).boxed() }
            }
        }
    }
}

/// A pair to serve, and the work that keeps it good.
pub(super) struct Supply {
    certificates: Certificates,
    registration: Option<watch::Receiver<Trust>>,
    follow: BoxFuture<'static, ()>,
}

impl Supply {
    /// What is to be served.
    pub(super) fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// The registration as it is followed, where there is a cluster.
    pub(super) fn registration(&self) -> Option<watch::Receiver<Trust>> {
        self.registration.clone()
    }

    /// Renews it, for ever.
    pub(super) fn follow(self) -> BoxFuture<'static, ()> {
        self.follow
    }
}

async fn follow_files(files: CertificateFiles, certificates: Certificates, gate: Gate, trust: watch::Receiver<Trust>, metrics: Arc<Metrics>) {
    let report = |found: Result<Offer, FilesError>| {
        metrics.certificate_expires(certificates.not_after());
        if let Err(error) = found {
            metrics.certificate_reload_failed();
            tracing::error!(%error, "the certificate files cannot be served: the last good pair stays");
        }
    };
    files.follow(gate, trust, RELOAD_PERIOD, now, report).await;
}

/// Reads the authorities of client certificates again and again, for ever.
pub(super) async fn follow_clients(clients: Clients, file: PathBuf) {
    let mut ticks = tokio::time::interval(RELOAD_PERIOD);
    loop {
        ticks.tick().await;
        if let Err(error) = clients.reload(&file) {
            tracing::error!(%error, "server.clientCaFile cannot be used: the last good certificates stay");
        }
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
