//! `kubectl apply -k` of each overlay, its pods admitted, and what it is there for.

use serde_json::{Value, json};

use crate::cluster::{Cluster, until};
use crate::installation::{NAME, REGISTRATION, manifests, may_we, object, pods_of_the_deployment};

/// As much of cert-manager as its objects need to be stored.
fn cert_manager() -> String {
    let definition = |kind: &str| {
        let plural = format!("{}s", kind.to_lowercase());
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.cert-manager.io")},
            "spec": {
                "group": "cert-manager.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [definition("Issuer"), definition("Certificate")]}).to_string()
}

/// Applies a kustomization and waits for its pods.
async fn apply(cluster: &Cluster, folder: &str) -> Value {
    cluster.kubectl(&["apply", "-k", folder]).await.ok();
    pods_of_the_deployment(cluster).await[0].clone()
}

/// Removes it again, in the documented order.
async fn delete(cluster: &Cluster, folder: &str) {
    cluster.kubectl(&["delete", "mutatingwebhookconfiguration", REGISTRATION]).await.ok();
    cluster.kubectl(&["delete", "-k", folder, "--ignore-not-found"]).await.ok();
}

async fn exists(cluster: &Cluster, kind: &str, name: &str) -> bool {
    cluster.kubectl(&["-n", NAME, "get", kind, name]).await.success
}

async fn config(cluster: &Cluster) -> keyvault_mutation::config::Config {
    let map = object(cluster, "configmap", NAME).await;
    keyvault_mutation::config::Config::parse(map["data"]["config.yaml"].as_str().unwrap(), "config.yaml").unwrap()
}

/// Ports of the pod and of the configuration are the same.
async fn ports(cluster: &Cluster, pod: &Value) -> [u16; 2] {
    let config = config(cluster).await;
    let ports = [config.server.listen.port(), config.server.health_listen.port()];
    let declared = &pod["spec"]["containers"][0]["ports"];
    assert_eq!([&declared[0]["containerPort"], &declared[1]["containerPort"]], ports.map(Value::from).each_ref());
    ports
}

#[tokio::test]
async fn every_overlay_installs_and_does_what_it_is_for() {
    // One cluster, one after the other: an installation has the cluster to itself.
    let cluster = Cluster::own().await;
    aks(&cluster).await;
    openshift(&cluster).await;
    hostnetwork(&cluster).await;
    with_cert_manager(&cluster).await;
    port_10250(&cluster).await;
}

/// AKS leaves the registration as it is written.
async fn aks(cluster: &Cluster) {
    let aks = manifests("overlays/aks");
    apply(cluster, &aks).await;
    let metadata = &object(cluster, "mutatingwebhookconfiguration", REGISTRATION).await["metadata"];
    let disabled = ["labels", "annotations"].map(|place| metadata[place]["admissions.enforcer/disabled"].as_str().unwrap());
    assert_eq!(disabled, ["true", "true"]);
    delete(cluster, &aks).await;
}

/// A pod without a UID, pinned to its SCC; DNS on OpenShift's port.
async fn openshift(cluster: &Cluster) {
    let openshift = manifests("overlays/openshift");
    let pod = apply(cluster, &openshift).await;
    assert_eq!(pod["metadata"]["annotations"]["openshift.io/required-scc"], "restricted-v2");
    for context in [&pod["spec"]["securityContext"], &pod["spec"]["containers"][0]["securityContext"]] {
        assert_eq!((context.get("runAsUser"), context.get("fsGroup")), (None, None), "restricted-v2 gives these");
    }
    let egress = &object(cluster, "networkpolicy", NAME).await["spec"]["egress"];
    assert!(egress.to_string().contains("5353"), "{egress}");
    delete(cluster, &openshift).await;
}

/// Ports of the node, one pod at a time.
async fn hostnetwork(cluster: &Cluster) {
    let hostnetwork = manifests("overlays/hostnetwork");
    let pod = apply(cluster, &hostnetwork).await;
    assert_eq!(pod["spec"]["hostNetwork"], true);
    let [webhook, health] = ports(cluster, &pod).await;
    assert!([webhook, health].into_iter().all(|port| (10_251..30_000).contains(&port)), "free on nodes");
    let deployment = object(cluster, "deployment", NAME).await;
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 0, "maxUnavailable": 1}));
    // Host ports keep these pods apart. An anti-affinity would keep those of the base away as well, which takes none away before it has added one.
    assert_eq!(pod["spec"]["affinity"], Value::Null);
    assert!(!exists(cluster, "networkpolicy", NAME).await);
    delete(cluster, &hostnetwork).await;
}

/// Files from cert-manager's Secret, and no right to any Secret.
async fn with_cert_manager(cluster: &Cluster) {
    cluster.kubectl_with(&["apply", "-f", "-"], &cert_manager()).await.ok();
    let kinds = async || cluster.kubectl(&["get", "issuers,certificates", "-A"]).await.success.then_some(());
    until("cert-manager's kinds", kinds).await;
    let overlay = manifests("overlays/cert-manager");
    let pod = apply(cluster, &overlay).await;
    let registration = object(cluster, "mutatingwebhookconfiguration", REGISTRATION).await;
    let source = registration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"].as_str().unwrap();
    let certificate = object(cluster, "certificate", source.strip_prefix("keyvault-injector/").unwrap()).await;
    assert_eq!(certificate["spec"]["dnsNames"], json!(["keyvault-injector.keyvault-injector.svc"]));
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == certificate["spec"]["secretName"]), "{volumes:?}");
    let expected = keyvault_mutation::config::TlsSource::Files { cert_file: "/certs/tls.crt".into(), key_file: "/certs/tls.key".into() };
    assert_eq!(config(cluster).await.server.tls, expected);
    for (verb, group, resource, name) in [
        ("get", "", "secrets", "keyvault-injector-tls"),
        ("create", "", "secrets", ""),
        ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", REGISTRATION),
    ] {
        assert!(!may_we(cluster, (verb, group, resource, NAME, name)).await, "{verb} {resource} is cert-manager's");
    }
    assert!(may_we(cluster, ("get", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", REGISTRATION)).await);
    delete(cluster, &overlay).await;
}

/// The component, over the base.
async fn port_10250(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    // kustomize takes relative paths only.
    let up = "../".repeat(folder.path().components().count() - 1);
    let kustomization = json!({"resources": [format!("{up}{}", &manifests("base")[1..])], "components": [format!("{up}{}", &manifests("components/port-10250")[1..])]});
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string()).unwrap();
    let pod = apply(cluster, &folder.path().display().to_string()).await;
    assert_eq!(ports(cluster, &pod).await[0], 10250);
}

#[tokio::test]
async fn the_sample_policy_for_workloads_is_accepted() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("egress", &[]).await;
    cluster.kubectl(&["-n", &namespace, "apply", "--validate=strict", "-f", &manifests("samples/workload-egress.yaml")]).await.ok();
}
