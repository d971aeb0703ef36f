//! The product, installed by the README's commands.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Node, PRODUCT_IMAGE, TENANT, pod, shell, until};
use crate::cluster::Output;

pub(crate) const PRODUCT: &str = "keyvault-injector";

impl Node {
    /// Two replicas, certificates of their own; and the emulator's CA in the configuration, as docs/configuration.md says.
    pub(crate) async fn install(&self) {
        until("ready node", async || {
            let ready = self.cluster.kubectl(&["get", "node", super::NODE, "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"]).await;
            (ready.stdout == "True").then_some(())
        })
        .await;
        self.apply_manifests(&[]).await;
        self.rolled_out().await;
        self.configured("", "", "image").await;
    }

    /// Gives the replicas their configuration, and waits until pods get what it says: the agent's program by a volume of this kind. On a busy machine a replica that
    /// stops may still be asked when the rollout is over.
    pub(crate) async fn configured(&self, agent: &str, features: &str, program: &str) {
        self.configure(agent, features).await;
        self.rolled_out().await;
        let namespace = self.namespace().await;
        let probe = pod("probe", &[("env", "PASSWORD=db-password")], json!({"containers": [shell("app", "true")]}));
        let by_the_new = async || {
            let made = namespace.dry_run(&probe).await;
            let made: Value = serde_json::from_str(&made.stdout).ok()?;
            let volumes = made["spec"]["volumes"].as_array()?;
            let by = volumes.iter().any(|volume| volume["name"] == "keyvault-program" && volume[program].is_object());
            (by && made["spec"]["initContainers"][0].to_string().contains("BEGIN CERTIFICATE")).then_some(())
        };
        until("pods by the new configuration", async || {
            for _ in 0..3 {
                by_the_new().await?;
            }
            Some(())
        })
        .await;
    }

    /// `keyvault-injector manifests … | kubectl apply -f -`.
    pub(crate) async fn apply_manifests(&self, more: &[&str]) {
        let mut command = Command::new(keyvault_tests::program("keyvault-injector"));
        command.args(["manifests", "--image", PRODUCT_IMAGE, "--tenant-id", TENANT]).args(more);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.cluster.kubectl_with(&["apply", "-f", "-"], std::str::from_utf8(&output.stdout).unwrap()).await.ok();
    }

    /// Gives the replicas their configuration, with more of `agent` and more of `features`, and restarts them. Features are `auto` otherwise.
    async fn configure(&self, agent: &str, features: &str) {
        let agent = format!("{{image: {PRODUCT_IMAGE}, extraCaFile: /etc/keyvault-injector/ca.pem, {agent}}}");
        let config = format!("agent: {agent}\ndefaults: {{tenantId: {TENANT}}}\nserver: {{tls: selfManaged}}\nfeatures: {{{features}}}\n");
        let patch = json!({"data": {"config.yaml": config, "ca.pem": self.emulator.ca_pem}}).to_string();
        self.product(&["patch", "configmap", PRODUCT, "--patch", &patch]).await.ok();
        self.product(&["rollout", "restart", "deployment", PRODUCT]).await.ok();
    }

    /// Both replicas are of the last generation and ready.
    pub(crate) async fn rolled_out(&self) {
        let rolled = self.product(&["rollout", "status", "deployment", PRODUCT, "--timeout=180s"]).await;
        if !rolled.success {
            let seen = self.product(&["describe", "pods"]).await.stdout;
            let log = self.product(&["logs", "deployment/keyvault-injector", "--tail=30"]).await;
            panic!("{rolled:?}\n{seen}\n{log:?}");
        }
    }

    /// The replicas that serve: not those that stop.
    pub(crate) async fn replicas(&self) -> Vec<Value> {
        self.replicas_that(|replica| replica["metadata"]["deletionTimestamp"].is_null()).await
    }

    pub(crate) async fn replicas_that(&self, hold: impl Fn(&Value) -> bool) -> Vec<Value> {
        let pods = self.product(&["get", "pods", "-l", "app.kubernetes.io/name=keyvault-injector", "-o", "json"]).await.ok();
        let Value::Array(pods) = serde_json::from_str::<Value>(&pods).unwrap()["items"].take() else { panic!("{pods}") };
        pods.into_iter().filter(hold).collect()
    }

    /// What a replica counts.
    pub(crate) async fn metrics(&self, replica: &Value) -> String {
        let name = replica["metadata"]["name"].as_str().unwrap();
        self.product(&["get", "--raw", &format!("/api/v1/namespaces/{PRODUCT}/pods/{name}:8080/proxy/metrics")]).await.ok()
    }

    /// kubectl in the product's namespace.
    pub(crate) async fn product(&self, arguments: &[&str]) -> Output {
        self.cluster.kubectl(&[&["-n", PRODUCT], arguments].concat()).await
    }
}
