//! The names that belong to us in every pod.

/// The name of the injected init container that fetches and ends.
pub const AGENT: &str = "keyvault-agent";
/// The name of the native sidecar that refreshes.
pub const REFRESHER: &str = "keyvault-agent-watch";
/// The volume with the projected token.
pub(super) const TOKEN_VOLUME: &str = "keyvault-token";
/// The volume with a service principal's Secret.
pub(super) const PRINCIPAL_VOLUME: &str = "keyvault-principal";
/// The volume with a ConfigMap's templates.
pub(super) const TEMPLATES_VOLUME: &str = "keyvault-templates";
/// The volume with the agent's program, for containers that are wrapped.
pub(super) const PROGRAM_VOLUME: &str = "keyvault-program";
/// The volume with what the kubelet reports of the pod to the sidecar.
pub(super) const POD_VOLUME: &str = "keyvault-pod";
/// What the volumes of files are called, alone or with `-2`, `-3` …
const FILES: &str = "keyvault-files";
/// The same for environment values.
const ENVIRONMENT: &str = "keyvault-env";

/// The name of the volume of the view of files at `index`.
pub(super) fn files_volume(index: usize) -> String {
    numbered(FILES, index)
}

/// The name of the volume of the view of environment values at `index`.
pub(super) fn environment_volume(index: usize) -> String {
    numbered(ENVIRONMENT, index)
}

/// The first has no number, the second is `-2`.
pub(super) fn numbered(family: &str, index: usize) -> String {
    if index == 0 { family.to_owned() } else { format!("{family}-{}", index + 1) }
}

/// Whether a container is one that we add.
pub(super) fn is_our_container(name: &str) -> bool {
    name == AGENT || name == REFRESHER
}

/// Whether a volume name is reserved for us.
pub(super) fn is_our_volume(name: &str) -> bool {
    [TOKEN_VOLUME, PRINCIPAL_VOLUME, TEMPLATES_VOLUME, PROGRAM_VOLUME, POD_VOLUME].contains(&name) || is_view(name)
}

/// Whether a volume name is that of a view.
pub(super) fn is_view(name: &str) -> bool {
    [FILES, ENVIRONMENT].iter().any(|family| match name.strip_prefix(family) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())),
        None => false,
    })
}
