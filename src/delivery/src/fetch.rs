//! From the plan to all its values, or to all its problems. Touches no disk but what the identity needs.

mod gate;
mod pace;
mod selection;

use std::collections::HashMap;
use std::time::SystemTime;

use futures::future::join_all;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::format::{self, Values};
use gate::Gate;
use keyvault_client::{Class, Client, Failure, Network, Retry, Stored};
use keyvault_common::names::VaultUrl;
use keyvault_common::plan::{Fetch, Object};
pub use selection::select;

/// What a panic is to a reader of the log.
const UNREADABLE: &str = "the certificate cannot be read";

/// The versions of fetched objects by the plan's ids; empty where an answer does not say.
pub type Versions<'p> = HashMap<&'p str, String>;

/// How one object could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {failure}")]
pub struct Problem {
    /// `vault/name`, or several of them where they share one failure.
    pub object: String,
    /// Why.
    pub failure: Failure,
}

/// Reads every object of the plan: from each vault one first, and then at most 64 at a time. All are tried, so that all problems are known at once.
///
/// # Errors
/// Every object that could not be had, in the plan's order. An optional one that does not exist is no problem.
pub async fn fetch<'p, N: Network>(client: &Client<'_, N>, objects: &'p [Fetch], retry: &Retry) -> Result<(Values<'p>, Versions<'p>), Vec<Problem>> {
    client.sign_in().await.map_err(|failure| vec![Problem { object: all(objects), failure }])?;
    let gates: HashMap<&VaultUrl, Gate> = objects.iter().map(|fetch| (&fetch.object.vault, Gate::new(retry.deadline(), retry.jitter()))).collect();
    let reads = join_all(objects.iter().map(|fetch| read(client, fetch, &gates[&fetch.object.vault], retry.clone()))).await;
    let (mut values, mut versions, mut problems) = (Values::new(), Versions::new(), Vec::new());
    for (Fetch { id, object, .. }, result) in objects.iter().zip(reads) {
        match result {
            Ok((value, version)) => {
                values.insert(id.as_str(), value);
                versions.insert(id.as_str(), version);
            }
            Err(failure) if object.optional && failure.class == Class::NotFound => {
                tracing::info!("{}: does not exist, left out ({failure})", label(object));
            }
            Err(failure) => problems.push(Problem { object: label(object), failure }),
        }
    }
    if problems.is_empty() { Ok((values, versions)) } else { Err(problems) }
}

async fn read<N: Network>(
    client: &Client<'_, N>,
    Fetch { kind, object, .. }: &Fetch,
    gate: &Gate,
    retry: Retry,
) -> Result<(format::Object, String), Failure> {
    let stored = through(gate, retry, &label(object), async || client.read(*kind, object).await).await?;
    tracing::info!("{}: read", label(object));
    let version = stored.version().to_owned();
    Ok((open(object, stored).await?, version))
}

/// Finds out what a fetched object is made of, and says what is remarkable about it.
///
/// # Errors
/// A certificate or key that is not one.
pub async fn open(object: &Object, stored: Stored) -> Result<format::Object, Failure> {
    let read = if format::derives_keys(&stored) {
        // Meanwhile this thread answers others.
        spawn_blocking(move || format::Object::read(stored)).await.map_err(|_| Failure::new(Class::Format, UNREADABLE))?
    } else {
        format::Object::read(stored)
    };
    let read = read.map_err(|error| Failure::new(Class::Format, error.to_string()))?;
    if let format::Object::Certificate(certificate) = &read {
        tell(object, certificate);
    }
    Ok(read)
}

/// Asks a vault until something comes of it, in its turn.
async fn through<T>(gate: &Gate, retry: Retry, subject: &str, mut ask: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let attempt = async || {
        let pass = gate.enter().await;
        let result = gate.learn(ask().await, Instant::now());
        drop(pass);
        result
    };
    retry.run(subject, attempt).await.map_err(|failure| gate.explain(failure))
}

fn tell(object: &Object, certificate: &format::Certificate) {
    for remark in certificate.remarks(SystemTime::now()) {
        if remark.is_warning {
            tracing::warn!("{}: {}", label(object), remark.text);
        } else {
            tracing::info!("{}: {}", label(object), remark.text);
        }
    }
}

/// How messages name an object.
#[must_use]
pub fn label(object: &Object) -> String {
    let version = object.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
    format!("{}/{}{version}", object.vault.name(), object.name)
}

/// Names objects that share one failure.
#[must_use]
pub fn all(objects: &[Fetch]) -> String {
    match objects {
        [] => "no object".to_owned(),
        [only] => label(&only.object),
        [first, rest @ ..] => format!("{} and {} more", label(&first.object), rest.len()),
    }
}

#[cfg(test)]
mod tests;
