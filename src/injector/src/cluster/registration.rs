//! Our MutatingWebhookConfiguration: what it says about trust, and watching one object by its name.

use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, WebhookClientConfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::tls::{Entry, Trust};

/// cert-manager's annotation: its injector sets every `caBundle` of an object that carries it.
const INJECTED: &str = "cert-manager.io/inject-ca-from";

/// Follows the MutatingWebhookConfiguration of this name, for ever. With `ours`, we keep its `caBundle`s, and whoever else does so is told of in
/// the log.
pub async fn follow_registration(client: Client, name: &str, ours: bool, trust: &watch::Sender<Trust>) {
    let mut injected = None;
    let read = |registration: Option<MutatingWebhookConfiguration>| {
        let by = registration.as_ref().and_then(|registration| registration.metadata.annotations.as_ref()?.get(INJECTED).cloned());
        if ours && by.is_some() && injected != by {
            tracing::warn!(
                registration = name,
                "cert-manager sets caBundle here too: remove the annotation {INJECTED}, or serve cert-manager's certificate with \
                 server.tls: {{certFile, keyFile}}"
            );
        }
        injected = by;
        read_trust(registration.as_ref())
    };
    follow_object(Api::all(client), name, read, trust).await;
}

pub(super) fn read_trust(registration: Option<&MutatingWebhookConfiguration>) -> Trust {
    let Some(registration) = registration else { return Trust::Absent };
    let entries = registration.webhooks.iter().flatten().map(|webhook| Entry {
        webhook: webhook.name.clone(),
        server_name: server_name(&webhook.client_config),
        ca_bundle: webhook.client_config.ca_bundle.as_ref().map(|bytes| bytes.0.clone()).unwrap_or_default(),
    });
    Trust::Entries(entries.collect())
}

/// The name that the API server asks the webhook's certificate for.
fn server_name(client: &WebhookClientConfig) -> String {
    if let Some(service) = &client.service {
        return format!("{}.{}.svc", service.name, service.namespace);
    }
    let url = client.url.as_deref().and_then(|url| url.parse::<hyper::Uri>().ok());
    url.and_then(|url| Some(url.host()?.trim_matches(['[', ']']).to_owned())).unwrap_or_default()
}

/// Follows one object, for ever. Errors are logged, and retried with growing pauses.
pub(super) async fn follow_object<K, T>(api: Api<K>, name: &str, mut read: impl FnMut(Option<K>) -> T, to: &watch::Sender<T>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    loop {
        let mut events = pin!(watcher::watch_object(api.clone(), name).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(object) => drop(to.send_replace(read(object))),
                Err(error) => tracing::warn!(kind = &*K::kind(&()), name, %error, "a watch was interrupted"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_asked_for_is_the_services_or_the_hosts() {
        let client = |value| server_name(&serde_json::from_value(value).unwrap());
        assert_eq!(client(serde_json::json!({"service": {"name": "hook", "namespace": "ours", "port": 8443}})), "hook.ours.svc");
        for (url, host) in [("https://127.0.0.1:1/mutate", "127.0.0.1"), ("https://[::1]:1/x", "::1"), ("https://hook.example/x?y=z", "hook.example")]
        {
            assert_eq!(client(serde_json::json!({"url": url})), host);
        }
    }
}
