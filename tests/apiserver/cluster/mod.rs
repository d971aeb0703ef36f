//! A Kubernetes control plane for tests: started on free loopback ports, its data in memory where there is a memory disk, gone when the test
//! program ends, however it ends. No kubelet: pods are created and stay pending.
#![allow(dead_code)] // each test program uses its own part

mod credentials;
mod injector;
mod process;
mod programs;
mod wait;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

#[allow(unused_imports)] // each test program uses its own part
pub(crate) use injector::{Injector, Loopback, OPTED_IN, Setup, registration};
#[allow(unused_imports)] // each test program uses its own part
pub(crate) use process::{Folder, Server, first_to_live, free_port, run};
use programs::Programs;
#[allow(unused_imports)] // each test program uses its own part
pub(crate) use programs::{UNTIL_STDIN_CLOSES, build};
pub(crate) use wait::until;
#[allow(unused_imports)] // each test program uses its own part
pub(crate) use wait::within;

/// What the controllers do here: all that makes pods of Deployments, StatefulSets and Jobs, and what pods need to be admitted.
const CONTROLLERS: &str = "serviceaccount-controller,namespace-controller,replicaset-controller,deployment-controller,statefulset-controller,\
    job-controller,resourcequota-controller,root-ca-certificate-publisher-controller";

/// Everything about a pod's creation is recorded, patches of webhooks and audit annotations included; of the rest nothing.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}]},
    {"level": "None"}]}"#;

/// What differs between the control planes of test programs.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) controllers: &'static str,
    /// The addresses of Services.
    pub(crate) services: &'static str,
    /// Lines of `TOKEN,USER,UID,GROUPS` beside the administrator's.
    pub(crate) tokens: &'static str,
    /// More flags of the API server, or others in place of ours.
    pub(crate) api_server: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { controllers: CONTROLLERS, services: "10.0.0.0/24", tokens: "", api_server: &[] }
    }
}

/// A running control plane.
pub(crate) struct Cluster {
    programs: Programs,
    settings: Settings,
    /// `None` while a test has stopped it.
    api_server: Mutex<Option<Server>>,
    port: u16,
    etcd_port: u16,
    names: AtomicU32,
    _etcd: Server,
    _controllers: Server,
    // Last: what runs in it ends first.
    folder: Folder,
}

impl Cluster {
    /// The one of this test program. Each test takes its own namespaces, and its own names for what has none.
    pub(crate) async fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        blocking(|| SHARED.get_or_init(|| Cluster::with(Settings::default()))).await
    }

    /// One of the test's own, for what would disturb others: to install the product as a whole, to stop the API server.
    pub(crate) async fn own() -> Cluster {
        blocking(|| Cluster::with(Settings::default())).await
    }

    /// Blocks until it serves. Its programs have the namespaces of the thread that starts them.
    pub(crate) fn with(settings: Settings) -> Cluster {
        let programs = Programs::find().unwrap_or_else(|missing| panic!("{missing}"));
        let folder = Folder::new();
        // A free port may be taken by someone else before the server has it.
        let (etcd, etcd_port) = process::first_to_live(3, || start_etcd(&programs, &folder));
        let (api_server, port) = process::first_to_live(3, || {
            let port = free_port();
            credentials::write(&folder, port, settings.tokens);
            (start_api_server(&programs, &settings, &folder, port, etcd_port), port)
        });
        let controllers = start_controllers(&programs, &settings, &folder);
        Cluster {
            programs,
            settings,
            api_server: Mutex::new(Some(api_server)),
            port,
            etcd_port,
            names: AtomicU32::new(0),
            _etcd: etcd,
            _controllers: controllers,
            folder,
        }
    }

    /// Where all of its files are. It goes with the cluster.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where the API server listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where the API server listens, as kubeconfigs have it.
    pub(crate) fn url(&self) -> String {
        credentials::url(self.port)
    }

    /// A kubeconfig of the cluster's administrator. Its context's namespace is `default`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join(credentials::KUBECONFIG)
    }

    /// The cluster's administrator. A client belongs to the runtime that made it, and each test has its own.
    pub(crate) async fn client(&self) -> Client {
        self.client_of(Kubeconfig::read_from(self.kubeconfig()).unwrap()).await
    }

    /// Whoever the kubeconfig says.
    pub(crate) async fn client_of(&self, kubeconfig: Kubeconfig) -> Client {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// A kubeconfig whose context has another namespace, and whose user is the administrator or, with a token, its bearer.
    pub(crate) fn kubeconfig_for(&self, folder: &Path, namespace: &str, token: Option<&str>) -> PathBuf {
        let file = folder.join(credentials::KUBECONFIG);
        std::fs::write(&file, credentials::kubeconfig(&self.folder, self.port, namespace, token)).unwrap();
        file
    }

    /// A fresh namespace with the given labels, ready for pods: its default ServiceAccount is there.
    pub(crate) async fn namespace(&self, prefix: &str, labels: &[(&str, &str)]) -> String {
        let name = self.name(prefix);
        let client = self.client().await;
        let labels = Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        let namespace = Namespace { metadata: ObjectMeta { name: Some(name.clone()), labels, ..ObjectMeta::default() }, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &name);
        until("the default ServiceAccount", async || accounts.get_opt("default").await.unwrap()).await;
        name
    }

    /// A name that no other test of this run uses, for what has no namespace.
    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs kubectl as the cluster's administrator.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "").await
    }

    /// The same, with something to read: `["apply", "-f", "-"]`.
    pub(crate) async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.programs.program("kubectl");
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder.path());
        let input = input.to_owned();
        blocking(move || process::run(command, &input)).await
    }

    /// What signs the certificate that the API server presents to webhooks.
    pub(crate) fn client_ca(&self) -> PathBuf {
        self.folder.path().join(credentials::CLIENT_CA)
    }

    /// The audit log: one JSON event a line, of creations of pods only.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// Takes the API server away; etcd and the controllers stay.
    pub(crate) fn stop_api_server(&self) {
        self.api_server.lock().unwrap().take().expect("a running API server");
    }

    /// Brings it back, on the same port and with the same data.
    pub(crate) fn start_api_server(&self) {
        let server = start_api_server(&self.programs, &self.settings, &self.folder, self.port, self.etcd_port).expect("the API server comes back");
        *self.api_server.lock().unwrap() = Some(server);
    }
}

/// Off the runtime's thread. A failure is told once, in its own words.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

/// What a program said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// What was printed by a program that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.success, "{self:?}");
        self.stdout
    }
}

fn start_etcd(programs: &Programs, folder: &Folder) -> (Result<Server, String>, u16) {
    let (port, peers) = (free_port(), free_port());
    let mut command = programs.server("etcd");
    command.arg(format!("--data-dir={}", folder.path().join("etcd").display()));
    command.arg(format!("--listen-client-urls=http://127.0.0.1:{port}")).arg(format!("--advertise-client-urls=http://127.0.0.1:{port}"));
    command.arg(format!("--listen-peer-urls=http://127.0.0.1:{peers}")).arg("--unsafe-no-fsync");
    (Server::start("etcd", command, folder, &format!("http://127.0.0.1:{port}/readyz")), port)
}

fn start_api_server(programs: &Programs, settings: &Settings, folder: &Folder, port: u16, etcd_port: u16) -> Result<Server, String> {
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("audit-policy.json"), AUDIT_POLICY).unwrap();
    let flags = [
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--service-cluster-ip-range={}", settings.services),
        "--authorization-mode=RBAC".to_owned(),
        "--enable-admission-plugins=PodSecurity,ResourceQuota,ServiceAccount".to_owned(),
        format!("--admission-control-config-file={}", file(credentials::ADMISSION)),
        format!("--cert-dir={}", file("apiserver")),
        format!("--tls-cert-file={}", file(credentials::CERTIFICATE)),
        format!("--tls-private-key-file={}", file(credentials::KEY)),
        format!("--token-auth-file={}", file(credentials::TOKENS)),
        format!("--service-account-issuer={}", credentials::url(port)),
        format!("--service-account-key-file={}", credentials::SERVICE_ACCOUNT_KEY),
        format!("--service-account-signing-key-file={}", credentials::SERVICE_ACCOUNT_KEY),
        format!("--audit-policy-file={}", file("audit-policy.json")),
        format!("--audit-log-path={}", file("audit.log")),
    ];
    let name = |flag: &str| flag.split('=').next().map(str::to_owned);
    let ours = flags.iter().filter(|flag| !settings.api_server.iter().any(|other| name(other) == name(flag)));
    let mut command = programs.server("kube-apiserver");
    command.args(ours).args(settings.api_server);
    Server::start("kube-apiserver", command, folder, &format!("{}/readyz", credentials::url(port)))
}

fn start_controllers(programs: &Programs, settings: &Settings, folder: &Folder) -> Server {
    let kubeconfig = folder.path().join(credentials::KUBECONFIG);
    let ca = folder.path().join(credentials::CA);
    let (server, _) = process::first_to_live(3, || {
        let port = free_port();
        let mut command = programs.server("kube-controller-manager");
        command.arg(format!("--kubeconfig={}", kubeconfig.display())).arg(format!("--controllers={}", settings.controllers));
        command.arg(format!("--root-ca-file={}", ca.display())).args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        command.arg(format!("--secure-port={port}")).arg(format!("--cert-dir={}", folder.path().join("controllers").display()));
        (Server::start("kube-controller-manager", command, folder, &format!("https://127.0.0.1:{port}/healthz")), port)
    });
    server
}

/// How long anything here may take: generous, for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
