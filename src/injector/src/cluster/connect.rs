//! Which cluster: the one of a kubeconfig, or the one that this pod runs in.

use std::io::ErrorKind;
use std::path::Path;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Why there is no connection to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing names a cluster.
    #[error("no cluster: neither KUBECONFIG nor ~/.kube/config has one, and this is no pod")]
    Absent,
    /// A kubeconfig that cannot be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// A pod without what a pod has.
    #[error("this pod's ServiceAccount: {0}")]
    InCluster(#[from] InClusterError),
    /// A client cannot be made of the credentials.
    #[error("the credentials for {server} cannot be used: {error}")]
    Client {
        /// The API server.
        server: String,
        /// What is wrong.
        error: kube::Error,
    },
}

/// Which cluster a client talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The kubeconfig's context; `None` in a pod.
    pub context: Option<String>,
    /// The API server's address.
    pub server: String,
}

/// Connects as the environment says: by `KUBECONFIG`, `~/.kube/config` or the pod's ServiceAccount.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect() -> Result<Client, ConnectError> {
    connect_to(None, None).await.map(|(client, _)| client)
}

/// Connects to the cluster of a context. Without a file and a context, the environment decides.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect_to(file: Option<&Path>, context: Option<&str>) -> Result<(Client, Place), ConnectError> {
    let (config, context) = match of_kubeconfig(file, context).await {
        Ok(found) => found,
        Err(error) if file.is_some() || context.is_some() => return Err(error.into()),
        Err(error) => (of_pod(error)?, None),
    };
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let client = Client::try_from(config).map_err(|error| ConnectError::Client { server: server.clone(), error })?;
    Ok((client, Place { context, server }))
}

async fn of_kubeconfig(file: Option<&Path>, context: Option<&str>) -> Result<(Config, Option<String>), KubeconfigError> {
    let kubeconfig = file.map_or_else(Kubeconfig::read, Kubeconfig::read_from)?;
    let context = context.map(str::to_owned).or_else(|| kubeconfig.current_context.clone());
    let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    Ok((Config::from_custom_kubeconfig(kubeconfig, &options).await?, context))
}

/// The pod's own cluster; outside of a pod, why there is no kubeconfig.
fn of_pod(no_kubeconfig: KubeconfigError) -> Result<Config, ConnectError> {
    let named = std::env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty());
    match (Config::incluster(), no_kubeconfig) {
        (Ok(config), _) => Ok(config),
        (Err(error), _) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Err(error.into()),
        (Err(_), KubeconfigError::FindPath) => Err(ConnectError::Absent),
        (Err(_), KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound && !named => Err(ConnectError::Absent),
        (Err(_), error) => Err(error.into()),
    }
}
