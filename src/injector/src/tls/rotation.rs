//! One step in the life of our certificates: what the Secret holds and what the API server was seen to trust → what the Secret should hold.
//!
//! Any replica may take any step at any time; what it read may be old. Two things make that safe: the Secret is only ever replaced in the version
//! that was read, and a CA signs only after every `caBundle` was seen to hold it.

use std::time::Duration;

use super::certificate::Pair;
use super::issue::{BACKDATE, IssueError, Issued, PrivateKey};
use super::state::{Retired, State, pem_text};
use super::trust::{Trust, certificates, verify};
use super::validity::{Validity, validity};

/// What certificates should be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Of a serving certificate.
    pub leaf_lifetime: Duration,
    /// Of a CA: at least three times that of a leaf.
    pub authority_lifetime: Duration,
    /// DNS names and IP addresses that a leaf is for; not empty.
    pub names: Vec<String>,
}

/// What a step has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no usable CA: there is one, with a leaf.
    NewAuthority,
    /// The CA that comes next has been made.
    NextAuthority,
    /// The next CA signs from now on.
    Promoted,
    /// There is a new leaf.
    NewLeaf,
    /// The last leaf of a CA has expired: the CA is gone.
    Dropped,
}

/// A state, and how it differs from what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the Secret should hold.
    pub state: State,
    /// Empty where it holds that already.
    pub changes: Vec<Change>,
}

/// Takes every step that is due at `now`, in seconds since 1970. `found` is what the Secret holds, if that is usable. Where it is not, `adopted`
/// (PEM) are the CAs that clients trust by now: they stay for the lifetime of a leaf, so that what is being served with them stays good.
///
/// # Errors
/// [`IssueError`] where a certificate cannot be made.
pub fn step(found: Option<State>, adopted: &str, trust: &Trust, now: i64, terms: &Terms) -> Result<Step, IssueError> {
    let mut changes = Vec::new();
    let mut state = match found {
        Some(mut state) => {
            state.next = state.next.filter(|next| current(next, now));
            if current(&state.signer, now) || state.next.is_some() { state } else { anew(state.retired, "", now, terms, &mut changes)? }
        }
        None => anew(Vec::new(), adopted, now, terms, &mut changes)?,
    };
    if state.next.is_none() && state.signer.validity().is_none_or(|validity| past_two_thirds(validity, now)) {
        state.next = Some(Issued::authority(now, terms.authority_lifetime)?);
        changes.push(Change::NextAuthority);
    }
    // A CA that expired before its successor was seen everywhere has no leaf left to protect.
    let lost = !current(&state.signer, now);
    let promoted = state.next.take_if(|next| lost || trust.holds_everywhere(&next.certificate));
    let must_sign = promoted.is_some();
    if let Some(next) = promoted {
        let until = state.leaf.validity().map_or(now, |validity| validity.not_after);
        let retired = std::mem::replace(&mut state.signer, next);
        state.retired.push(Retired { certificate: retired.certificate, until });
        changes.push(Change::Promoted);
    }
    if must_sign || leaf_is_due(&state, now, terms) {
        state.leaf = state.signer.leaf(&terms.names, now, terms.leaf_lifetime)?;
        changes.push(Change::NewLeaf);
    }
    let before = state.retired.len();
    state.retired.retain(|retired| retired.until > now);
    if state.retired.len() < before {
        changes.push(Change::Dropped);
    }
    Ok(Step { state, changes })
}

/// A new CA. The leaf is left to the rule for leaves.
fn anew(mut retired: Vec<Retired>, adopted: &str, now: i64, terms: &Terms, changes: &mut Vec<Change>) -> Result<State, IssueError> {
    let signer = Issued::authority(now, terms.authority_lifetime)?;
    let last_leaf = now.saturating_add_unsigned(terms.leaf_lifetime.as_secs());
    for certificate in certificates(adopted.as_bytes()) {
        let Some(Validity { not_after, .. }) = validity(&certificate) else { continue };
        let adopted = Retired { certificate: pem_text(&certificate), until: last_leaf.min(not_after) };
        if not_after > now && retired.iter().all(|known| known.certificate != adopted.certificate) {
            retired.push(adopted);
        }
    }
    changes.push(Change::NewAuthority);
    Ok(State { signer, next: None, retired, leaf: Issued { certificate: String::new(), key: PrivateKey::new(String::new()) } })
}

fn current(authority: &Issued, now: i64) -> bool {
    authority.validity().is_some_and(|validity| validity.not_after > now)
}

/// Of the time since it was made; the back-dated hour does not count.
fn past_two_thirds(Validity { not_before, not_after }: Validity, now: i64) -> bool {
    let made = not_before + BACKDATE;
    (now - made) * 3 >= (not_after - made) * 2
}

fn leaf_is_due(state: &State, now: i64, terms: &Terms) -> bool {
    let (Ok(leaf), Some(signer)) = (state.leaf.pair(), state.signer.validity()) else { return true };
    let signed = |name: &String| verify(state.signer.certificate.as_bytes(), &leaf, name, now).is_ok();
    // Beside an expiring CA, a new leaf would expire no later than the old one.
    let gains = leaf.not_after() < signer.not_after;
    (gains && past_two_thirds(leaf.validity(), now)) || !terms.names.iter().all(signed) && settled(&leaf, now)
}

/// During a rollout that changes the names, old and new replicas each miss some: they may replace each other's leaves, but not without a pause.
fn settled(leaf: &Pair, now: i64) -> bool {
    const PAUSE: i64 = 10;
    now - (leaf.validity().not_before + BACKDATE) >= PAUSE
}

#[cfg(test)]
mod tests;
