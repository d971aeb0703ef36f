//! Who calls, and whether they may.

use crate::call::Call;
use crate::clock;
use crate::config::RefusalWords;
use crate::faults::Forbid;
use crate::tokens::{self, Claims};
use crate::world::World;

use super::LiveVault;
use super::refusal::{Action, Forbidden, Refusal, Why};

/// A caller whose token is good for this vault.
pub(super) struct Caller<'w> {
    pub(super) vault: &'w LiveVault,
    claims: Claims,
    /// Refuse in these words whatever the permissions are.
    refuse: Option<RefusalWords>,
}

impl<'w> Caller<'w> {
    /// Checks the token as Key Vault does, before anything else of the request is looked at.
    pub(super) fn authenticate(world: &World, vault: &'w LiveVault, call: &Call) -> Result<Caller<'w>, Refusal> {
        let (scheme, token) = call.header("authorization").and_then(|value| value.split_once(' ')).ok_or(Refusal::MissingToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::MissingToken);
        }
        let claims = world.token_key.check(token.trim()).ok_or(Refusal::UnknownKey)?;
        let (audience, issuer) = (call.called().resource(), tokens::issuer(&vault.tenant));
        if claims.exp <= clock::now() {
            Err(Refusal::TokenExpired)
        } else if claims.aud != audience {
            Err(Refusal::InvalidAudience { expected: audience, found: claims.aud })
        } else if claims.iss != issuer {
            Err(Refusal::InvalidIssuer { expected: issuer, found: claims.iss })
        } else {
            Ok(Caller { vault, claims, refuse: None })
        }
    }

    /// A scripted refusal: of the network at once, of permissions where they are asked for.
    pub(super) fn forbid(&mut self, forbid: Option<Forbid>, call: &Call) -> Result<(), Refusal> {
        match forbid {
            None => Ok(()),
            Some(Forbid::Permission(words)) => {
                self.refuse = Some(words);
                Ok(())
            }
            Some(Forbid::Firewall) => Err(self.forbidden(Why::Firewall { address: address(call) })),
            Some(Forbid::Connection) => Err(self.forbidden(Why::Connection)),
        }
    }

    pub(super) fn permit(&self, action: Action) -> Result<(), Refusal> {
        if self.refuse.is_none() && self.vault.allows(&self.claims.appid, action.kind, action.verb) {
            return Ok(());
        }
        let words = self.refuse.unwrap_or(self.vault.refusal);
        Err(self.forbidden(Why::Permission { words, action }))
    }

    fn forbidden(&self, why: Why) -> Refusal {
        Refusal::Forbidden(Box::new(Forbidden {
            why,
            caller: format!("appid={};oid={}", self.claims.appid, self.claims.oid),
            issuer: self.claims.iss.clone(),
            vault: self.vault.name().to_owned(),
        }))
    }
}

fn address(call: &Call) -> String {
    call.peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
}
