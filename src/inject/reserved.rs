//! The names that belong to us in every pod.

/// The name of the injected container.
pub const AGENT: &str = "keyvault-agent";
/// The volume with the projected token.
pub(super) const TOKEN_VOLUME: &str = "keyvault-token";
/// The volume with a service principal's Secret.
pub(super) const PRINCIPAL_VOLUME: &str = "keyvault-principal";
/// What the volumes of views are called, alone or with `-2`, `-3` …; those of environment values come later.
const VOLUME_FAMILIES: [&str; 2] = ["keyvault-files", "keyvault-env"];

/// The name of the volume of the view at `index`.
pub(super) fn volume_name(index: usize) -> String {
    if index == 0 { "keyvault-files".to_owned() } else { format!("keyvault-files-{}", index + 1) }
}

/// Whether a volume name is reserved for us.
pub(super) fn is_our_volume(name: &str) -> bool {
    name == TOKEN_VOLUME || name == PRINCIPAL_VOLUME || is_view(name)
}

/// Whether a volume name is that of a view.
pub(super) fn is_view(name: &str) -> bool {
    VOLUME_FAMILIES.iter().any(|family| match name.strip_prefix(family) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())),
        None => false,
    })
}
