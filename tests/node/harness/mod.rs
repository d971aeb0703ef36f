//! One node for a run: etcd, API server, controllers, scheduler, containerd, kubelet; a name server and the emulator where pods find the vaults; the product, installed.
#![allow(dead_code, unused_imports)] // each test program uses its own part

mod images;
mod installation;
mod namespace;
mod pods;
pub(crate) mod processes;
mod runtime;
mod services;
mod space;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cluster::{Cluster, Server, Settings, build};
pub(crate) use installation::PRODUCT;
pub(crate) use namespace::{Namespace, condition, until};
pub(crate) use pods::{STAY, annotations, pod, shell, shell_with, spec};
pub(crate) use services::{CLIENT, Emulator, TENANT};
pub(crate) use space::Space;

pub(crate) const NODE: &str = "node";
const NODE_TOKEN: &str = "node-of-a-test";
const PAUSE_IMAGE: &str = "node.example/pause:1";
/// busybox with its applets, without an entry point.
pub(crate) const SHELL_IMAGE: &str = "node.example/shell:1";
/// Starts by itself, as user 1000.
pub(crate) const APP_IMAGE: &str = "node.example/app:1";
pub(crate) const PRODUCT_IMAGE: &str = "registry.example/keyvault-injector:0.1.0";

/// A cluster as people have it: every controller, the node's own rights, webhooks reached at their pods' addresses. The node's pods may be privileged.
const SETTINGS: Settings = Settings {
    controllers: "*",
    services: "10.96.0.0/16",
    tokens: "node-of-a-test,system:node:node,2,system:nodes\n",
    api_server: &[
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,PodSecurity,ResourceQuota,ServiceAccount",
        "--allow-privileged=true",
        "--enable-aggregator-routing=true",
        "--kubelet-preferred-address-types=InternalIP",
    ],
};

/// Where the programs of a node are, and where they run.
struct Places {
    space: Space,
    /// Kubernetes' programs in one.
    kubernetes: PathBuf,
    /// containerd's programs.
    programs: PathBuf,
    /// Debian's packages, unpacked.
    debian: PathBuf,
}

pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) emulator: Emulator,
    names: std::sync::atomic::AtomicUsize,
    kubelet: Mutex<Option<Server>>,
    containerd: Mutex<Option<Server>>,
    _scheduler: Server,
    places: Places,
}

/// The node, and the leave to use it beside others or alone.
pub(crate) struct Hold<G> {
    node: &'static Node,
    _guard: G,
}

impl<G> std::ops::Deref for Hold<G> {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.node
    }
}

static USERS: RwLock<()> = RwLock::const_new(());

impl Node {
    /// For a test that disturbs no other: it has namespaces of its own.
    pub(crate) async fn shared() -> Hold<RwLockReadGuard<'static, ()>> {
        let node = Node::entered();
        Hold { node, _guard: USERS.read().await }
    }

    /// For a test that takes away what all use: the webhook, the vaults, the kubelet.
    pub(crate) async fn alone() -> Hold<RwLockWriteGuard<'static, ()>> {
        let node = Node::entered();
        Hold { node, _guard: USERS.write().await }
    }

    /// The test's thread enters the node's network before anything of it is used: whatever the thread starts from then on is in there, too.
    fn entered() -> &'static Node {
        static NODE: OnceLock<Option<Node>> = OnceLock::new();
        // What does not start once will not start for the next test.
        let node = NODE.get_or_init(|| std::thread::spawn(Node::start).join().ok());
        let node = node.as_ref().expect("a node that has started: its own failure is above or in another test");
        node.places.space.enter();
        node
    }

    fn start() -> Node {
        let root = Command::new("id").arg("-u").output().unwrap().stdout;
        assert_eq!(root, b"0\n", "a node needs root: run the tests as root, or without the feature node-tests");
        let prepared = prepared();
        let debian = prepared.join("root");
        let busybox = debian.join("bin/busybox");
        let kubernetes = build().unwrap_or_else(|missing| panic!("{missing}"));
        let places = Places { space: Space::start(&busybox), kubernetes, programs: prepared.join("bin"), debian };
        places.space.enter();
        let cluster = Cluster::with(SETTINGS);
        runtime::configure(&places, &cluster);
        let containerd = runtime::start_containerd(&places, &cluster);
        let folder = cluster.folder().path().join("images");
        std::fs::create_dir(&folder).unwrap();
        for image in images::all(&folder, &busybox, &programs()) {
            runtime::load(&places, &image, &folder.join("image.tar"));
        }
        let kubelet = runtime::start_kubelet(&places, &cluster);
        let scheduler = runtime::start_scheduler(&places, &cluster);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let emulator = runtime.block_on(services::start(&cluster));
        let node = Node {
            cluster,
            emulator,
            names: Default::default(),
            kubelet: Mutex::new(Some(kubelet)),
            containerd: Mutex::new(Some(containerd)),
            _scheduler: scheduler,
            places,
        };
        runtime.block_on(node.install());
        node
    }

    /// Kills the kubelet, and starts it again.
    pub(crate) fn restart_kubelet(&self) {
        let mut kubelet = self.kubelet.lock().unwrap();
        drop(kubelet.take());
        *kubelet = Some(runtime::start_kubelet(&self.places, &self.cluster));
    }

    /// Kills containerd, and starts it again.
    pub(crate) fn restart_containerd(&self) {
        let mut containerd = self.containerd.lock().unwrap();
        drop(containerd.take());
        *containerd = Some(runtime::start_containerd(&self.places, &self.cluster));
    }
}

/// What `tests/node/prepare` has made.
fn prepared() -> PathBuf {
    let prepare = concat!(env!("CARGO_MANIFEST_DIR"), "/node/prepare");
    let output = Command::new(prepare).stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{prepare} has failed");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A folder with the two static programs of the image: `NODE_TESTS_PROGRAMS`, or one that is made of what the commands of docs/install.md have built.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("NODE_TESTS_PROGRAMS") {
        return folder.into();
    }
    let this = std::env::current_exe().unwrap();
    let target = this.ancestors().nth(3).unwrap();
    let folder = target.join("tmp/node-programs");
    std::fs::create_dir_all(&folder).unwrap();
    for (profile, name) in [("agent", "keyvault-agent"), ("release", "keyvault-injector")] {
        let built = newest(target, &format!("{profile}/{name}"));
        let built = built.unwrap_or_else(|| panic!("there is no static {name} below {}: build it as docs/install.md says", target.display()));
        std::fs::copy(built, folder.join(name)).unwrap();
    }
    folder
}

/// `target/TRIPLE/FILE`, the newest if there are several.
fn newest(target: &Path, file: &str) -> Option<PathBuf> {
    let paths = std::fs::read_dir(target).unwrap().map(|entry| entry.unwrap().path().join(file));
    paths.filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path))).max().map(|(_, path)| path)
}
