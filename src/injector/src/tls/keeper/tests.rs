//! A year of rotations: replicas that act in random order on objects that they read late, and every certificate a real one.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::yield_now;

use super::*;
use crate::tls::{Certificates, Entry, Gate, Pair};

const DAY: i64 = 24 * 3600;
const HOUR: i64 = 3600;
const START: i64 = 1_800_000_000;

/// xorshift: the same run for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What the API server holds, and the replicas that serve.
struct World {
    now: i64,
    dice: Dice,
    secret: Option<Stored<u64>>,
    version: u64,
    entries: Vec<Entry>,
    /// Somebody has spoilt the registration, and nobody has repaired it yet.
    forged: bool,
    ready: HashMap<usize, Certificates>,
    /// Hashes of chains and the bundles that verify them.
    verified: HashSet<u64>,
    creations: usize,
    promotions: usize,
    leaves: usize,
    repairs: usize,
}

impl World {
    fn trust(&self) -> Trust {
        Trust::Entries(self.entries.clone())
    }

    /// What must hold at every moment: every ready replica serves what every entry takes.
    fn check(&mut self) {
        if self.forged {
            return;
        }
        let trust = self.trust();
        for (replica, certificates) in &self.ready {
            let pair = certificates.pair();
            let bundles: Vec<&[u8]> = self.entries.iter().map(|entry| &entry.ca_bundle[..]).collect();
            // Nothing that verified once stops doing so but by the time.
            let known = !self.verified.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one((pair.chain(), bundles)));
            if known && self.now < pair.not_after() {
                continue;
            }
            if let Err(distrust) = trust.accepts(&pair, self.now) {
                panic!("replica {replica} would fail reviews at hour {}: {distrust}", (self.now - START) / HOUR);
            }
        }
    }

    /// A CA comes from nowhere only where there is none.
    fn note(&mut self, data: &Data) {
        let new = State::read(data).expect("a usable state");
        match self.secret.as_ref().and_then(|stored| State::read(&stored.data)) {
            None => self.creations += 1,
            Some(old) if old.signer.validity().unwrap().not_after <= self.now => self.creations += 1,
            Some(old) if old.signer != new.signer => {
                assert_eq!(old.next.as_ref(), Some(&new.signer), "two lineages at hour {}", (self.now - START) / HOUR);
                self.promotions += 1;
            }
            Some(old) => self.leaves += usize::from(old.leaf != new.leaf),
        }
    }
}

/// The API server does not answer, or did and nobody heard it.
#[derive(Debug, thiserror::Error)]
#[error("away")]
struct Away;

#[derive(Clone)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// An answer takes its time: others act meanwhile. Some questions fail, before or after they were heard.
    async fn ask<T>(&self, question: impl FnOnce(&mut World) -> T) -> Result<T, Away> {
        self.pause().await;
        let answer = {
            let mut world = self.0.lock().unwrap();
            if world.dice.one_in(20) {
                return Err(Away);
            }
            let answer = question(&mut world);
            world.check();
            answer
        };
        self.pause().await;
        if self.0.lock().unwrap().dice.one_in(20) { Err(Away) } else { Ok(answer) }
    }

    async fn pause(&self) {
        let pauses = self.0.lock().unwrap().dice.below(4);
        for _ in 0..pauses {
            yield_now().await;
        }
    }
}

impl Objects for Shared {
    type Version = u64;
    type Error = Away;

    async fn secret(&self) -> Result<Option<Stored<u64>>, Away> {
        self.ask(|world| world.secret.clone()).await
    }

    async fn registration(&self) -> Result<Trust, Away> {
        self.ask(|world| world.trust()).await
    }

    async fn write(&self, data: &Data, over: Option<&u64>) -> Result<Option<u64>, Away> {
        self.ask(|world| {
            if world.secret.as_ref().map(|stored| stored.version) != over.copied() {
                return None;
            }
            world.note(data);
            world.version += 1;
            world.secret = Some(Stored { data: data.clone(), version: world.version });
            Some(world.version)
        })
        .await
    }

    async fn repair(&self, entries: &[Entry], bundle: &str) -> Result<bool, Away> {
        self.ask(|world| {
            let tests = world.entries.iter().zip(entries).all(|(now, then)| then.ca_bundle == bundle.as_bytes() || now == then);
            if tests {
                world.entries.iter_mut().for_each(|entry| entry.ca_bundle = bundle.into());
                (world.forged, world.repairs) = (false, world.repairs + 1);
            }
            tests
        })
        .await
    }
}

/// A replica with what it has heard so far, in the order that `cluster` does things in.
struct Replica {
    number: usize,
    world: Shared,
    keeper: Keeper<Shared>,
    kept: Kept<u64>,
    trust: Trust,
    /// When the registration was last heard of: late at times, but not by days.
    heard: i64,
    gate: Gate,
    certificates: Certificates,
    awaited: watch::Receiver<Option<String>>,
}

impl Replica {
    async fn start(number: usize, world: &Shared, terms: &Terms) -> Replica {
        let keeper = Keeper::new(world.clone(), terms.clone());
        let now = world.0.lock().unwrap().now;
        let kept = loop {
            let Ok(secret) = world.secret().await else { continue };
            if let Ok(kept) = keeper.update(View { secret, trust: &Trust::Unknown, remembered: "" }, now).await {
                break kept;
            }
        };
        let certificates = Certificates::new(kept.state.leaf.pair().unwrap());
        let awaited = watch::Sender::new(None);
        let waiting = awaited.subscribe();
        let gate = Gate::new(certificates.clone(), "hook", awaited, now);
        Replica { number, world: world.clone(), keeper, kept, trust: Trust::Unknown, heard: 0, gate, certificates, awaited: waiting }
    }

    /// Hears of some changes, not of others; then does what there is to do.
    async fn act(&mut self) {
        let (secret, now) = {
            let mut world = self.world.0.lock().unwrap();
            let overdue = world.now - self.heard > 8 * HOUR;
            if overdue || world.dice.one_in(2) {
                (self.trust, self.heard) = (world.trust(), world.now);
            }
            let secret = if !overdue && world.dice.one_in(2) { Some(self.kept.stored.clone()) } else { world.secret.clone() };
            (secret, world.now)
        };
        let remembered = self.kept.state.bundle();
        if let Ok(kept) = self.keeper.update(View { secret, trust: &self.trust, remembered: &remembered }, now).await {
            self.kept = kept;
            // A failure is tried again, and what is known by now is offered all the same.
            let _ = self.keeper.repair(&mut self.kept, &self.trust).await;
        }
        self.offer(self.kept.state.leaf.pair().unwrap());
    }

    fn offer(&self, pair: Pair) {
        let mut world = self.world.0.lock().unwrap();
        self.gate.offer(pair, &self.trust, world.now);
        if self.awaited.borrow().is_none() {
            world.ready.insert(self.number, self.certificates.clone());
        }
        world.check();
    }
}

fn world(seed: u64) -> Shared {
    let entry = |webhook: &str, server_name: &str| Entry { webhook: webhook.into(), server_name: server_name.into(), ca_bundle: Vec::new() };
    Shared(Arc::new(Mutex::new(World {
        now: START,
        dice: Dice(seed),
        secret: None,
        version: 0,
        entries: vec![entry("pods", "hook.ns.svc"), entry("workloads", "127.0.0.1")],
        forged: false,
        ready: HashMap::new(),
        verified: HashSet::new(),
        creations: 0,
        promotions: 0,
        leaves: 0,
        repairs: 0,
    })))
}

fn terms() -> Terms {
    let days = |days: u64| Duration::from_hours(24 * days);
    Terms { leaf_lifetime: days(10), authority_lifetime: days(30), names: vec!["hook.ns.svc".into(), "127.0.0.1".into()] }
}

/// What operators and their tools do.
fn meddle(world: &mut World) -> bool {
    if world.forged || world.secret.is_none() {
        return false;
    }
    match world.dice.below(240) {
        0..4 => {
            let which = usize::try_from(world.dice.below(3)).unwrap();
            let spoil = |(index, entry): (usize, &mut Entry)| {
                if which == 2 || which == index {
                    entry.ca_bundle = b"forged".into();
                }
            };
            world.entries.iter_mut().enumerate().for_each(spoil);
            world.forged = true;
            false
        }
        4 => {
            world.secret = None;
            true
        }
        _ => false,
    }
}

async fn a_year(seed: u64) {
    let (world, terms) = (world(seed), terms());
    let mut replicas = join_all((0..3).map(|number| Replica::start(number, &world, &terms))).await;
    let mut deletions = 0;
    while world.0.lock().unwrap().now < START + 365 * DAY {
        deletions += usize::from(meddle(&mut world.0.lock().unwrap()));
        let (restarted, awake) = {
            let mut world = world.0.lock().unwrap();
            // Some sleep; nobody sleeps for ever.
            let awake = if world.dice.one_in(6) { 7 } else { world.dice.below(8) };
            (world.dice.one_in(20).then(|| usize::try_from(world.dice.below(3)).unwrap()), awake)
        };
        if let Some(number) = restarted {
            world.0.lock().unwrap().ready.remove(&number);
            replicas[number] = Replica::start(number, &world, &terms).await;
        }
        join_all(replicas.iter_mut().enumerate().filter(|(number, _)| awake & (1 << number) != 0).map(|(_, replica)| replica.act())).await;
        let mut world = world.0.lock().unwrap();
        let most = if world.forged || world.secret.is_none() { 1 } else { 14 };
        let pause = world.dice.below(most);
        world.now += i64::try_from(pause).unwrap() * HOUR;
        world.check();
    }
    let world = world.0.lock().unwrap();
    let (creations, promotions, leaves, repairs) = (world.creations, world.promotions, world.leaves, world.repairs);
    println!("seed {seed}: {creations} creations, {promotions} promotions, {leaves} further leaves, {repairs} repairs");
    assert!((deletions..=deletions + 1).contains(&creations), "{creations} CAs from nothing after {deletions} deletions");
    assert!(promotions >= 2 && leaves >= 20 && repairs >= 10, "the year was too quiet");
}

#[tokio::test]
async fn a_year_of_rotations_fails_no_review() {
    for seed in [42, 1971] {
        a_year(seed).await;
    }
}

#[tokio::test]
async fn a_cluster_that_was_off_for_longer_than_a_ca_lives_comes_back() {
    let (world, terms) = (world(7), terms());
    let mut replica = Replica::start(0, &world, &terms).await;
    for _ in 0..4 {
        replica.act().await;
    }
    {
        let mut world = world.0.lock().unwrap();
        assert_eq!(world.ready.len(), 1);
        (world.forged, world.now) = (true, START + 500 * DAY);
        world.ready.clear();
    }
    for _ in 0..8 {
        replica.act().await;
    }
    let world = world.0.lock().unwrap();
    assert!(!world.forged);
    assert_eq!(world.trust().accepts(&replica.certificates.pair(), world.now), Ok(()));
}

#[test]
fn a_secret_as_it_was_read_shows_no_key() {
    let stored = Stored { data: Data::from([("tls.key".to_owned(), b"PRIVATE".to_vec())]), version: 7 };
    assert_eq!(format!("{stored:?}"), r#"Stored { data: ["tls.key"], version: 7 }"#);
}
