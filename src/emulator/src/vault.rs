//! The Key Vault plane. A request is judged in Key Vault's own order: token, throttle, api-version, path, permission, object.

mod api_version;
mod caller;
pub(super) mod certificates;
mod common;
mod contents;
mod headers;
mod keys;
pub(super) mod limits;
mod page;
mod pending;
pub(super) mod policy;
mod properties;
mod refusal;
mod saved;
mod secrets;
mod seed;
mod store;
mod throttle;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::call::Call;
use super::clock;
use super::config::{Grant, Permission, RefusalWords, Vault};
use super::faults::{Answer, Forbid, Outage, Plane};
use super::plane;
use super::world::World;
use caller::Caller;
use contents::Contents;
use keyvault_common::names::{Guid, ObjectKind, VaultName};
use refusal::Refusal;
use throttle::Throttle;

/// A vault while the emulator runs.
pub(super) struct LiveVault {
    name: VaultName,
    tenant: Guid,
    refusal: RefusalWords,
    grants: Vec<Grant>,
    throttle: Option<Mutex<Throttle>>,
    /// For how long a self-signed certificate is in progress.
    pending_for: Duration,
    contents: Mutex<Contents>,
}

impl LiveVault {
    /// Makes what the configuration asks for; the error names vault and object.
    pub(super) fn new(mut vault: Vault, first_tenant: &Guid) -> Result<LiveVault, String> {
        let contents = Contents::seeded(&mut vault, clock::now())?;
        Ok(LiveVault {
            name: vault.name,
            tenant: vault.tenant.unwrap_or_else(|| first_tenant.clone()),
            refusal: vault.refusal,
            grants: vault.grants,
            throttle: vault.throttle.map(|limit| Mutex::new(Throttle::new(limit))),
            pending_for: vault.pending_for,
            contents: Mutex::new(contents),
        })
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Everything in it as of now.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.settle(clock::now());
        contents
    }

    fn throttle(&self) -> Result<(), Refusal> {
        let Some(throttle) = &self.throttle else { return Ok(()) };
        let admitted = throttle.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if admitted { Ok(()) } else { Err(Refusal::Throttled) }
    }

    fn allows(&self, caller: &Guid, kind: ObjectKind, verb: &str) -> bool {
        let permits = |permission: &Permission| match permission {
            Permission::All => true,
            Permission::Kind(allowed) => *allowed == kind,
            Permission::One(allowed, word) => *allowed == kind && *word == verb,
        };
        self.grants.iter().filter(|grant| grant.identity == *caller).any(|grant| grant.allow.iter().any(permits))
    }
}

/// Every path that no other service claims.
pub(super) async fn handle(State(world): State<Arc<World>>, request: Request) -> Response {
    plane::serve(world, Plane::Vault, request, answer).await
}

async fn answer(world: Arc<World>, call: Call) -> Response {
    let client_request_id = call.headers.get("x-ms-client-request-id").cloned();
    let mut response = match world.vault(call.called()) {
        Some(vault) => admitted(&world, vault, call).await,
        None => nowhere(&world, &call),
    };
    headers::add(response.headers_mut(), client_request_id);
    response
}

async fn admitted(world: &World, vault: &LiveVault, call: Call) -> Response {
    let challenge = challenge(vault, &call);
    match Caller::authenticate(world, vault, &call) {
        Err(refusal) => refusal.response(&challenge),
        Ok(caller) => {
            let (fault, forbid) = match world.faults.answer(Plane::Vault, &call.path) {
                Some(Answer::Forbid(forbid)) => (None, Some(forbid)),
                fault => (fault, None),
            };
            let served = async { serve(caller, call, forbid).await.unwrap_or_else(|refusal| refusal.response(&challenge)) };
            plane::scripted(fault, |outage| bad_day(outage, &challenge), served).await
        }
    }
}

/// Azure knows no such host; here a misspelt name must not reach another vault.
fn nowhere(world: &World, call: &Call) -> Response {
    let (host, name, vaults) = (call.host(), call.called().label().to_owned(), world.vault_names());
    tracing::warn!(host, vaults, "no vault has this name: the first label of the host names the vault");
    Refusal::NoVault { name, vaults }.response("")
}

async fn serve(mut caller: Caller<'_>, call: Call, forbid: Option<Forbid>) -> Result<Response, Refusal> {
    caller.forbid(forbid, &call)?;
    caller.vault.throttle()?;
    api_version::check(call.query("api-version"))?;
    let collection = call.path.split('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    match collection {
        "secrets" | "deletedsecrets" => secrets::serve(&caller, call),
        "certificates" | "deletedcertificates" => certificates::serve(&caller, call).await,
        "keys" | "deletedkeys" => keys::serve(&caller, call).await,
        _ => Err(Refusal::NoSuchPath),
    }
}

/// The tenant of the vault that was called, and the resource that its tokens are for.
fn challenge(vault: &LiveVault, call: &Call) -> String {
    let called = call.called();
    format!("Bearer authorization=\"{}/{}\", resource=\"{}\"", called.authority(), vault.tenant, called.resource())
}

/// Front ends that are down answer in text, the service itself in JSON.
fn bad_day(outage: Outage, challenge: &str) -> Response {
    match outage.status {
        StatusCode::TOO_MANY_REQUESTS => Refusal::Throttled.response(challenge),
        StatusCode::SERVICE_UNAVAILABLE => super::call::typed(outage.status, "text/html", "<h2>Our services aren't available right now</h2>"),
        status => Refusal::Scripted(status).response(challenge),
    }
}
