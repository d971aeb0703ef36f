//! The three programs, built as the demo itself was.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::{Result, SOURCES, show};

/// Where the programs are.
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    pub(crate) async fn build() -> Result<Programs> {
        let demo = std::env::current_exe()?;
        // TARGET/PROFILE/examples/demo
        let [_, _, folder, target, ..] = demo.ancestors().collect::<Vec<_>>()[..] else {
            return Err("the demo is not where cargo puts examples".into());
        };
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        // With the example among the targets, its dependencies are the ones that are built already.
        let arguments = ["--bin=keyvault-injector", "--bin=keyvault-agent", "--bin=vault-emulator", "--example=demo"];
        show::command(&format!("cargo build --profile {profile} {}", arguments[..3].join(" ")));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.current_dir(SOURCES).args(["build", "--profile", profile]).args(arguments).arg("--target-dir").arg(target);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_cargo_run)) {
            cargo.env_remove(name);
        }
        let status = cargo.stdin(Stdio::null()).kill_on_drop(true).status().await?;
        if !status.success() {
            return Err("the programs cannot be built".into());
        }
        Ok(Programs { folder: folder.to_owned() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What `cargo run` tells the demo of its package: build scripts that see it in our cargo would believe that it changed, and build everything again.
fn is_of_cargo_run(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}
