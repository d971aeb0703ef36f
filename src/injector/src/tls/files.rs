//! A certificate that others renew on disk: two files, re-read on a timer.
//!
//! A timer and no file events: a kubelet swaps a symlink, and watches on what lies behind it go deaf after the first renewal.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::certificate::{Pair, PairError};
use super::gate::{Gate, Offer};
use super::trust::Trust;

/// The two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Leaf first, then its chain.
    pub cert_file: PathBuf,
    /// The leaf's private key.
    pub key_file: PathBuf,
}

/// Why the files cannot be served. It names both, since either may be the wrong one.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One of them cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// Which one.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Both can be read and do not serve.
    #[error("{cert_file} and {key_file}: {error}")]
    Pair {
        /// The certificate's file.
        cert_file: PathBuf,
        /// The key's file.
        key_file: PathBuf,
        /// What is wrong with them.
        error: PairError,
    },
}

impl CertificateFiles {
    /// Reads both files. A mismatch is read a second time: the first may have straddled a renewal.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub fn load(&self) -> Result<Pair, FilesError> {
        match self.load_once() {
            Err(FilesError::Pair { error: PairError::Mismatch(_), .. }) => self.load_once(),
            result => result,
        }
    }

    fn load_once(&self) -> Result<Pair, FilesError> {
        Pair::from_pem(&read(&self.cert_file)?, &read(&self.key_file)?).map_err(|error| FilesError::Pair {
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            error,
        })
    }

    /// Offers the files to `gate` at once, every `period` and whenever `trust` changes, and reports each time, for ever. Files that cannot be served
    /// leave the last good pair where it is. `clock` gives the seconds since 1970.
    pub async fn follow(
        self,
        gate: Gate,
        mut trust: watch::Receiver<Trust>,
        period: Duration,
        clock: impl Fn() -> i64,
        report: impl Fn(Result<Offer, FilesError>),
    ) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = trust.changed() => {}
            }
            // Two small files of a memory volume: not worth another thread.
            let trust = trust.borrow().clone();
            report(self.load().map(|pair| gate.offer(pair, &trust, clock())));
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, FilesError> {
    std::fs::read(file).map_err(|error| FilesError::Read { file: file.to_owned(), error })
}
