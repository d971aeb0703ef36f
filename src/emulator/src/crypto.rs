//! Keys, certificates and PKCS#12 files, as Key Vault makes and reads them. Nothing here knows HTTP or a vault.
//!
//! Nothing here is shared with the agent either, DER, PEM and PKCS#12 least of all: what one of the two writes and the other reads is checked by two
//! programs that cannot have a mistake in common.

pub(super) mod curve;
pub(super) mod der;
pub(super) mod digest;
pub(super) mod jwk;
pub(super) mod key;
pub(super) mod operation;
pub(super) mod pem;
pub(super) mod pkcs12;
mod pkcs8;
pub(super) mod x509;

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);
