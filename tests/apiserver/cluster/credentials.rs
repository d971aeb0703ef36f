//! Who may do what here: a CA of the cluster's own, an administrator with a token, and the key that signs ServiceAccount tokens.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::process::Folder;

pub(super) const CA: &str = "ca.crt";
pub(super) const CERTIFICATE: &str = "apiserver.crt";
pub(super) const KEY: &str = "apiserver.key";
pub(super) const TOKENS: &str = "tokens.csv";
pub(super) const KUBECONFIG: &str = "kubeconfig";
/// RSA: Entra takes no other from an issuer.
pub(super) const SERVICE_ACCOUNT_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sa.key.pem");

const ADMINISTRATOR: &str = "administrator-of-a-test";

pub(super) fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// Writes everything that the API server and its callers read.
pub(super) fn write(folder: &Folder, port: u16) {
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    put(CA, &ca.self_signed(&ca_key).unwrap().pem());
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    put(CERTIFICATE, &leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap().pem());
    put(KEY, &key.serialize_pem());
    put(TOKENS, &format!("{ADMINISTRATOR},administrator,1,system:masters\n"));
    put(KUBECONFIG, &kubeconfig(folder, port, "default", None));
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
