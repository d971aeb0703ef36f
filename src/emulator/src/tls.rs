//! The certificate that the emulator serves: made by a CA of its own, or given.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig};

use super::clock;
use super::config::TlsFiles;

/// For how many names certificates are kept.
const NAMES_LIMIT: usize = 256;

/// Why there is nothing to serve TLS with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the state directory or of the configuration.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Certificate and key do not fit together.
    #[error("cannot serve this certificate: {0}")]
    Serve(#[from] rustls::Error),
}

/// What the listener and its clients need.
pub(super) struct Identity {
    pub(super) server: Arc<ServerConfig>,
    /// What clients must trust.
    pub(super) ca_pem: String,
}

/// Reads a given chain and key; its last certificate is what clients trust.
pub(super) fn given(files: &TlsFiles) -> Result<Identity, TlsError> {
    let (cert_file, key_file) = (&files.cert_file, &files.key_file);
    let ca_pem = std::fs::read_to_string(cert_file).map_err(|error| unusable(cert_file, error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(ca_pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| unusable(cert_file, error))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(key_file, error))?;
    Ok(Identity { server: server(chain, key)?, ca_pem })
}

/// Makes a CA, and a certificate for every name by which a client calls. The CA's key is kept in `state_dir`, so that a client that trusts `ca.pem`
/// still does after a restart.
pub(super) fn made(state_dir: Option<&Path>, listen: IpAddr) -> Result<Identity, TlsError> {
    let (ca_key, kept_pem) = match state_dir {
        None => (KeyPair::generate()?, None),
        Some(dir) => ca_key(dir)?,
    };
    let ca = CertifiedIssuer::self_signed(ca_params(), ca_key)?;
    let ca_pem = kept_pem.unwrap_or_else(|| ca.pem());
    if let Some(dir) = state_dir {
        write(&dir.join("ca.pem"), ca_pem.as_bytes(), 0o644)?;
    }
    let leaves = Leaves { ca, key: KeyPair::generate()?, listen, made: Mutex::default() };
    leaves.make("localhost")?;
    Ok(Identity { server: over_http1(config()?.with_cert_resolver(Arc::new(leaves))), ca_pem })
}

/// A certificate for each name that was called, all for one key.
struct Leaves {
    ca: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    /// The address of the listener, where it is one.
    listen: IpAddr,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Leaves {
    /// `localhost` and addresses are in every certificate: who calls an address names nothing.
    fn make(&self, name: &str) -> Result<Arc<CertifiedKey>, TlsError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = made.get(name) {
            return Ok(leaf.clone());
        }
        let leaf = leaf_params(name, self.listen)?.signed_by(&self.key, &self.ca)?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(|error| rustls::Error::General(error.to_owned()))?;
        let leaf = Arc::new(CertifiedKey::new(vec![leaf.der().clone()], any_supported_type(&key)?));
        if made.len() < NAMES_LIMIT {
            made.insert(name.to_owned(), leaf.clone());
        }
        Ok(leaf)
    }
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.make(hello.server_name().unwrap_or("localhost")).ok()
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaves")
    }
}

/// The CA's key and certificate of an earlier run, or a new key.
fn ca_key(dir: &Path) -> Result<(KeyPair, Option<String>), TlsError> {
    std::fs::create_dir_all(dir).map_err(|error| unusable(dir, error))?;
    let (key_file, ca_file) = (dir.join("ca.key"), dir.join("ca.pem"));
    if key_file.exists() && ca_file.exists() {
        let read = |file: &Path| std::fs::read_to_string(file).map_err(|error| unusable(file, error));
        let key = KeyPair::from_pem(&read(&key_file)?).map_err(|error| unusable(&key_file, error))?;
        return Ok((key, Some(read(&ca_file)?)));
    }
    let key = KeyPair::generate()?;
    write(&key_file, key.serialize_pem().as_bytes(), 0o600)?;
    Ok((key, None))
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("vault-emulator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

/// Some clients refuse certificates that are good for more than 825 days.
fn leaf_params(called: &str, listen: IpAddr) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(BTreeSet::from(["localhost", called]).into_iter().map(str::to_owned).collect::<Vec<_>>())?;
    let addresses = BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), listen]);
    params.subject_alt_names.extend(addresses.into_iter().filter(|address| !address.is_unspecified()).map(SanType::IpAddress));
    params.distinguished_name = name("vault-emulator");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(clock::year() - 1, 12, 1);
    params.not_after = date_time_ymd(clock::year() + 1, 12, 31);
    Ok(params)
}

fn name(common: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, DnValue::Utf8String(common.to_owned()));
    name
}

fn server(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, rustls::Error> {
    Ok(over_http1(config()?.with_single_cert(chain, key)?))
}

fn over_http1(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn config() -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth())
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let create = || -> io::Result<File> { OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(file) };
    create().and_then(|mut opened| opened.write_all(bytes)).map_err(|error| unusable(file, error))
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}
