//! Which api-versions there are. All are served in one way.

use super::refusal::Refusal;

const KNOWN: [&str; 16] = [
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6",
    "7.6-preview.2",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-03-01-preview",
    "2026-04-01",
    "2026-05-01-preview",
    "2026-07-01-preview",
];

/// A request must name one of them.
pub(super) fn check(version: Option<&str>) -> Result<(), Refusal> {
    match version {
        None | Some("") => Err(Refusal::NoApiVersion),
        Some(version) if KNOWN.contains(&version) => Ok(()),
        Some(version) => Err(Refusal::UnknownApiVersion(version.to_owned())),
    }
}
