//! A certificate with its key and chain, from what Key Vault stores to the files that programs read.

use std::collections::{HashSet, VecDeque};
use std::time::SystemTime;

use super::pkcs12::{self, Pkcs12Error};
use super::private_key::{PrivateKey, PrivateKeyError};
use super::x509::X509;
use super::{FormatError, encoding, pkcs12::Contents};
use keyvault_common::pem::{self, PemError};
use keyvault_common::plan::{CertificatePart, Encoding};
use keyvault_common::secret::SecretValue;

/// Why a certificate's stored value yields no files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Neither of the forms in which Key Vault keeps certificates.
    #[error("the value is neither PEM nor a PKCS#12 file in base64, as the secret of a certificate is ({0})")]
    Form(Box<FormatError>),
    /// PKCS#12 that cannot be read.
    #[error("the PKCS#12 file cannot be read: {0}")]
    Pkcs12(#[from] Pkcs12Error),
    /// PEM that cannot be read.
    #[error("the PEM text cannot be read: {0}")]
    Pem(#[from] PemError),
    /// A certificate that is none.
    #[error("certificate {number} of the value is damaged at byte {at}")]
    Certificate {
        /// In the order of the value, counted from 1.
        number: usize,
        /// Counted from 0.
        at: usize,
    },
    /// A private key that is none.
    #[error("the private key is damaged at byte {at}")]
    Key {
        /// Counted from 0.
        at: usize,
    },
    /// A private key that Key Vault cannot have made.
    #[error("the private key is of a kind that is not read: RSA, P-256, P-384, P-521 and P-256K are")]
    KeyKind,
    /// A private key whose certificate cannot be found.
    #[error(
        "the private key is on the curve P-256K, and without its public key, which is not computed for this curve: write it again with openssl ec"
    )]
    KeyWithoutPublic,
    /// In a text.
    #[error("line {line}: {error}")]
    Line {
        /// Where the block begins, counted from 1.
        line: usize,
        /// What is wrong with it.
        error: Box<CertificateError>,
    },
    /// An encrypted key.
    #[error("the private key has a password; Key Vault keeps keys without one: import it as a certificate")]
    EncryptedKey,
    /// Nothing to make files of.
    #[error("the value holds no certificate")]
    NoCertificate,
    /// The key is another certificate's.
    #[error("the private key belongs to none of the certificates ({subjects}): store key and certificate that were made together")]
    Mismatch {
        /// The names of the certificates.
        subjects: String,
    },
    /// A PFX is for its key.
    #[error("it has no private key (its policy may say that the key is not exportable), and a PFX without one is of no use: take the format pem")]
    PfxWithoutKey,
    /// The password of a PFX that is to be written.
    #[error("the password for the PFX is not UTF-8 text")]
    Password,
    /// No random numbers to be had.
    #[error("the system has no random numbers for the PFX")]
    Random,
}

impl CertificateError {
    /// In a text, a line says more than a byte of what the line decodes to.
    fn in_block(self, block: &pem::Block) -> CertificateError {
        let is_byte = matches!(self, CertificateError::Certificate { .. } | CertificateError::Key { .. });
        if is_byte { CertificateError::Pem(PemError::damaged(block)) } else { CertificateError::Line { line: block.line, error: Box::new(self) } }
    }
}

/// A certificate that was read, its chain in order.
#[derive(Debug)]
pub struct Certificate {
    key: Option<PrivateKey>,
    /// Leaf first, each issued by the next.
    chain: Vec<X509>,
    /// What a peer of the leaf may trust.
    ca: Vec<X509>,
    /// The value, if it is PKCS#12.
    pfx: Option<SecretValue>,
    remarks: Vec<Remark>,
}

/// Something about a certificate that its reader should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Whether programs may fail because of it.
    pub is_warning: bool,
    /// What it is.
    pub text: String,
}

impl Remark {
    fn warning(text: String) -> Remark {
        Remark { is_warning: true, text }
    }
}

/// What is in a value, before anything is sorted.
#[derive(Default)]
struct Parts {
    keys: Vec<PrivateKey>,
    certificates: Vec<X509>,
    pfx: Option<SecretValue>,
}

impl Certificate {
    /// Reads what the secret behind a certificate holds: PKCS#12 in base64, or PEM.
    ///
    /// # Errors
    /// The value is neither, or its key and certificates do not belong together.
    pub fn read(stored: &SecretValue) -> Result<Certificate, CertificateError> {
        let parts = if pem::is_pem(stored.expose()) { Parts::from_pem(stored)? } else { Parts::from_pfx(stored)? };
        parts.arrange()
    }

    /// The public part alone, from the DER of a leaf.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn public(der: &[u8]) -> Result<Certificate, CertificateError> {
        let mut parts = Parts::default();
        parts.certificate(der)?;
        parts.arrange()
    }

    /// The bytes of one file, `None` where there is nothing for it. A PFX gets `password`; without one, what is stored as PFX stays as it is.
    ///
    /// # Errors
    /// A PFX that cannot be written.
    pub fn part(&self, part: CertificatePart, password: Option<&SecretValue>) -> Result<Option<SecretValue>, CertificateError> {
        let certificates = |list: &[X509]| Some(certificates(list)).filter(|_| !list.is_empty());
        match part {
            CertificatePart::Chain => Ok(certificates(&self.chain)),
            CertificatePart::Key => Ok(self.key.as_ref().map(|key| pem::text([("PRIVATE KEY", key.pkcs8.expose())]))),
            CertificatePart::Ca => Ok(certificates(&self.ca)),
            CertificatePart::Bundle => Ok(Some(self.bundle())),
            CertificatePart::Pfx => self.pfx(password).map(Some),
        }
    }

    /// Key and chain in one text.
    #[must_use]
    pub fn bundle(&self) -> SecretValue {
        let key = self.key.iter().map(|key| ("PRIVATE KEY", key.pkcs8.expose()));
        pem::text(key.chain(self.chain.iter().map(|certificate| ("CERTIFICATE", certificate.der.as_slice()))))
    }

    fn pfx(&self, password: Option<&SecretValue>) -> Result<SecretValue, CertificateError> {
        let key = self.key.as_ref().ok_or(CertificateError::PfxWithoutKey)?;
        if let (None, Some(stored)) = (password, &self.pfx) {
            return Ok(stored.clone());
        }
        let password = std::str::from_utf8(password.map_or(&[], SecretValue::expose)).map_err(|_| CertificateError::Password)?;
        let chain: Vec<&[u8]> = self.chain.iter().map(|certificate| certificate.der.as_slice()).collect();
        pkcs12::write(key.pkcs8.expose(), &chain, password).ok_or(CertificateError::Random)
    }

    /// Whether the private key is there.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// What its reader should know at the time `now`: gaps in the chain, certificates that have ended, a key that did not come.
    #[must_use]
    pub fn remarks(&self, now: SystemTime) -> Vec<Remark> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let ended = self.chain.iter().filter_map(|certificate| Some((certificate, now.checked_sub(certificate.not_after?)?)));
        let ended = ended.map(|(certificate, ago)| Remark::warning(format!("{} expired {} days ago", certificate.subject(), ago / 86_400)));
        let without_key = "it came without its private key, as one does whose policy says that it is not exportable: only the public part is written";
        let without_key = self.key.is_none().then(|| Remark { is_warning: false, text: without_key.to_owned() });
        self.remarks.iter().cloned().chain(ended).chain(without_key).collect()
    }
}

fn certificates(list: &[X509]) -> SecretValue {
    pem::text(list.iter().map(|certificate| ("CERTIFICATE", certificate.der.as_slice())))
}

// === reading ===

impl Parts {
    fn from_pem(stored: &SecretValue) -> Result<Parts, CertificateError> {
        let mut parts = Parts::default();
        for block in pem::blocks(stored.expose())? {
            let der = block.der.expose();
            match block.label.as_str() {
                "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => parts.certificate(der),
                "PRIVATE KEY" => parts.key(PrivateKey::from_pkcs8(der)),
                "RSA PRIVATE KEY" => parts.key(PrivateKey::from_pkcs1(der)),
                "EC PRIVATE KEY" => parts.key(PrivateKey::from_sec1(der)),
                "ENCRYPTED PRIVATE KEY" => Err(CertificateError::EncryptedKey),
                // Parameters of curves, requests and the like.
                _ => Ok(()),
            }
            .map_err(|error| error.in_block(&block))?;
        }
        Ok(parts)
    }

    fn from_pfx(stored: &SecretValue) -> Result<Parts, CertificateError> {
        let file = encoding::decode(stored, Encoding::Base64).map_err(|error| CertificateError::Form(Box::new(error)))?;
        let Contents { keys, certificates } = pkcs12::read(file.expose())?;
        let mut parts = Parts { pfx: Some(file), ..Parts::default() };
        keys.iter().try_for_each(|der| parts.key(PrivateKey::from_pkcs8(der.expose())))?;
        certificates.iter().try_for_each(|der| parts.certificate(der))?;
        Ok(parts)
    }

    fn certificate(&mut self, der: &[u8]) -> Result<(), CertificateError> {
        let number = self.certificates.len() + 1;
        let certificate = X509::read(der).map_err(|damaged| CertificateError::Certificate { number, at: damaged.at })?;
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
        Ok(())
    }

    fn key(&mut self, key: Result<PrivateKey, PrivateKeyError>) -> Result<(), CertificateError> {
        self.keys.push(key.map_err(|error| match error {
            PrivateKeyError::Damaged(damaged) => CertificateError::Key { at: damaged.at },
            PrivateKeyError::Unsupported => CertificateError::KeyKind,
            PrivateKeyError::WithoutPublic => CertificateError::KeyWithoutPublic,
        })?);
        Ok(())
    }

    fn arrange(mut self) -> Result<Certificate, CertificateError> {
        let subjects = || self.certificates.iter().map(X509::subject).collect::<Vec<_>>().join("; ");
        let (key, leaf) = match (self.keys.is_empty(), self.leaf_of_key(), self.first_leaf()) {
            (_, _, None) => return Err(CertificateError::NoCertificate),
            (false, None, _) => return Err(CertificateError::Mismatch { subjects: subjects() }),
            (false, Some((key, leaf)), _) => (Some(self.keys.swap_remove(key)), leaf),
            (true, _, Some(leaf)) => (None, leaf),
        };
        let (chain, strays) = chain(self.certificates, leaf);
        let remarks = remarks(&chain, &strays);
        Ok(Certificate { key, ca: ca(&chain, strays), chain, pfx: self.pfx, remarks })
    }

    /// The first key that belongs to a certificate, and that certificate: what a file says about it (order, ids) may be wrong.
    fn leaf_of_key(&self) -> Option<(usize, usize)> {
        let certificate_of = |key: &PrivateKey| self.certificates.iter().position(|certificate| certificate.key.as_ref() == Some(&key.public));
        self.keys.iter().enumerate().find_map(|(index, key)| Some((index, certificate_of(key)?)))
    }

    /// Without a key: the first that has issued no other.
    fn first_leaf(&self) -> Option<usize> {
        let issues_another = |issuer: &X509| self.certificates.iter().any(|other| other != issuer && issuer.may_have_issued(other));
        let leaf = self.certificates.iter().position(|certificate| !issues_another(certificate));
        leaf.or((!self.certificates.is_empty()).then_some(0))
    }
}

// === sorting ===

/// The chain from a leaf upwards, and the certificates that are not part of it. Of several ways (an intermediate may be cross-signed) it is the
/// shortest to a root; without a root, one that leads up the farthest.
fn chain(certificates: Vec<X509>, leaf: usize) -> (Vec<X509>, Vec<X509>) {
    let mut seen = HashSet::from([leaf]);
    let mut paths = VecDeque::from([vec![leaf]]);
    let mut best = Vec::new();
    while let Some(path) = paths.pop_front() {
        let last = path.last().map_or(leaf, |last| *last);
        if certificates[last].is_root() {
            best = path;
            break;
        }
        let issuers = (0..certificates.len()).filter(|issuer| certificates[*issuer].may_have_issued(&certificates[last]));
        paths.extend(issuers.filter(|issuer| seen.insert(*issuer)).map(|issuer| [path.as_slice(), &[issuer]].concat()));
        if path.len() > best.len() {
            best = path;
        }
    }
    let mut rest: Vec<Option<X509>> = certificates.into_iter().map(Some).collect();
    let chain = best.into_iter().filter_map(|index| rest[index].take()).collect();
    (chain, rest.into_iter().flatten().collect())
}

/// The roots; where there is none, the topmost issuer.
fn ca(chain: &[X509], strays: Vec<X509>) -> Vec<X509> {
    let roots: Vec<X509> =
        chain.iter().filter(|certificate| certificate.is_root()).cloned().chain(strays.into_iter().filter(X509::is_root)).collect();
    match chain {
        [_, .., last] if roots.is_empty() => vec![last.clone()],
        _ => roots,
    }
}

fn remarks(chain: &[X509], strays: &[X509]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if let Some(last) = chain.last().filter(|last| !last.is_root()) {
        // A chain without its root is common and right; one that ends at the leaf, or beside certificates left over, is broken.
        let is_warning = chain.len() == 1 || !strays.is_empty();
        let text = format!("the chain ends at {}: its issuer {} is not stored with it", last.subject(), last.issuer());
        remarks.push(Remark { is_warning, text });
    }
    for stray in strays.iter().filter(|stray| !stray.is_root()) {
        // A cross-signed twin is no loss: the chain has the same key under another issuer.
        let is_warning = !chain.iter().any(|certificate| certificate.is_twin_of(stray));
        remarks.push(Remark { is_warning, text: format!("the certificate {} is not part of the chain and is left out", stray.subject()) });
    }
    remarks
}

#[cfg(test)]
mod tests;
