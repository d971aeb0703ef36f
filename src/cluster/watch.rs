//! One watch: metadata only, reduced before it is kept, started again for as long as the process lives.

use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Resource};

use super::cache::{Cache, Seen, put, remove};

/// Keeps `cache` like the cluster, for ever. Errors are logged, and retried with growing pauses.
pub(super) async fn follow<K, T>(api: Api<PartialObjectMeta<K>>, cache: &Cache<T>, read: fn(&ObjectMeta) -> T)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + 'static,
    T: Clone,
{
    let mut config = Config::default().streaming_lists();
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()).default_backoff());
        let mut follower = Follower { cache, read, filling: Seen::new() };
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => follower.see(event),
                Err(error) if cannot_stream_lists(&error) && config == Config::default().streaming_lists() => {
                    config = Config::default();
                    break;
                }
                Err(error) => tracing::warn!(kind = &*K::kind(&()), %error, "a watch was interrupted"),
            }
        }
    }
}

/// An API server without the WatchList feature calls the parameters of a streaming list invalid.
fn cannot_stream_lists(error: &Error) -> bool {
    matches!(error, Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 422)
}

struct Follower<'c, T> {
    cache: &'c Cache<T>,
    read: fn(&ObjectMeta) -> T,
    filling: Seen<T>,
}

impl<T: Clone> Follower<'_, T> {
    fn see<K>(&mut self, event: Event<PartialObjectMeta<K>>) {
        match event {
            Event::Init => self.filling = Seen::new(),
            Event::InitApply(object) => put_object(&mut self.filling, &object.metadata, self.read),
            Event::InitDone => self.cache.fill(std::mem::take(&mut self.filling)),
            Event::Apply(object) => self.cache.change(|seen| put_object(seen, &object.metadata, self.read)),
            Event::Delete(object) => {
                let (namespace, name) = names(&object.metadata);
                self.cache.change(|seen| remove(seen, namespace, name));
            }
        }
    }
}

fn put_object<T>(seen: &mut Seen<T>, meta: &ObjectMeta, read: fn(&ObjectMeta) -> T) {
    let (namespace, name) = names(meta);
    put(seen, namespace, name, read(meta));
}

fn names(meta: &ObjectMeta) -> (&str, &str) {
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}
