//! The Secret and the registration in a cluster.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::registration::read_trust;
use crate::tls::{Data, Entry, Objects, Stored, Trust};
use keyvault_mutation::installation::TLS_SECRET;

/// Reads and writes through the API server.
pub(super) struct ClusterObjects {
    pub(super) secrets: Api<Secret>,
    registrations: Api<MutatingWebhookConfiguration>,
    registration: String,
}

impl ClusterObjects {
    /// The Secret is in the namespace that the client is in.
    pub(super) fn new(client: &Client, registration: &str) -> ClusterObjects {
        ClusterObjects {
            secrets: Api::default_namespaced(client.clone()),
            registrations: Api::all(client.clone()),
            registration: registration.to_owned(),
        }
    }
}

/// A Secret as it was read. What is left of it without its data tells its version, and what must not get lost when it is replaced.
pub(super) fn stored(mut secret: Secret) -> Stored<Secret> {
    let data = secret.data.take().unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect();
    Stored { data, version: secret }
}

impl Objects for ClusterObjects {
    type Version = Secret;
    type Error = kube::Error;

    async fn secret(&self) -> Result<Option<Stored<Secret>>, kube::Error> {
        Ok(self.secrets.get_opt(TLS_SECRET).await?.map(stored))
    }

    async fn registration(&self) -> Result<Trust, kube::Error> {
        Ok(read_trust(self.registrations.get_opt(&self.registration).await?.as_ref()))
    }

    async fn write(&self, data: &Data, over: Option<&Secret>) -> Result<Option<Secret>, kube::Error> {
        let data = Some(data.iter().map(|(key, bytes)| (key.clone(), ByteString(bytes.clone()))).collect());
        let written = match over {
            Some(version) => self.secrets.replace(TLS_SECRET, &PostParams::default(), &Secret { data, ..version.clone() }).await,
            None => {
                let metadata = ObjectMeta { name: Some(TLS_SECRET.to_owned()), ..ObjectMeta::default() };
                self.secrets.create(&PostParams::default(), &Secret { metadata, data, ..Secret::default() }).await
            }
        };
        unless_beaten(written.map(|secret| stored(secret).version), &[404, 409])
    }

    async fn repair(&self, entries: &[Entry], bundle: &str) -> Result<bool, kube::Error> {
        let patch = Patch::Json::<()>(repair(entries, bundle));
        // An API server calls a patch whose tests fail unprocessable.
        Ok(unless_beaten(self.registrations.patch(&self.registration, &PatchParams::default(), &patch).await, &[404, 409, 422])?.is_some())
    }
}

/// `None` where somebody else was faster, which these codes tell.
fn unless_beaten<T>(answer: Result<T, kube::Error>, codes: &[u16]) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if codes.contains(&status.code) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets `caBundle` where it differs, nothing else, and only if each such entry is still what it was. To test for null is to test for absence.
#[expect(clippy::expect_used, reason = "every operation is written out here")]
fn repair(entries: &[Entry], bundle: &str) -> json_patch::Patch {
    let wrong = entries.iter().enumerate().filter(|(_, entry)| entry.ca_bundle != bundle.as_bytes());
    let operations = wrong.flat_map(|(index, entry)| {
        let (name, path) = (format!("/webhooks/{index}/name"), format!("/webhooks/{index}/clientConfig/caBundle"));
        let before = (!entry.ca_bundle.is_empty()).then(|| STANDARD.encode(&entry.ca_bundle));
        [
            json!({"op": "test", "path": name, "value": entry.webhook}),
            json!({"op": "test", "path": path, "value": before}),
            json!({"op": "add", "path": path, "value": STANDARD.encode(bundle)}),
        ]
    });
    serde_json::from_value(operations.collect()).expect("operations are a patch")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_touches_wrong_bundles_only_and_tests_them_first() {
        let entry = |webhook: &str, ca_bundle: &str| Entry { webhook: webhook.into(), server_name: "x".into(), ca_bundle: ca_bundle.into() };
        let patch = repair(&[entry("a", "old"), entry("b", "new"), entry("c", "")], "new");
        assert_eq!(
            serde_json::to_value(patch).unwrap(),
            json!([
                {"op": "test", "path": "/webhooks/0/name", "value": "a"},
                {"op": "test", "path": "/webhooks/0/clientConfig/caBundle", "value": "b2xk"},
                {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "bmV3"},
                {"op": "test", "path": "/webhooks/2/name", "value": "c"},
                {"op": "test", "path": "/webhooks/2/clientConfig/caBundle", "value": null},
                {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "bmV3"},
            ])
        );
    }
}
