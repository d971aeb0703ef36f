//! What a pod carries beside the plan so that its agent can sign in.

use serde_json::{Value, json};

use super::reserved::{PRINCIPAL_VOLUME, TOKEN_VOLUME};
use crate::texts::SecretName;

/// Where the token or the Secret is mounted in the agent's container: the place of the API server's token. ServiceAccount admission adds that token to
/// every container that mounts nothing there, to the character, and the API server then reviews the pod a second time.
pub(super) const DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The token's name there.
pub(super) const TOKEN_PATH: &str = "token";

/// How long a projected token lives; the kubelet renews it at 80 % of that.
const TOKEN_SECONDS: u32 = 3600;
/// All that the agent is shown of a Secret.
const PRINCIPAL_KEYS: [&str; 4] = ["client-id", "tenant-id", "client-secret", "client-certificate"];

/// One pod needs at most one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// A projected ServiceAccount token for this audience.
    Token(String),
    /// A Kubernetes Secret with a service principal.
    Secret(SecretName),
    /// Nothing: the node answers for the pod.
    Node,
}

impl Credential {
    /// The volume that only the agent mounts.
    pub(super) fn volume(&self) -> Option<Value> {
        match self {
            Credential::Token(audience) => {
                let token = json!({ "audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": TOKEN_PATH });
                Some(json!({ "name": TOKEN_VOLUME, "projected": { "sources": [{ "serviceAccountToken": token }] } }))
            }
            Credential::Secret(SecretName(name)) => {
                let items: Vec<Value> = PRINCIPAL_KEYS.iter().map(|key| json!({ "key": key, "path": key })).collect();
                // Optional, or a missing Secret would leave the pod waiting without a word.
                Some(json!({ "name": PRINCIPAL_VOLUME, "secret": { "secretName": name, "items": items, "optional": true } }))
            }
            Credential::Node => None,
        }
    }

    /// Its mount in the agent's container. Who signs in with neither mounts `spare` instead, for the API server's token is not to come in.
    pub(super) fn mount(&self, spare: &str) -> Value {
        let name = match self {
            Credential::Token(_) => TOKEN_VOLUME,
            Credential::Secret(_) => PRINCIPAL_VOLUME,
            Credential::Node => spare,
        };
        json!({ "name": name, "mountPath": DIRECTORY, "readOnly": true })
    }
}
