//! containerd and the kubelet.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::images::Image;
use super::{NODE, NODE_TOKEN, PAUSE_IMAGE, Places};
use crate::cluster::{Cluster, Server, UNTIL_STDIN_CLOSES, first_to_live, free_port};

const SOCKET: &str = "/run/node/containerd.sock";
/// Where the programs in the node's namespaces keep what is theirs. Nobody outside sees it.
const DATA: &str = "/run/node";

/// Writes what both read.
pub(super) fn configure(places: &Places, cluster: &Cluster) {
    let put = |name: &str, text: String| fs::write(cluster.folder().path().join(name), text).unwrap();
    fs::create_dir(cluster.folder().path().join("cni")).unwrap();
    let address = json!({
        "type": "host-local", "dataDir": format!("{DATA}/addresses"), "routes": [{"dst": "10.96.0.0/16", "gw": "10.244.0.1"}],
        "ranges": [[{"subnet": "10.244.0.0/16", "rangeStart": "10.244.0.10", "gateway": "10.244.0.1"}]],
    });
    let bridge = json!({"type": "bridge", "bridge": "pods", "isGateway": false, "ipMasq": false, "hairpinMode": true, "ipam": address});
    put("cni/pods.conflist", json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}).to_string());
    put("containerd.toml", containerd(places, &cluster.folder().path().join("cni")));
    put("kubelet.yaml", kubelet(places).to_string());
    let folder = cluster.folder().path().join("kubelet");
    fs::create_dir(&folder).unwrap();
    cluster.kubeconfig_for(&folder, "default", Some(NODE_TOKEN));
}

fn containerd(places: &Places, cni: &Path) -> String {
    format!(
        r#"version = 3
root = "{DATA}/containerd"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
enable_cdi = false
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "{}"
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{}"]
conf_dir = "{}"
"#,
        places.debian.join("usr/sbin/runc").display(),
        places.debian.join("usr/lib/cni").display(),
        cni.display(),
    )
}

fn kubelet(places: &Places) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "0.0.0.0", "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1",
        // Nobody but the API server and this node's pods can reach it.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}}, "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"), "cgroupDriver": "cgroupfs", "cgroupRoot": places.space.cgroup(),
        "failCgroupV1": false, "failSwapOn": false, "enforceNodeAllocatable": [], "oomScoreAdj": 0,
        "resolvConf": "", "clusterDomain": "cluster.local", "clusterDNS": ["10.96.0.10"],
        "podLogsDir": format!("{DATA}/logs"), "volumePluginDir": format!("{DATA}/plugins"), "maxPods": 250,
        "nodeStatusUpdateFrequency": "10s", "syncFrequency": "10s", "imageGCHighThresholdPercent": 100, "shutdownGracePeriod": "0s",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "serializeImagePulls": false,
    })
}

pub(super) fn start_containerd(places: &Places, cluster: &Cluster) -> Server {
    let mut command = places.space.command("env");
    let libraries = places.debian.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    command.arg(format!("PATH={}:{}", places.programs.display(), std::env::var("PATH").unwrap_or_default()));
    command.arg(format!("LD_LIBRARY_PATH={}", libraries.display()));
    command.args(["sh", "-c", UNTIL_STDIN_CLOSES, "sh"]).arg(places.programs.join("containerd"));
    command.arg("--config").arg(cluster.folder().path().join("containerd.toml"));
    let ready = || ctr(places).arg("version").output().unwrap().status.success();
    Server::start_until("containerd", command, cluster.folder(), ready).unwrap_or_else(|error| panic!("{error}"))
}

/// containerd's own client, in the namespace of what Kubernetes runs.
fn ctr(places: &Places) -> Command {
    let mut command = places.space.command(places.programs.join("ctr"));
    command.args(["--address", SOCKET, "--namespace", "k8s.io"]);
    command
}

pub(super) fn load(places: &Places, image: &Image, archive: &Path) {
    image.write(archive);
    let output = ctr(places).args(["images", "import"]).arg(archive).output().unwrap();
    assert!(output.status.success(), "{}: {}", image.name, String::from_utf8_lossy(&output.stderr));
    fs::remove_file(archive).unwrap();
}

pub(super) fn start_kubelet(places: &Places, cluster: &Cluster) -> Server {
    let file = |name: &str| cluster.folder().path().join(name).display().to_string();
    let mut command = places.space.command(&places.kubernetes);
    command.arg("kubelet").args([
        format!("--config={}", file("kubelet.yaml")),
        format!("--kubeconfig={}", file("kubelet/kubeconfig")),
        format!("--root-dir={DATA}/kubelet"),
        format!("--cert-dir={DATA}/certificates"),
        format!("--hostname-override={NODE}"),
        "--node-ip=10.244.0.1".to_owned(),
    ]);
    Server::start("kubelet", command, cluster.folder(), "http://127.0.0.1:10248/healthz").unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn start_scheduler(places: &Places, cluster: &Cluster) -> Server {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let (server, _) = first_to_live(3, || {
        let port = free_port();
        let mut command = Command::new(&places.kubernetes);
        command.args(["scheduler", "--leader-elect=false", "--bind-address=127.0.0.1"]).arg(format!("--secure-port={port}"));
        command.arg(format!("--kubeconfig={kubeconfig}")).arg(format!("--cert-dir={}", cluster.folder().path().join("scheduler").display()));
        (Server::start("kube-scheduler", command, cluster.folder(), &format!("https://127.0.0.1:{port}/healthz")), port)
    });
    server
}
