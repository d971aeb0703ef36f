//! Reads objects from vaults as one identity.

use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::check::{self, Answer};
use super::failure::{Class, Failure, Outlook};
use super::foreign::{Caller, one_line};
use super::identity::{self, SignIn};
use super::network::{Kind, Network, Request, Response};
use super::object::{CertificateBundle, KeyBundle, Listing, Secret, SecretPage, Stored, StoredCertificate};
use super::retry::Retry;
use super::server::Server;
use super::token::{Token, Tokens};
use keyvault_common::names::{ObjectKind, VaultUrl};
use keyvault_common::plan::{Identity, Object, PlanCloud};
use keyvault_common::secret::SecretValue;

/// The version of Key Vault's REST interface that every cloud has.
const API_VERSION: &str = "7.4";
/// As many as it gives at once.
const PAGE: usize = 25;

/// Entra gets this part of the deadline for refusals that may pass: a credential that was made a moment ago is known by then, and one that
/// does not match is reported in time.
const SHARE_OF_REFUSALS: u32 = 2;

/// A client for one run of the agent: one identity, one deadline, one token.
#[derive(Debug)]
pub struct Client<'p, N> {
    network: N,
    cloud: &'p PlanCloud,
    identity: &'p Identity,
    retry: Retry,
    tokens: Tokens,
}

impl<'p, N: Network> Client<'p, N> {
    /// A client that has not sent anything yet. `retry` is how long sign-ins are tried.
    pub fn new(network: N, cloud: &'p PlanCloud, identity: &'p Identity, retry: Retry) -> Client<'p, N> {
        Client { network, cloud, identity, retry, tokens: Tokens::default() }
    }

    /// Begins another run: sign-ins are tried as `retry` says, a token that was had is kept, a sign-in that failed is forgotten.
    pub fn renew(&mut self, retry: Retry) {
        self.retry = retry;
        self.tokens.forget_failure();
    }

    /// What it talked through, for another client.
    #[must_use]
    pub fn into_network(self) -> N {
        self.network
    }

    /// Gets the token that all reads use.
    ///
    /// # Errors
    /// Why there is none, after all tries.
    pub async fn sign_in(&self) -> Result<(), Failure> {
        self.token(None).await.map(drop)
    }

    /// Reads an object once, without trying again after a transient failure. A refused token is renewed once.
    ///
    /// # Errors
    /// Whatever kept it from coming.
    pub async fn read(&self, kind: ObjectKind, object: &Object) -> Result<Stored, Failure> {
        match kind {
            ObjectKind::Secret => self.secret(object).await.map(Stored::Secret),
            ObjectKind::Certificate => self.certificate(object).await.map(Stored::Certificate),
            ObjectKind::Key => self.get::<KeyBundle>(kind, object).await.map(|bundle| Stored::Key(bundle.key)),
        }
    }

    /// Reads a secret, as [`Client::read`] does.
    ///
    /// # Errors
    /// Whatever kept it from coming.
    pub async fn secret(&self, object: &Object) -> Result<Secret, Failure> {
        self.get(ObjectKind::Secret, object).await
    }

    /// The secret of the same name and version holds key and chain. Where there is none, or none for us, the certificate itself says whether
    /// its key is one that never leaves the vault.
    async fn certificate(&self, object: &Object) -> Result<StoredCertificate, Failure> {
        let failure = match self.secret(object).await {
            Ok(secret) => return Ok(StoredCertificate::Secret(secret)),
            Err(failure) if matches!(failure.class, Class::NotFound | Class::Rbac) => failure,
            Err(failure) => return Err(failure),
        };
        match self.get::<CertificateBundle>(ObjectKind::Certificate, object).await {
            Ok(bundle) if !bundle.is_issued() => Err(pending(object)),
            Ok(bundle) if bundle.is_exportable() => Err(Failure {
                what: format!("the certificate can be read, and its private key, which is the secret of the same name, cannot: {}", failure.what),
                ..failure
            }),
            Ok(bundle) => bundle.leaf(),
            Err(other) if other.class == Class::NotFound || other.outlook != Outlook::Final => Err(other),
            Err(_) => Err(failure),
        }
    }

    async fn get<T: DeserializeOwned>(&self, kind: ObjectKind, object: &Object) -> Result<T, Failure> {
        let version = object.version.as_ref().map(|version| format!("/{version}")).unwrap_or_default();
        let url = format!("{}/{}/{}{version}?api-version={API_VERSION}", object.vault, kind.collection(), object.name);
        self.get_from(&object.vault, url, &format!("a {}", kind.noun())).await
    }

    /// Reads a part of the vault's list of secrets, as [`Client::read`] does: the first, or the one that the page before named as `next`.
    ///
    /// # Errors
    /// Whatever kept it from coming, and a `next` that leads out of the vault.
    pub async fn list(&self, vault: &VaultUrl, next: Option<&str>) -> Result<SecretPage, Failure> {
        let url = match next {
            None => format!("{vault}/secrets?api-version={API_VERSION}&maxresults={PAGE}"),
            Some(link) => within(vault, link)?,
        };
        self.get_from::<Listing>(vault, url, "a list of secrets").await?.page()
    }

    /// `url` is one of the vault's.
    async fn get_from<T: DeserializeOwned>(&self, vault: &VaultUrl, url: String, wanted: &str) -> Result<T, Failure> {
        self.guard(vault)?;
        let token = self.token(None).await?;
        let (resource, server) = match self.get_with(url.clone(), wanted, &token).await? {
            (Answer::Value(value), _) => return Ok(value),
            (Answer::Unauthorized { resource, .. }, server) => (resource, server),
        };
        self.check_challenge(token.caller(), &server, resource)?;
        let token = self.token(Some(&token)).await?;
        match self.get_with(url, wanted, &token).await?.0 {
            Answer::Value(value) => Ok(value),
            Answer::Unauthorized { failure, .. } => Err(failure),
        }
    }

    async fn get_with<T: DeserializeOwned>(&self, url: String, wanted: &str, token: &Token) -> Result<(Answer<T>, Server), Failure> {
        let response = self.send(url, Kind::Object { bearer: &token.value }).await?;
        check::object(wanted, token.caller(), &response, SystemTime::now()).map(|answer| (answer, response.server))
    }

    async fn send(&self, url: String, kind: Kind<'_>) -> Result<Response, Failure> {
        let (start, of_vault) = (Instant::now(), matches!(kind, Kind::Object { .. }));
        let result = self.network.send(Request { url: url.clone(), kind, deadline: self.retry.deadline() }).await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |response| format!("{} from {}", response.status, response.server));
        // What follows in a list's address is the server's own and looks like a token.
        let shown = url.split_once("$skiptoken").map_or(url.as_str(), |(shown, _)| shown.trim_end_matches('&'));
        tracing::debug!("{}: {outcome} after {} ms", one_line(shown), start.elapsed().as_millis());
        result.map_err(|error| check::transport(error, of_vault))
    }

    async fn token(&self, refused: Option<&Token>) -> Result<Arc<Token>, Failure> {
        self.tokens.get(refused, self.exchange()).await
    }

    async fn exchange(&self) -> Result<(SecretValue, String), Failure> {
        let now = Instant::now();
        let share = now + self.retry.deadline().saturating_duration_since(now) / SHARE_OF_REFUSALS;
        self.retry.clone().run("sign-in", async || self.exchange_once(share).await).await
    }

    async fn exchange_once(&self, share: Instant) -> Result<(SecretValue, String), Failure> {
        let SignIn { url, kind, endpoint, who, secrets } = identity::sign_in(self.cloud, self.identity, SystemTime::now())?;
        let response = self.send(url, kind).await?;
        match check::token(endpoint, Caller { who: &who, secrets: &secrets }, &response, SystemTime::now()) {
            Ok(token) => Ok((token, who)),
            Err(failure) if endpoint.is_entra() && matches!(failure.class, Class::Auth | Class::Unavailable) => {
                Err(Failure { until: Some(share), ..failure })
            }
            Err(failure) => Err(failure),
        }
    }

    /// A token may only go where it is meant for: a plan that names a stranger's host must not hand it over.
    fn guard(&self, vault: &VaultUrl) -> Result<(), Failure> {
        let domain = self.cloud.resource.strip_prefix("https://").unwrap_or(&self.cloud.resource);
        let inside = vault.host().strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
        let allowed = || self.cloud.allowed_vault_hosts.iter().any(|host| host.eq_ignore_ascii_case(&vault.authority()));
        if !self.cloud.verify_challenge || inside || allowed() {
            return Ok(());
        }
        Err(Failure::new(
            Class::Auth,
            format!("no token was sent, because {} is neither under {domain} nor on the operator's list", vault.authority()),
        ))
    }

    fn check_challenge(&self, caller: Caller<'_>, server: &Server, resource: Option<String>) -> Result<(), Failure> {
        let expected = &self.cloud.resource;
        match resource {
            Some(resource) if self.cloud.verify_challenge && resource.trim_end_matches('/') != expected => Err(Failure {
                status: Some(401),
                ..Failure::new(Class::Auth, format!("{server} wants a token for {}, but the cloud's vaults take {expected}", caller.words(&resource)))
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// The certificate exists, and what it is made of does not.
fn pending(object: &Object) -> Failure {
    let (vault, name) = (object.vault.name(), &object.name);
    let state = format!("az keyvault certificate pending show --vault-name {vault} --name {name}");
    let what = format!("the certificate {name} is pending: it is requested and not issued yet, see {state}");
    let next_step = Some("have it issued (after an issuer outside Key Vault: az keyvault certificate pending merge), or mark the reference optional");
    Failure { next_step, ..Failure::new(Class::NotFound, what) }
}

/// The address behind a link to the next page. A link to anywhere but the vault would take the token with it.
fn within(vault: &VaultUrl, link: &str) -> Result<String, Failure> {
    let split = link.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
    match split {
        Some((authority, rest))
            if format!("https://{authority}").parse().as_ref() == Ok(vault) && rest.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(format!("{vault}/{rest}"))
        }
        _ => {
            let shown = one_line(link.split('?').next().unwrap_or_default());
            Err(Failure::new(
                Class::Format,
                format!("the list of secrets goes on outside of {}, at {shown:?}; it was not followed", vault.authority()),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
