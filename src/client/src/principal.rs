//! A service principal as a mounted Kubernetes Secret holds it.

use std::path::Path;

use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::failure::{Class, Failure};
use super::identity::read;
use keyvault_common::names::Guid;

const SECRET: &str = "client-secret";
const CERTIFICATE: &str = "client-certificate";

/// The folder of the Secret, and the Secret's name where the plan tells it.
pub(super) struct Principal<'a> {
    pub(super) directory: &'a Path,
    pub(super) secret: Option<&'a str>,
}

/// What proves that the agent is the application.
pub(super) enum Proof {
    Secret(Zeroizing<String>),
    Certificate(Certificate),
}

impl Principal<'_> {
    /// The Secret, for messages.
    pub(super) fn name(&self) -> String {
        self.secret.map_or_else(|| format!("the Secret in {}", self.directory.display()), |name| format!("Secret {name}"))
    }

    /// One of the Secret's ids.
    pub(super) fn guid(&self, key: &str) -> Result<Guid, Failure> {
        let text = self.read(key)?;
        text.parse().map_err(|_| Failure::new(Class::Auth, format!("key {key} of {} does not hold a GUID", self.name())))
    }

    /// The client secret if there is one, else the certificate.
    pub(super) fn proof(&self) -> Result<Proof, Failure> {
        match (self.has(SECRET), self.has(CERTIFICATE)) {
            (true, _) => self.read(SECRET).map(Proof::Secret),
            (false, true) => {
                let pem = self.read(CERTIFICATE)?;
                let unfit = |error| Failure::new(Class::Auth, format!("key {CERTIFICATE} of {} cannot be used: {error}", self.name()));
                Certificate::from_pem(&pem).map(Proof::Certificate).map_err(unfit)
            }
            (false, false) => Err(self.missing(&format!("neither the key {SECRET} nor the key {CERTIFICATE}"))),
        }
    }

    fn has(&self, key: &str) -> bool {
        self.directory.join(key).exists()
    }

    fn read(&self, key: &str) -> Result<Zeroizing<String>, Failure> {
        if self.has(key) {
            read(&self.directory.join(key), &format!("key {key} of {}", self.name()))
        } else {
            Err(self.missing(&format!("no key {key}")))
        }
    }

    /// The volume is optional: the kubelet starts the agent without the Secret, and mounts it when it comes.
    fn missing(&self, what: &str) -> Failure {
        Failure::new(Class::Auth, format!("{} does not exist or has {what}: looked for in {}", self.name(), self.directory.display())).transient()
    }
}
