//! Where the plan's paths are, and whether this build can carry the plan out.

use std::path::{Path, PathBuf};

use super::termination;
use keyvault_common::names::AbsolutePath;
use keyvault_common::plan::{Identity, Plan};

/// A plan or a root that this build cannot work with.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("--root {root}: {reason}")]
    Root { root: String, reason: String },
    #[error("the plan's authorityHost {0:?} does not begin with https://")]
    Authority(String),
    #[error("the plan's tokenProxy.url {0:?} does not begin with https://")]
    TokenProxy(String),
}

/// The directory under which all paths are taken; `/` in a pod.
#[derive(Debug)]
pub(super) struct Places {
    root: PathBuf,
}

impl Places {
    pub(super) fn below(root: Option<&Path>) -> Result<Places, PlaceError> {
        let Some(root) = root else { return Ok(Places { root: PathBuf::from("/") }) };
        let unusable = |reason: std::io::Error| PlaceError::Root { root: root.display().to_string(), reason: reason.to_string() };
        Ok(Places { root: root.canonicalize().map_err(unusable)? })
    }

    pub(super) fn termination_log(&self) -> PathBuf {
        self.root.join("dev/termination-log")
    }

    /// Says in the termination log why the plan cannot be carried out.
    pub(super) fn tell(&self, unusable: &dyn std::fmt::Display) {
        termination::write_line(&self.termination_log(), &format!("plan: {unusable}"), None);
    }

    /// The plan with every path in its place.
    pub(super) fn apply(&self, mut plan: Plan) -> Result<Plan, PlaceError> {
        check(&plan)?;
        let identity_path = match &mut plan.identity {
            Identity::WorkloadIdentity { token_file, .. } => Some(token_file),
            Identity::ServicePrincipal { directory, .. } => Some(directory),
            Identity::ManagedIdentity { .. } | Identity::PodIdentity { .. } => None,
        };
        let config_map_path = plan.config_map.as_mut().map(|templates| &mut templates.path);
        let directories = plan.directories.iter_mut().map(|directory| &mut directory.path);
        let of_refresh = plan.refresh.as_mut().map(|refresh| (&mut refresh.now_file, &mut refresh.restart));
        let of_refresh =
            of_refresh.into_iter().flat_map(|(now, restart)| now.iter_mut().chain(restart.iter_mut().flat_map(|restart| &mut restart.watch)));
        let agents_own = config_map_path.into_iter().chain(&mut plan.program).chain(of_refresh);
        for path in identity_path.into_iter().chain(directories).chain(agents_own) {
            *path = self.place(path)?;
        }
        Ok(plan)
    }

    fn place(&self, path: &AbsolutePath) -> Result<AbsolutePath, PlaceError> {
        let placed = self.root.join(path.as_str().trim_start_matches('/')).display().to_string();
        placed
            .parse()
            .map_err(|error: keyvault_common::names::NameError| PlaceError::Root { root: self.root.display().to_string(), reason: error.to_string() })
    }
}

fn check(plan: &Plan) -> Result<(), PlaceError> {
    if !plan.cloud.authority_host.starts_with("https://") {
        return Err(PlaceError::Authority(plan.cloud.authority_host.clone()));
    }
    if let Some(proxy) = plan.identity.token_proxy().filter(|proxy| !proxy.url.starts_with("https://")) {
        return Err(PlaceError::TokenProxy(proxy.url.clone()));
    }
    Ok(())
}
