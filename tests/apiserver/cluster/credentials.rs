//! Who may do what here: a CA of the cluster's own, an administrator with a token, and the key that signs ServiceAccount tokens.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::process::Folder;

pub(super) const CA: &str = "ca.crt";
pub(super) const CERTIFICATE: &str = "apiserver.crt";
pub(super) const KEY: &str = "apiserver.key";
/// What signs the certificate that the API server presents to webhooks.
pub(super) const CLIENT_CA: &str = "webhook-client-ca.crt";
/// How the API server learns of that certificate.
pub(super) const ADMISSION: &str = "admission.yaml";
pub(super) const TOKENS: &str = "tokens.csv";
pub(super) const KUBECONFIG: &str = "kubeconfig";
/// RSA: Entra takes no other from an issuer.
pub(super) const SERVICE_ACCOUNT_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sa.key.pem");

const ADMINISTRATOR: &str = "administrator-of-a-test";

pub(super) fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// What the API server is called: from outside, by kubeconfigs, and from pods where there are any.
const CALLED: [&str; 6] = ["127.0.0.1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// Writes everything that the API server and its callers read.
pub(super) fn write(folder: &Folder, port: u16, tokens: &str) {
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    put(CA, &ca.self_signed(&ca_key).unwrap().pem());
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(CALLED.map(str::to_owned)).unwrap();
    put(CERTIFICATE, &leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap().pem());
    put(KEY, &key.serialize_pem());
    write_client(folder);
    put(TOKENS, &format!("{ADMINISTRATOR},administrator,1,system:masters\n{tokens}"));
    put(KUBECONFIG, &kubeconfig(folder, port, "default", None));
}

/// Makes the API server present a certificate to every webhook that asks for one.
fn write_client(folder: &Folder) {
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "webhook clients");
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    put(CLIENT_CA, &ca.self_signed(&ca_key).unwrap().pem());
    let mut leaf = CertificateParams::new(vec!["kube-apiserver".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    put("webhook-client.crt", &leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap().pem());
    put("webhook-client.key", &key.serialize_pem());
    let user = serde_json::json!({"client-certificate": path("webhook-client.crt"), "client-key": path("webhook-client.key")});
    let kubeconfig = serde_json::json!({"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]});
    put("webhook-client.yaml", &kubeconfig.to_string());
    let webhooks = |plugin: &str| {
        serde_json::json!({"name": plugin, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": path("webhook-client.yaml"),
        }})
    };
    let plugins = [webhooks("MutatingAdmissionWebhook")];
    let admission = serde_json::json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins});
    put(ADMISSION, &admission.to_string());
}

/// JSON is YAML.
pub(super) fn kubeconfig(folder: &Folder, port: u16, namespace: &str, token: Option<&str>) -> String {
    let ca: &Path = &folder.path().join(CA);
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url(port), "certificate-authority": ca}}],
        "users": [{"name": "test", "user": {"token": token.unwrap_or(ADMINISTRATOR)}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
    })
    .to_string()
}
