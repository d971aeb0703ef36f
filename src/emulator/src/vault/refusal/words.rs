//! The longer texts of refusals.

use keyvault_common::names::ObjectKind;

pub(super) fn not_found(kind: ObjectKind, id: &str) -> String {
    let noun = kind.noun();
    format!(
        "A {noun} with (name/id) {id} was not found in this key vault. If you recently deleted this {noun} you may be able to recover it using the \
         correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
    )
}

pub(super) fn deleted_but_recoverable(kind: ObjectKind, name: &str) -> String {
    format!(
        "{} {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the {} can only be recovered or \
         purged.",
        title(kind),
        kind.noun()
    )
}

pub(super) fn restore_conflict(kind: ObjectKind, id: &str) -> String {
    let noun = kind.noun();
    format!(
        "There was a conflict restoring the {noun} '{id}'. This can happen if either: a second {noun} with the same name was created after the first \
         {noun} was deleted; thus trying to restore a {noun} whose name is already in use. To fix this, rename the second {noun} to something else \
         so that the restore works. The second probable cause of this exception is when multiple operations are performed in parallel against the \
         {noun}. To avoid this error, perform operations against a {noun} in a sequential manner."
    )
}

/// The kind at the beginning of a sentence.
pub(super) fn title(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Secret => "Secret",
        ObjectKind::Certificate => "Certificate",
        ObjectKind::Key => "Key",
    }
}
