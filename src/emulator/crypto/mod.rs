//! Keys, certificates and PKCS#12 files, as Key Vault makes and reads them. Nothing here knows HTTP or a vault.

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
