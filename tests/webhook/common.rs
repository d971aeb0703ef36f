//! What the tests share: reviews, certificates, a core that does as it is told.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use keyvault_injector::webhook::{Decide, Defaults, FixedDefaults, Limits, Metrics, PodDefaults, Reviewer, router};
use keyvault_mutation::inject::{Denial, Injection, Outcome};
use keyvault_mutation::pod::PodView;
use serde_json::{Value, json};

/// A review of the creation of `pod` in namespace `payments`.
pub(crate) fn review_of(pod: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "payments", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["system:authenticated"]},
            "object": pod, "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        }
    })
}

/// A pod that a ReplicaSet makes, with texts that must not leave the webhook.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "web-7d9f-", "namespace": "payments", "annotations": {"keyvault-injector.io/inject": "false", "team": "canary-annotation"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9f", "uid": "1", "controller": true}],
        },
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "app", "image": "app:1", "env": [{"name": "LITERAL", "value": "canary-environment"}]}],
        },
    })
}

/// The usual review.
pub(crate) fn review() -> Value {
    review_of(&pod())
}

/// An answer with its patch decoded.
pub(crate) struct Answer(pub(crate) Value);

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Answer {
        let review: Value = serde_json::from_slice(bytes).expect("an answer is JSON");
        assert_eq!((review["apiVersion"].as_str(), review["kind"].as_str()), (Some("admission.k8s.io/v1"), Some("AdmissionReview")));
        Answer(review["response"].clone())
    }

    pub(crate) fn patch(&self) -> Value {
        let bytes = base64::engine::general_purpose::STANDARD.decode(self.0["patch"].as_str().expect("a patch")).expect("base64");
        serde_json::from_slice(&bytes).expect("a patch is JSON")
    }
}

/// What a core says that has nothing to say.
pub(crate) fn nothing() -> Injection {
    Injection {
        patch: json_patch::Patch(Vec::new()),
        outcome: Outcome::NotAsked,
        warnings: Vec::new(),
        audit: Vec::new(),
        namespace_problems: Vec::new(),
        policy_findings: 0,
        replaced: false,
    }
}

/// A core that does as it is told.
pub(crate) fn core(decide: impl for<'a> Fn(&PodView<'a>, &PodDefaults) -> Result<Injection, Denial> + Send + Sync + 'static) -> Box<Decide> {
    Box::new(decide)
}

/// A router over a core, without a cluster.
pub(crate) fn app(decide: Box<Decide>) -> axum::Router {
    app_with(decide, Arc::new(FixedDefaults::default()), Arc::default(), Limits::default())
}

/// A router over everything that a test may choose.
pub(crate) fn app_with(decide: Box<Decide>, defaults: Arc<dyn Defaults>, metrics: Arc<Metrics>, limits: Limits) -> axum::Router {
    router(Reviewer::deciding(decide, defaults, metrics), limits)
}

/// A CA and what it signed, as PEM.
pub(crate) struct Signed {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate for `localhost` and 127.0.0.1, signed by a CA of its own.
pub(crate) fn signed() -> Signed {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    leaf.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let certificate = leaf.signed_by(&key, &issuer).unwrap().pem();
    Signed { ca, certificate, key: key.serialize_pem() }
}

impl Signed {
    /// Writes `tls.crt` and `tls.key`.
    pub(crate) fn write(&self, folder: &Path) {
        write(&folder.join("tls.crt"), &self.certificate);
        write(&folder.join("tls.key"), &self.key);
    }
}

/// Writes a file of a test.
#[allow(clippy::disallowed_methods, reason = "files of tests hold no secrets")]
pub(crate) fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}
