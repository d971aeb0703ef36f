//! `keyvault-injector webhook`: arguments → parts → running parts.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::config::{LoadError, load, read};
use crate::cluster::{self, Client, ClusterDefaults, ConnectError, SlippedThrough};
use crate::tls::{self, Aborted, BindError, Bound, Clients, ClientsError, FilesError, Stop};
use crate::webhook::{Defaults, FixedDefaults, Health, Limits, ManifestError, Metrics, Reviewer, health_router, router, runtime, serve_health};
use keyvault_mutation::config::Config;

mod certificates;
mod log;
mod stop;

use certificates::CertificateSource;
use log::LogFormat;

/// Arguments of `webhook`.
#[derive(Args, Debug)]
pub(super) struct WebhookArgs {
    /// The operator's YAML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where annotations of Namespaces and ServiceAccounts come from [default: cluster in a pod, else files]
    #[arg(long, value_enum)]
    defaults: Option<Source>,
    /// A Namespace manifest, for `--defaults files`
    #[arg(long, value_name = "FILE")]
    namespace: Vec<PathBuf>,
    /// A ServiceAccount manifest, for `--defaults files`
    #[arg(long, value_name = "FILE")]
    service_account: Vec<PathBuf>,
    /// How log lines are written [default: text on a terminal, else json]
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    Cluster,
    Files,
    None,
}

/// Why the webhook does not serve, or ended out of order.
#[derive(Debug, thiserror::Error)]
enum WebhookError {
    #[error(transparent)]
    Config(#[from] LoadError),
    #[error("{file}: {error}")]
    Manifest { file: PathBuf, error: ManifestError },
    #[error("--namespace and --service-account are read with --defaults files only")]
    UnusedManifests,
    #[error("server.tls: selfManaged keeps certificates in a Secret of a cluster: set certFile and keyFile, or run with --defaults cluster")]
    SelfManaged,
    #[error(transparent)]
    Certificate(#[from] FilesError),
    #[error("server.clientCaFile: {0}")]
    Clients(#[from] ClientsError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot listen on {address}: {error}")]
    Health { address: SocketAddr, error: io::Error },
    #[error(transparent)]
    Cluster(#[from] ConnectError),
    #[error("the process cannot be set up: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// Serves until SIGTERM or SIGINT. Exit code 2 for unusable input, 1 for everything else that goes wrong.
pub(super) fn run(args: WebhookArgs) -> ExitCode {
    let _log = match log::to_stderr(args.log_format) {
        Ok(log) => log,
        Err(error) => {
            // Without a log, a failure of this write cannot be reported either.
            let _ = writeln!(io::stderr(), "error: the log cannot be set up: {error}");
            return ExitCode::FAILURE;
        }
    };
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for problem in error.to_string().lines() {
                tracing::error!(error = %problem, "the webhook ends");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

impl WebhookError {
    fn exit_code(&self) -> u8 {
        match self {
            WebhookError::Config(_) | WebhookError::Manifest { .. } | WebhookError::UnusedManifests | WebhookError::SelfManaged => 2,
            WebhookError::Certificate(_)
            | WebhookError::Clients(_)
            | WebhookError::Bind(_)
            | WebhookError::Health { .. }
            | WebhookError::Cluster(_)
            | WebhookError::System(_)
            | WebhookError::Aborted(_) => 1,
        }
    }
}

fn serve(args: WebhookArgs) -> Result<(), WebhookError> {
    let runtime = runtime()?;
    let ended = runtime.block_on(async { Parts::build(args).await?.run().await });
    // A review that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Everything that is needed to serve, but for a certificate that is still to be made.
struct Parts {
    health: TcpListener,
    config: Config,
    certificates: CertificateSource,
    clients: Option<Clients>,
    defaults: Arc<dyn Defaults>,
    watching: Option<Arc<ClusterDefaults>>,
}

impl Parts {
    async fn build(args: WebhookArgs) -> Result<Parts, WebhookError> {
        let config = load(&args.config)?;
        let (defaults, cluster) = defaults(&args, &config).await?;
        let (client, watching) = cluster.unzip();
        let certificates = CertificateSource::new(&config.server, client)?;
        let clients = config.server.client_ca_file.as_deref().map(Clients::load).transpose()?;
        let address = config.server.health_listen;
        let health = TcpListener::bind(address).await.map_err(|error| WebhookError::Health { address, error })?;
        Ok(Parts { health, config, certificates, clients, defaults, watching })
    }

    async fn run(self) -> Result<(), WebhookError> {
        let (stop, stopping) = watch::channel(Stop::No);
        let (metrics, awaited) = (Arc::new(Metrics::default()), watch::Sender::new(None));
        let defaults = Arc::clone(&self.defaults);
        let health = Health { stop: stopping.clone(), defaults, awaited: awaited.subscribe(), metrics: Arc::clone(&metrics) };
        let health_address = self.health.local_addr()?;
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

        // These end with the process, after the last answer: a stopping webhook still reports that it is alive and unready.
        tokio::spawn(stop::raise_at_signals(stop.clone(), terminate, interrupt));
        serve_health(self.health.into_std()?, health_router(health))?;
        if let Some(cluster) = &self.watching {
            tokio::spawn(Arc::clone(cluster).watch());
            tokio::spawn(Arc::clone(cluster).watch_nodes(Arc::clone(&metrics)));
        }
        let supply = tokio::select! {
            () = Stop::reached(Stop::Drain, stopping.clone()) => return Ok(()),
            supply = self.certificates.first(&self.config.server, Arc::clone(&metrics), awaited) => supply,
        };
        let limits = tls::Limits { drain: self.config.server.drain_delay, ..tls::Limits::default() };
        let bound = Bound::bind(self.config.server.listen, supply.certificates(), self.clients.clone(), limits).await?;
        tracing::info!(https = %bound.local_addr(), health = %health_address, "the webhook serves");
        metrics.certificate_expires(supply.certificates().not_after());
        if let Some(trust) = supply.registration() {
            tokio::spawn(stop::leave_once_unregistered(stop, trust));
        }
        tokio::spawn(supply.follow());
        if let (Some(clients), Some(file)) = (self.clients, self.config.server.client_ca_file.clone()) {
            tokio::spawn(certificates::follow_clients(clients, file));
        }
        let search = self.watching.map(|cluster| {
            let search = SlippedThrough::new(cluster, Arc::clone(&metrics), &replica());
            tokio::spawn(search.search(Stop::reached(Stop::Drain, stopping.clone())))
        });
        let reviewer = Reviewer::new(self.config, self.defaults, metrics);
        bound.run(router(reviewer, Limits::default()), stopping).await?;
        if let Some(search) = search {
            // It has ended long ago, but for a drain that takes no time. A defect of it was logged.
            let _ = search.await;
        }
        tracing::info!("the webhook has answered everything and ends");
        Ok(())
    }
}

/// What this replica is called: by its manifest, or by the system.
fn replica() -> String {
    let name = std::env::var("POD_NAME").or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"));
    name.map_or_else(|_| "webhook".to_owned(), |name| name.trim().to_owned())
}

/// Where defaults come from, and the cluster if that is one.
async fn defaults(args: &WebhookArgs, config: &Config) -> Result<(Arc<dyn Defaults>, Option<(Client, Arc<ClusterDefaults>)>), WebhookError> {
    let in_a_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let manifests = || args.namespace.iter().chain(&args.service_account);
    let source = args.defaults.unwrap_or(if in_a_pod && manifests().next().is_none() { Source::Cluster } else { Source::Files });
    if source != Source::Files && manifests().next().is_some() {
        return Err(WebhookError::UnusedManifests);
    }
    if source == Source::Cluster {
        let client = cluster::connect().await?;
        let cluster = ClusterDefaults::new(client.clone());
        let cluster = Arc::new(if config.features.follow_nodes() { cluster.with_nodes() } else { cluster });
        return Ok((Arc::clone(&cluster) as Arc<dyn Defaults>, Some((client, cluster))));
    }
    let mut fixed = FixedDefaults::default();
    for file in manifests() {
        fixed.add(&read(file)?).map_err(|error| WebhookError::Manifest { file: file.clone(), error })?;
    }
    Ok((Arc::new(fixed), None))
}
