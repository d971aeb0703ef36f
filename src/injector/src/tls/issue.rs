//! Making certificates: a CA, and the leaves it signs. ECDSA P-256, keys in PKCS#8.

use std::fmt;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use zeroize::Zeroizing;

use super::certificate::{Pair, PairError};
use super::validity::Validity;

/// Certificates begin this many seconds before they are made: the API server's clock may be behind ours.
pub(super) const BACKDATE: i64 = 3600;

/// A certificate cannot be made, because the key that should sign it is none or the names are not names.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made: {0}")]
pub struct IssueError(#[from] rcgen::Error);

/// A private key as PEM: never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    /// Takes PEM text over, whatever it holds.
    #[must_use]
    pub fn new(pem: String) -> PrivateKey {
        PrivateKey(Zeroizing::new(pem))
    }

    /// The PEM text, for the Secret and the TLS library only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A certificate with its key, both PEM. They may have come from elsewhere: [`Issued::pair`] says whether they fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// One certificate.
    pub certificate: String,
    /// Its private key.
    pub key: PrivateKey,
}

impl Issued {
    /// A new CA, valid from `now` (seconds since 1970) for a lifetime.
    ///
    /// # Errors
    /// [`IssueError`] where the system has no randomness.
    pub fn authority(now: i64, lifetime: Duration) -> Result<Issued, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(&key);
        set_validity(&mut params, now, now.saturating_add_unsigned(lifetime.as_secs()));
        Ok(Issued { certificate: params.self_signed(&key)?.pem(), key: exported(&key) })
    }

    /// A new leaf for DNS names and IP addresses, signed by this CA and never valid for longer than it.
    ///
    /// # Errors
    /// [`IssueError`] where this is no CA, or a name is none.
    pub fn leaf(&self, names: &[String], now: i64, lifetime: Duration) -> Result<Issued, IssueError> {
        let authority_key = KeyPair::from_pem(self.key.expose())?;
        let authority = authority_params(&authority_key);
        let authority_ends = self.validity().map_or(now, |validity| validity.not_after);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name("keyvault-injector".to_owned());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, now.saturating_add_unsigned(lifetime.as_secs()).min(authority_ends));
        let issuer = Issuer::from_params(&authority, &authority_key);
        Ok(Issued { certificate: params.signed_by(&key, &issuer)?.pem(), key: exported(&key) })
    }

    /// Certificate and key, if they fit.
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn pair(&self) -> Result<Pair, PairError> {
        Pair::from_pem(self.certificate.as_bytes(), self.key.expose().as_bytes())
    }

    /// Whether this is a CA as [`Issued::authority`] makes them. One that somebody brought along signs nothing that verifies: its name is another.
    pub(super) fn is_authority(&self) -> bool {
        let name = KeyPair::from_pem(self.key.expose()).map(|key| authority_name(&authority_params(&key), &key));
        let named = |pair: Pair| name.is_ok_and(|name| pair.chain().iter().any(|der| der.windows(name.len()).any(|part| part == name.as_bytes())));
        self.pair().is_ok_and(named)
    }

    pub(super) fn validity(&self) -> Option<Validity> {
        self.pair().ok().map(|pair| pair.validity())
    }
}

/// What a CA is, except for its validity. The name follows from the key: a leaf's issuer can be told again from the key alone, and no two CAs in
/// one bundle have the same name.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(authority_name(&params, key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn authority_name(params: &CertificateParams, key: &KeyPair) -> String {
    let identifier: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("keyvault-injector CA {identifier}")
}

fn common_name(name: String) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn set_validity(params: &mut CertificateParams, now: i64, ends: i64) {
    let at = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    params.not_before = at(now.saturating_sub(BACKDATE));
    params.not_after = at(ends);
}

fn exported(key: &KeyPair) -> PrivateKey {
    PrivateKey::new(key.serialize_pem())
}
