use super::*;
use crate::tls::{Data, Entry};

const DAY: i64 = 24 * 3600;
const NOW: i64 = 1_800_000_000;

fn terms(names: &[&str]) -> Terms {
    let lifetime = |days: i64| Duration::from_secs(u64::try_from(days * DAY).unwrap());
    Terms { leaf_lifetime: lifetime(30), authority_lifetime: lifetime(360), names: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn usual() -> Terms {
    terms(&["hook.ns.svc", "127.0.0.1"])
}

/// A registration whose entries hold these bundles.
fn trusting(bundles: &[&str]) -> Trust {
    let entry = |bundle: &&str| Entry { webhook: "hook".into(), server_name: "hook.ns.svc".into(), ca_bundle: bundle.as_bytes().to_vec() };
    Trust::Entries(bundles.iter().map(entry).collect())
}

/// A step with nothing known of the registration.
fn at(state: Option<&State>, now: i64) -> Step {
    step(state.cloned(), "", &Trust::Unknown, now, &usual()).unwrap()
}

fn first() -> State {
    at(None, NOW).state
}

fn leaf_verifies(state: &State, bundle: &str, name: &str, now: i64) -> bool {
    verify(bundle.as_bytes(), &state.leaf.pair().unwrap(), name, now).is_ok()
}

#[test]
fn where_nothing_is_found_there_is_a_ca_and_a_leaf_for_every_name() {
    let Step { state, changes } = at(None, NOW);
    assert_eq!(changes, [Change::NewAuthority, Change::NewLeaf]);
    assert_eq!((state.leaf.pair().unwrap().not_after(), state.signer.validity().unwrap().not_after), (NOW + 30 * DAY, NOW + 360 * DAY));
    assert_eq!((&state.next, state.retired.len(), state.bundle()), (&None, 0, state.signer.certificate.clone()));
    for (name, now, holds) in [
        ("hook.ns.svc", NOW, true),
        ("127.0.0.1", NOW, true),
        ("hook.ns.svc", NOW - 3599, true),
        ("hook.ns.svc", NOW - 3602, false),
        ("hook.ns.svc", NOW + 30 * DAY + 1, false),
        ("other.ns.svc", NOW, false),
        ("127.0.0.2", NOW, false),
    ] {
        assert_eq!(leaf_verifies(&state, &state.bundle(), name, now), holds, "{name} {}", now - NOW);
    }
    assert!(!leaf_verifies(&state, &first().bundle(), "hook.ns.svc", NOW), "another CA's bundle");
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life() {
    let state = first();
    assert_eq!(at(Some(&state), NOW + 20 * DAY - 1), Step { state: state.clone(), changes: vec![] });
    let renewed = at(Some(&state), NOW + 20 * DAY);
    assert_eq!(renewed.changes, [Change::NewLeaf]);
    assert_eq!((&renewed.state.signer, renewed.state.leaf.pair().unwrap().not_after()), (&state.signer, NOW + 50 * DAY));
}

#[test]
fn the_next_ca_signs_only_after_every_bundle_was_seen_to_hold_it() {
    let now = NOW + 240 * DAY;
    let before = at(Some(&first()), now - 1).state;
    assert_eq!(before.next, None);
    let Step { state, changes } = at(Some(&before), now);
    assert_eq!(changes, [Change::NextAuthority]);
    let next = state.next.clone().unwrap();
    assert_eq!(state.bundle(), format!("{}{}", state.signer.certificate, next.certificate));

    let (old, new) = (before.bundle(), state.bundle());
    for trust in [Trust::Unknown, trusting(&[&old, &old]), trusting(&[&new, &old]), trusting(&["", &new])] {
        let waiting = step(Some(state.clone()), "", &trust, now + 1, &usual()).unwrap();
        assert_eq!(waiting, Step { state: state.clone(), changes: vec![] }, "{trust:?}");
    }
    for trust in [Trust::Absent, trusting(&[&new, &new])] {
        let Step { state: promoted, changes } = step(Some(state.clone()), "", &trust, now + 1, &usual()).unwrap();
        assert_eq!(changes, [Change::Promoted, Change::NewLeaf]);
        assert_eq!((&promoted.signer, &promoted.next), (&next, &None));
        let until = state.leaf.pair().unwrap().not_after();
        assert_eq!(promoted.retired, [Retired { certificate: state.signer.certificate.clone(), until }]);
        assert_eq!(promoted.bundle(), format!("{}{}", next.certificate, state.signer.certificate));
        assert!(
            leaf_verifies(&promoted, &next.certificate, "hook.ns.svc", now + 1) && leaf_verifies(&state, &promoted.bundle(), "127.0.0.1", now + 1)
        );
        assert!(!at(Some(&promoted), until - 1).changes.contains(&Change::Dropped));
        let dropped = at(Some(&promoted), until);
        assert!(dropped.changes.contains(&Change::Dropped), "{:?}", dropped.changes);
        assert_eq!(dropped.state.bundle(), next.certificate);
    }
}

#[test]
fn beside_an_expiring_ca_a_leaf_lives_no_longer_and_is_not_renewed_for_nothing() {
    let mut state = at(Some(&first()), NOW + 345 * DAY).state;
    assert_eq!(state.leaf.pair().unwrap().not_after(), NOW + 360 * DAY);
    for day in 346..360 {
        let Step { state: same, changes } = at(Some(&state), NOW + day * DAY);
        assert_eq!(changes, [], "day {day}");
        state = same;
    }
}

#[test]
fn a_ca_that_expired_gives_way_at_once() {
    let state = first();
    let late = at(Some(&state), NOW + 400 * DAY);
    assert_eq!(late.changes, [Change::NewAuthority, Change::NewLeaf]);
    assert_eq!(late.state.bundle(), late.state.signer.certificate);
    assert!(leaf_verifies(&late.state, &late.state.bundle(), "hook.ns.svc", NOW + 400 * DAY));

    let waiting = at(Some(&state), NOW + 300 * DAY).state;
    let promoted = at(Some(&waiting), NOW + 400 * DAY);
    assert_eq!(promoted.changes, [Change::Promoted, Change::NewLeaf, Change::Dropped]);
    assert_eq!(Some(&promoted.state.signer), waiting.next.as_ref());
}

#[test]
fn names_that_are_missing_bring_a_new_leaf_and_names_too_many_do_not() {
    let state = first();
    let with = |names: &[&str], now| step(Some(state.clone()), "", &Trust::Unknown, now, &terms(names)).unwrap();
    assert_eq!(with(&["127.0.0.1"], NOW + DAY).changes, []);
    assert_eq!(with(&["hook.ns.svc", "::1"], NOW + 9).changes, [], "replicas of a rollout do not outdo each other");
    let renewed = with(&["hook.ns.svc", "::1"], NOW + 10);
    assert_eq!(renewed.changes, [Change::NewLeaf]);
    assert!(leaf_verifies(&renewed.state, &state.bundle(), "::1", NOW + 10));
}

fn data(state: &State) -> Data {
    let mut data = Data::new();
    state.write(&mut data);
    data
}

#[test]
fn what_is_unusable_is_made_again_and_nothing_else() {
    let (state, other) = (first(), first());
    let changed = |change: &dyn Fn(&mut Data)| {
        let mut data = data(&state);
        change(&mut data);
        step(State::read(&data), "", &Trust::Unknown, NOW + DAY, &usual()).unwrap().changes
    };
    let anew = vec![Change::NewAuthority, Change::NewLeaf];
    assert_eq!(changed(&|_| ()), []);
    assert_eq!(changed(&|data| drop(data.remove("ca.key"))), anew);
    assert_eq!(changed(&|data| drop(data.insert("ca.crt".into(), b"none".into()))), anew);
    assert_eq!(changed(&|data| drop(data.insert("ca.key".into(), other.signer.key.expose().into()))), anew);
    assert_eq!(changed(&|data| drop(data.remove("tls.key"))), [Change::NewLeaf]);
    assert_eq!(changed(&|data| drop(data.insert("tls.crt".into(), b"\xff".into()))), [Change::NewLeaf]);
    assert_eq!(changed(&|data| drop(data.insert("tls.key".into(), other.leaf.key.expose().into()))), [Change::NewLeaf]);
    let others_leaf = |data: &mut Data| {
        data.insert("tls.crt".into(), other.leaf.certificate.clone().into());
        data.insert("tls.key".into(), other.leaf.key.expose().into());
    };
    assert_eq!(changed(&others_leaf), [Change::NewLeaf]);

    // A CA that somebody brought along has another name than the one that our leaves would name.
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let foreign = params.self_signed(&key).unwrap().pem();
    let foreign_ca = |data: &mut Data| {
        data.insert("ca.crt".into(), foreign.clone().into());
        data.insert("ca.key".into(), key.serialize_pem().into());
    };
    assert_eq!(changed(&foreign_ca), anew);
}

#[test]
fn cas_that_clients_trust_outlive_the_secret_by_one_leaf() {
    let (old, expired) = (at(Some(&first()), NOW + 239 * DAY).state, Issued::authority(NOW, Duration::from_secs(60)).unwrap());
    let now = NOW + 239 * DAY;
    let adopted = format!("junk\n{0}{1}{0}", old.bundle(), expired.certificate);
    let Step { state, changes } = step(None, &adopted, &Trust::Unknown, now, &usual()).unwrap();
    assert_eq!(changes, [Change::NewAuthority, Change::NewLeaf]);
    assert_eq!(state.retired, [Retired { certificate: old.signer.certificate.clone(), until: now + 30 * DAY }]);
    assert!(leaf_verifies(&old, &state.bundle(), "hook.ns.svc", now));
    let late = step(None, &old.bundle(), &Trust::Unknown, NOW + 350 * DAY, &usual()).unwrap().state;
    assert_eq!(late.retired[0].until, NOW + 360 * DAY, "nothing lives longer than its own validity");
}

#[test]
fn a_state_survives_the_secret_and_shows_no_key() {
    let with_next = at(Some(&first()), NOW + 240 * DAY).state;
    let mut state = step(Some(with_next.clone()), "", &Trust::Absent, NOW + 240 * DAY, &usual()).unwrap().state;
    state.next = Some(Issued::authority(NOW, Duration::from_secs(60)).unwrap());
    let mut data = data(&with_next);
    data.insert("note".into(), b"by hand".into());
    data.insert("retired-1.crt".into(), b"old".into());
    state.write(&mut data);
    assert_eq!(State::read(&data).as_ref(), Some(&state));
    let until = state.retired[0].until;
    let keys = ["ca.crt", "ca.key", "next-ca.crt", "next-ca.key", "note", &format!("retired-{until}.crt"), "tls.crt", "tls.key"];
    assert_eq!(data.keys().collect::<Vec<_>>(), keys);
    assert_eq!(data["ca.crt"], state.bundle().into_bytes());
    assert!(!format!("{state:?}").contains("PRIVATE KEY-----"));
}
