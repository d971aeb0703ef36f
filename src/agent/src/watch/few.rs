//! A network with few requests in flight: each connection takes memory, and a sidecar has little.

use tokio::sync::Semaphore;

use keyvault_client::{Network, Request, Response, TransportError};

/// Requests in flight. Nobody waits for a refresh, and the first fetch is done in a few round trips all the same.
pub(super) const AT_ONCE: usize = 4;

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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use keyvault_client::Kind;

    #[derive(Default)]
    struct Slow {
        inside: Cell<usize>,
        most: Cell<usize>,
    }

    impl Network for &Slow {
        async fn send(&self, _: Request<'_>) -> Result<Response, TransportError> {
            self.inside.set(self.inside.get() + 1);
            self.most.set(self.most.get().max(self.inside.get()));
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.inside.set(self.inside.get() - 1);
            Err(TransportError::Broken { server: "p".into(), reason: "gone".to_owned() })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_requests_are_sent_and_few_at_a_time() {
        let (slow, start) = (Slow::default(), tokio::time::Instant::now());
        let few = Few::new(&slow);
        let sent = (0..20).map(|_| few.send(Request { url: String::new(), kind: Kind::Metadata, deadline: start + Duration::from_secs(60) }));
        assert_eq!(futures::future::join_all(sent).await.len(), 20);
        assert_eq!((slow.most.get(), start.elapsed().as_millis() / 10), (AT_ONCE, 20_u128.div_ceil(AT_ONCE as u128)));
    }
}
