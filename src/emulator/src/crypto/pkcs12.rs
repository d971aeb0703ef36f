//! PKCS#12 as Key Vault writes it, and as much of it as Key Vault takes: triple DES with SHA-1.
//!
//! Key Vault's own files derive every key from a password of no bytes at all, not from an empty text (two zero bytes), which most writers mean by
//! "no password". Both are read here; the first is written.

mod derive;
mod read;
mod write;

pub(crate) use read::{Error, read};
pub(crate) use write::write;

const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const SHA1: &str = "1.3.14.3.2.26";
const TRIPLE_DES: &str = "1.2.840.113549.1.12.1.3";
const KEY_BAG: &str = "1.2.840.113549.1.12.10.1.1";
const SHROUDED_KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
const CERTIFICATE_BAG: &str = "1.2.840.113549.1.12.10.1.3";
const X509_CERTIFICATE: &str = "1.2.840.113549.1.9.22.1";
const LOCAL_KEY_ID: &str = "1.2.840.113549.1.9.21";
const FRIENDLY_NAME: &str = "1.2.840.113549.1.9.20";
const PROVIDER_NAME: &str = "1.3.6.1.4.1.311.17.1";

#[cfg(test)]
mod tests;
