//! Images for containerd, packed here: of one layer, without a registry and without a builder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// What a folder of the product's image must look like says the Containerfile.
const CONTAINERFILE: &str = include_str!("../../../Containerfile");

/// The sandbox's first process reaps orphans and ends at once.
const PAUSE: &str = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";

/// An image in the making: what is in the folder, and what starts.
pub(super) struct Image {
    pub(super) name: &'static str,
    pub(super) root: PathBuf,
    pub(super) config: Value,
}

/// The images of every run. `folder` is for their files.
pub(super) fn all(folder: &Path, busybox: &Path, programs: &Path) -> Vec<Image> {
    vec![pause(folder, busybox), shell(folder, busybox), app(folder, busybox), product(folder, programs)]
}

fn pause(folder: &Path, busybox: &Path) -> Image {
    Image { name: super::PAUSE_IMAGE, root: busybox_in(&folder.join("pause"), busybox), config: json!({"Entrypoint": ["/bin/sh", "-c", PAUSE]}) }
}

fn shell(folder: &Path, busybox: &Path) -> Image {
    Image { name: super::SHELL_IMAGE, root: busybox_in(&folder.join("shell"), busybox), config: json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}) }
}

/// An image that starts by itself: a pod of it needs no command. It says what it finds, and stays.
fn app(folder: &Path, busybox: &Path) -> Image {
    let root = busybox_in(&folder.join("app"), busybox);
    let script = format!("#!/bin/sh\necho \"started PASSWORD=$PASSWORD\"\n{PAUSE}\n");
    executable(&root.join("bin/start"), script.as_bytes());
    Image { name: super::APP_IMAGE, root, config: json!({"Entrypoint": ["/bin/start"], "Env": ["PATH=/bin"], "User": "1000"}) }
}

/// From the two static programs, by the Containerfile.
fn product(folder: &Path, programs: &Path) -> Image {
    let root = folder.join("product");
    fs::create_dir(&root).unwrap();
    let mut config = json!({});
    let lines = CONTAINERFILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (instruction, rest) in lines.map(|line| line.split_once(' ').unwrap()) {
        match instruction {
            "FROM" => assert_eq!(rest, "scratch", "only this much of a Containerfile is known here"),
            "COPY" => {
                let mut words: Vec<&str> = rest.split(' ').collect();
                let to = words.pop().unwrap().trim_start_matches('/');
                words.iter().for_each(|name| executable(&root.join(to).join(name), &fs::read(programs.join(name)).unwrap()));
            }
            "USER" => config["User"] = rest.into(),
            "ENTRYPOINT" => config["Entrypoint"] = serde_json::from_str(rest).unwrap(),
            other => panic!("Containerfile: {other} is not known here"),
        }
    }
    Image { name: super::PRODUCT_IMAGE, root, config }
}

fn busybox_in(root: &Path, busybox: &Path) -> PathBuf {
    for name in ["bin", "etc", "tmp"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    executable(&root.join("bin/busybox"), &fs::read(busybox).unwrap());
    let applets = Command::new(busybox).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    root.to_owned()
}

fn executable(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Image {
    /// Writes an archive that `ctr images import` reads.
    pub(super) fn write(&self, archive: &Path) {
        let layer = tar(&self.root);
        let blobs = archive.with_extension("blobs");
        fs::create_dir_all(blobs.join("blobs/sha256")).unwrap();
        let put = |bytes: &[u8], kind: &str| {
            let digest = sha256(bytes);
            fs::write(blobs.join("blobs/sha256").join(&digest), bytes).unwrap();
            json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": bytes.len()})
        };
        let layer = put(&layer, "layer.v1.tar");
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config =
            json!({"architecture": architecture, "os": "linux", "config": self.config, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
        let config = put(config.to_string().as_bytes(), "config.v1+json");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let mut manifest = put(manifest.to_string().as_bytes(), "manifest.v1+json");
        let (_, tag) = self.name.rsplit_once(':').unwrap();
        manifest["annotations"] = json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": tag});
        fs::write(blobs.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string()).unwrap();
        fs::write(blobs.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        fs::write(archive, tar(&blobs)).unwrap();
        fs::remove_dir_all(blobs).unwrap();
    }
}

fn sha256(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything in a folder, as root's.
fn tar(folder: &Path) -> Vec<u8> {
    let output =
        Command::new("tar").args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--directory"]).arg(folder).arg(".").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
