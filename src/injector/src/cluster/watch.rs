//! One watch: reduced before it is kept, started again for as long as the process lives.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::cache::{Cache, Seen, key};

/// Before everything is read again because the API server cannot go on from where the watch was.
const PAUSE: Duration = Duration::from_secs(1);

/// Objects of a list that are held at once, where the API server cannot stream them: each may carry kilobytes that are dropped.
const PAGE: u32 = 100;

/// Everything of a kind, a page or one object at a time.
pub(super) fn all() -> Config {
    Config::default().page_size(PAGE)
}

/// Hands every event to `see`, for ever. Errors are logged, and retried with growing pauses.
pub(super) async fn follow<K>(api: Api<K>, config: Config, see: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    follow_or(api, config, see, |_| ()).await;
}

/// The same, and hands every error to `failed`.
pub(super) async fn follow_or<K>(api: Api<K>, config: Config, mut see: impl FnMut(Event<K>), failed: impl Fn(&Error))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut streaming = true;
    loop {
        let config = if streaming { config.clone().streaming_lists() } else { config.clone() };
        let mut events = pin!(watcher(api.clone(), config).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => see(event),
                // An API server without the WatchList feature calls the parameters of a streaming list invalid.
                Err(error) if streaming && refused_with(&error, 422) => {
                    streaming = false;
                    break;
                }
                Err(error) => {
                    tracing::warn!(kind = &*K::kind(&()), %error, "a watch was interrupted");
                    failed(&error);
                    // The watcher starts over where the stream says 410, but not where the response does.
                    if refused_with(&error, 410) {
                        tokio::time::sleep(PAUSE).await;
                        break;
                    }
                }
            }
        }
    }
}

/// Whether the API server answered a watch or a list with this status.
pub(super) fn refused_with(error: &Error, code: u16) -> bool {
    matches!(error, Error::WatchStartFailed(kube::Error::Api(status)) | Error::InitialListFailed(kube::Error::Api(status)) if status.code == code)
}

/// Keeps a cache like the cluster.
pub(super) struct Keeper<'c, K, T> {
    cache: &'c Cache<T>,
    read: fn(&K) -> Option<T>,
    filling: Seen<T>,
}

impl<'c, K: Resource, T: PartialEq> Keeper<'c, K, T> {
    /// `read` says what to keep of an object that carries something of ours.
    pub(super) fn new(cache: &'c Cache<T>, read: fn(&K) -> Option<T>) -> Keeper<'c, K, T> {
        Keeper { cache, read, filling: Seen::new() }
    }

    /// Takes an event in, and returns whether the picture changed.
    pub(super) fn see(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Init => self.filling = Seen::new(),
            Event::InitApply(object) => {
                let (key, kept) = self.reduce(&object);
                self.filling.insert(key, kept);
            }
            Event::InitDone => {
                self.cache.fill(std::mem::take(&mut self.filling));
                return true;
            }
            Event::Apply(object) => {
                let (key, kept) = self.reduce(&object);
                return self.cache.change(|seen| {
                    let is_new = seen.get(&key) != Some(&kept);
                    if is_new {
                        seen.insert(key, kept);
                    }
                    is_new
                });
            }
            Event::Delete(object) => return self.cache.change(|seen| seen.remove(&key_of(object.meta())).is_some()),
        }
        false
    }

    fn reduce(&self, object: &K) -> (Box<str>, Option<Box<T>>) {
        (key_of(object.meta()), (self.read)(object).map(Box::new))
    }
}

fn key_of(meta: &ObjectMeta) -> Box<str> {
    key(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}
