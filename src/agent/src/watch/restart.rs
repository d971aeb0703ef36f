//! When the sidecar ends so that the kubelet restarts all containers of the pod: some time after the files that they were started with were replaced.
//!
//! What they were started with, and when, is remembered beside the files: the volume outlives both a restart that was asked for here, after which
//! there is nothing to do, and one of the sidecar alone, after which there still is.

use std::fs;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::directory::{DATA, replace};
use keyvault_common::names::AbsolutePath;
use keyvault_common::plan::RestartAll;

/// Beside `..data` of the first directory. No file of a plan begins with two dots.
const RECORD: &str = "..restart.json";
/// Nobody else reads it.
const MODE: u32 = 0o400;

/// What the containers were started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// When, in milliseconds since 1970.
    at: u64,
    /// What the `..data` of each directory pointed to.
    data: Vec<PathBuf>,
}

/// Decides when to end.
#[derive(Debug)]
pub(super) struct Restart<'p> {
    plan: &'p RestartAll,
    started: Record,
    due: Option<Instant>,
}

impl<'p> Restart<'p> {
    /// To be called once all files are in place. The pod's start counts as a restart.
    pub(super) fn begin(plan: &'p RestartAll, now: SystemTime) -> Restart<'p> {
        let found = read(&file(&plan.watch)).filter(|record| record.data.len() == plan.watch.len());
        let is_first = found.is_none();
        let mut restart = Restart { plan, started: found.unwrap_or_else(|| current(&plan.watch, now)), due: None };
        if is_first && let Err(error) = restart.remember(now) {
            tracing::warn!("{RECORD}: {error}");
        }
        restart
    }

    /// Whether files were replaced since. `random` is from 0 up to 1 and says which part of the spread this pod waits; changes meanwhile are met by the
    /// same restart.
    pub(super) fn look(&mut self, now: SystemTime, random: f64) {
        if self.due.is_some() || current(&self.plan.watch, now).data == self.started.data {
            return;
        }
        let since = Duration::from_millis(milliseconds(now).saturating_sub(self.started.at));
        // Last, for replicas that started together would otherwise restart together.
        let wait = self.plan.restarts_apart.get().saturating_sub(since) + self.plan.spread.get().mul_f64(random.clamp(0.0, 1.0));
        tracing::info!("values changed: all containers are restarted in {} s", wait.as_secs());
        self.due = Instant::now().checked_add(wait);
    }

    /// Waits until it is time.
    pub(super) async fn is_due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Remembers what the containers will be started with. Without that they would be restarted again and again.
    pub(super) fn remember(&mut self, now: SystemTime) -> io::Result<()> {
        self.due = None;
        let started = current(&self.plan.watch, now);
        // Where it cannot be written, the next try comes as late as if it had been.
        self.started.at = started.at;
        replace(&file(&self.plan.watch), MODE, &serde_json::to_vec(&started)?)?;
        self.started = started;
        Ok(())
    }
}

fn file(watch: &[AbsolutePath]) -> PathBuf {
    watch.first().map_or_else(PathBuf::new, |directory| Path::new(directory.as_str()).join(RECORD))
}

fn read(file: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn current(watch: &[AbsolutePath], now: SystemTime) -> Record {
    let link = |directory: &AbsolutePath| Path::new(directory.as_str()).join(DATA).read_link().unwrap_or_default();
    Record { at: milliseconds(now), data: watch.iter().map(link).collect() }
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two directories that have files.
    fn folders() -> (tempfile::TempDir, RestartAll) {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(root.path().join(name)).unwrap();
            point(&root, name, "..1");
        }
        let watch = ["a", "b"].map(|name| root.path().join(name).to_str().unwrap().parse().unwrap()).to_vec();
        (root, RestartAll::new(watch, "5m".parse().unwrap()))
    }

    fn point(root: &tempfile::TempDir, name: &str, target: &str) {
        let link = root.path().join(name).join(DATA);
        let _ = fs::remove_file(&link);
        symlink(target, link).unwrap();
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    /// In how many seconds it is due.
    fn due(restart: &Restart<'_>) -> Option<u64> {
        restart.due.map(|due| (due - Instant::now()).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_met_ten_minutes_after_the_start_and_after_this_pods_part_of_the_spread() {
        for (changed, random, expected) in [(60, 0.0, 540), (60, 0.5, 690), (599, 0.1, 31), (5_000, 0.0, 0), (5_000, 0.5, 150)] {
            let (root, plan) = folders();
            let mut restart = Restart::begin(&plan, at(0));
            restart.look(at(changed), random);
            assert_eq!(due(&restart), None, "nothing changed");
            point(&root, "b", "..2");
            restart.look(at(changed), random);
            point(&root, "a", "..2");
            restart.look(at(changed), 0.9);
            assert_eq!(due(&restart), Some(expected), "{changed} s after the start");
            restart.is_due().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_leaves_nothing_to_do_and_the_next_one_is_ten_minutes_apart() {
        let (root, plan) = folders();
        let mut before = Restart::begin(&plan, at(0));
        point(&root, "a", "..2");
        before.look(at(5_000), 0.0);
        before.remember(at(5_000)).unwrap();

        let mut after = Restart::begin(&plan, at(5_002));
        after.look(at(5_002), 0.0);
        assert_eq!(due(&after), None);
        point(&root, "a", "..3");
        after.look(at(5_062), 0.0);
        assert_eq!(due(&after), Some(538), "not from the sidecar's own start");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_was_restarted_alone_remembers_what_is_still_to_do() {
        let (root, plan) = folders();
        Restart::begin(&plan, at(0)).look(at(1), 0.0);
        point(&root, "a", "..2");
        let mut again = Restart::begin(&plan, at(30));
        again.look(at(30), 0.0);
        assert_eq!(due(&again), Some(570));
        let mut later = Restart::begin(&plan, at(700));
        later.look(at(700), 0.0);
        assert_eq!(due(&later), Some(0));
        let mut by_a_clock_set_back = Restart::begin(&plan, UNIX_EPOCH);
        by_a_clock_set_back.look(UNIX_EPOCH, 0.0);
        assert_eq!(due(&by_a_clock_set_back), Some(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_cannot_be_written_is_no_reason_to_restart_without_end() {
        let (root, plan) = folders();
        let mut restart = Restart::begin(&plan, at(0));
        point(&root, "a", "..2");
        restart.look(at(5_000), 0.0);
        fs::create_dir(root.path().join("a/..restart.tmp")).unwrap();
        assert!(restart.remember(at(5_000)).is_err());
        restart.look(at(5_001), 0.0);
        assert_eq!(due(&restart), Some(599));
        fs::remove_dir(root.path().join("a/..restart.tmp")).unwrap();
        fs::File::create(root.path().join("a/..restart.new")).and_then(|mut file| io::Write::write_all(&mut file, b"{}")).unwrap();
        fs::rename(root.path().join("a/..restart.new"), root.path().join("a").join(RECORD)).unwrap();
        let mut broken = Restart::begin(&plan, at(6_000));
        broken.look(at(6_000), 0.0);
        assert_eq!(due(&broken), None, "a broken record is none");
    }
}
