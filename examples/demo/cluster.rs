//! What the ReplicaSet controller and the API server do: a pod from a Deployment, a review, the patch applied.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::servers::Webhook;
use crate::{Result, SOURCES};

/// What comes of the creation of a pod.
pub(crate) enum Admission {
    Admitted {
        /// As it would be stored.
        pod: Box<Value>,
        /// Whether the webhook changed it.
        changed: bool,
        warnings: Vec<String>,
    },
    Denied {
        message: String,
    },
}

/// A Deployment of `examples/demo`.
pub(crate) fn deployment(file: &str) -> Result<Value> {
    let path = format!("{SOURCES}/examples/demo/{file}");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}").into())
}

/// The pod that the ReplicaSet controller creates.
pub(crate) fn pod_of(deployment: &Value) -> Result<Value> {
    let name = deployment["metadata"]["name"].as_str().ok_or("the Deployment has no name")?;
    let template = &deployment["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["generateName"] = json!(format!("{name}-5d8f7c9b6-"));
    metadata["namespace"] = deployment["metadata"]["namespace"].clone();
    let owner = format!("{name}-5d8f7c9b6");
    metadata["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "b1f6b1d6-0000-4000-8000-000000000001", "controller": true}]);
    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}))
}

impl Webhook {
    /// Creates a pod as the API server does: asks, and applies the answer's patch.
    pub(crate) async fn create(&self, pod: &Value) -> Result<Admission> {
        let request = self.http.post(&self.https).header("content-type", "application/json").body(review(pod).to_string());
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let response = &answer["response"];
        if response["uid"] != UID {
            return Err(format!("the answer is to another review: {answer}").into());
        }
        if response["allowed"] != true {
            let message = response["status"]["message"].as_str().ok_or("a denial without a message")?;
            return Ok(Admission::Denied { message: message.to_owned() });
        }
        let mut pod = pod.clone();
        let patch = response["patch"].as_str();
        if let Some(patch) = patch {
            let patch: json_patch::Patch = serde_json::from_slice(&BASE64_STANDARD.decode(patch)?)?;
            json_patch::patch(&mut pod, &patch)?;
        }
        let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Admission::Admitted { pod: Box::new(pod), changed: patch.is_some(), warnings })
    }
}

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

fn review(pod: &Value) -> Value {
    let (kind, resource) = (json!({"group": "", "version": "v1", "kind": "Pod"}), json!({"group": "", "version": "v1", "resource": "pods"}));
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "namespace": pod["metadata"]["namespace"], "operation": "CREATE", "dryRun": false,
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["system:authenticated"]},
            "object": pod, "oldObject": null, "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        }
    })
}
