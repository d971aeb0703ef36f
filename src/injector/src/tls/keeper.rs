//! Keeps the Secret and every `caBundle` as they should be, even if others do the same at the same time.

use std::fmt;
use std::future::Future;

use super::issue::IssueError;
use super::rotation::{Change, Step, Terms, step};
use super::state::{Data, State};
use super::trust::{Entry, Trust};

/// A Secret as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored<V> {
    /// Its data.
    pub data: Data,
    /// Which of its versions this is.
    pub version: V,
}

/// The data holds private keys: its keys are shown, never what they hold.
impl<V: fmt::Debug> fmt::Debug for Stored<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("data", &self.data.keys()).field("version", &self.version).finish()
    }
}

/// The two objects, wherever they are. Reads are of the newest version there is.
pub trait Objects: Sync {
    /// Tells versions of the Secret apart.
    type Version: Clone + Send + Sync;
    /// Why an object could not be read or written.
    type Error: std::error::Error + Send;

    /// The Secret, if there is one.
    fn secret(&self) -> impl Future<Output = Result<Option<Stored<Self::Version>>, Self::Error>> + Send;

    /// The registration.
    fn registration(&self) -> impl Future<Output = Result<Trust, Self::Error>> + Send;

    /// Replaces the Secret in exactly this version, or creates it; the new version, or `None` where somebody was faster.
    fn write(&self, data: &Data, over: Option<&Self::Version>) -> impl Future<Output = Result<Option<Self::Version>, Self::Error>> + Send;

    /// Sets `caBundle` of all entries that do not hold `bundle`, if all are still as in `entries`; whether that was so.
    fn repair(&self, entries: &[Entry], bundle: &str) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// Why the two objects could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError<E> {
    /// An object could not be read or written.
    #[error(transparent)]
    Objects(E),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Others wrote the Secret each time before we did.
    #[error("others keep changing the Secret")]
    Contended,
}

/// What an update starts from. All of it may be old.
#[derive(Clone, Debug)]
pub struct View<'v, V> {
    /// The Secret; `None` where there is none, or nothing is known of it.
    pub secret: Option<Stored<V>>,
    /// The registration.
    pub trust: &'v Trust,
    /// PEM: what every `caBundle` should have held until now.
    pub remembered: &'v str,
}

/// The Secret after an update.
#[derive(Clone, Debug)]
pub struct Kept<V> {
    /// What it holds.
    pub state: State,
    /// As it is stored.
    pub stored: Stored<V>,
    /// What was changed in it, by us.
    pub changes: Vec<Change>,
}

/// How often an update tries to be first.
const ATTEMPTS: usize = 5;

/// Keeps the two objects.
pub struct Keeper<O> {
    objects: O,
    terms: Terms,
}

impl<O: Objects> Keeper<O> {
    /// A keeper of these objects.
    #[must_use]
    pub fn new(objects: O, terms: Terms) -> Keeper<O> {
        Keeper { objects, terms }
    }

    /// The objects.
    #[must_use]
    pub fn objects(&self) -> &O {
        &self.objects
    }

    /// Brings the Secret up to date at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn update(&self, view: View<'_, O::Version>, now: i64) -> Result<Kept<O::Version>, KeepError<O::Error>> {
        let mut seen = view.secret;
        for _ in 0..ATTEMPTS {
            let found = seen.as_ref().and_then(|stored| State::read(&stored.data));
            let adopted = if found.is_none() { self.trusted_now(view.remembered).await? } else { String::new() };
            let Step { state, changes } = step(found, &adopted, view.trust, now, &self.terms)?;
            let (mut data, version) = seen.map(|stored| (stored.data, Some(stored.version))).unwrap_or_default();
            let version = match version {
                Some(version) if changes.is_empty() => Some(version),
                over => {
                    state.write(&mut data);
                    self.objects.write(&data, over.as_ref()).await.map_err(KeepError::Objects)?
                }
            };
            if let Some(version) = version {
                return Ok(Kept { state, stored: Stored { data, version }, changes });
            }
            seen = self.objects.secret().await.map_err(KeepError::Objects)?;
        }
        Err(KeepError::Contended)
    }

    /// Brings every `caBundle` up to date where one was seen to be wrong; whether it was us who did so.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn repair(&self, kept: &mut Kept<O::Version>, trust: &Trust) -> Result<bool, KeepError<O::Error>> {
        if !wrong(trust, &kept.state.bundle()) {
            return Ok(false);
        }
        // Only a Secret that is read after the registration knows every CA that the registration may need.
        let Some(stored) = self.objects.secret().await.map_err(KeepError::Objects)? else { return Ok(false) };
        let Some(state) = State::read(&stored.data) else { return Ok(false) };
        (kept.state, kept.stored) = (state, stored);
        let (entries, bundle) = (trust.entries().unwrap_or_default(), kept.state.bundle());
        Ok(wrong(trust, &bundle) && self.objects.repair(entries, &bundle).await.map_err(KeepError::Objects)?)
    }

    /// Every CA that something being served may rest on.
    async fn trusted_now(&self, remembered: &str) -> Result<String, KeepError<O::Error>> {
        let registration = self.objects.registration().await.map_err(KeepError::Objects)?;
        let bundles = registration.entries().unwrap_or_default().iter().map(|entry| String::from_utf8_lossy(&entry.ca_bundle).into_owned());
        Ok(bundles.chain([remembered.to_owned()]).collect::<Vec<_>>().join("\n"))
    }
}

fn wrong(trust: &Trust, bundle: &str) -> bool {
    trust.entries().is_some_and(|entries| entries.iter().any(|entry| entry.ca_bundle != bundle.as_bytes()))
}

#[cfg(test)]
mod tests;
