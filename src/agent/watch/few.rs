//! A network with few requests in flight: each connection takes memory, and a sidecar has little.

use tokio::sync::Semaphore;

use crate::vault::{Network, Request, Response, TransportError};

/// Requests in flight. Nobody waits for a refresh, and the first fetch is done in a few round trips all the same.
pub(super) const AT_ONCE: usize = 8;

/// Another network, with no more than [`AT_ONCE`] requests at a time.
pub(super) struct Few<N> {
    network: N,
    passes: Semaphore,
}

impl<N> Few<N> {
    pub(super) fn new(network: N) -> Few<N> {
        Few { network, passes: Semaphore::new(AT_ONCE) }
    }
}

impl<N: Network> Network for Few<N> {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        // Nobody closes it.
        let _pass = self.passes.acquire().await;
        self.network.send(request).await
    }
}
