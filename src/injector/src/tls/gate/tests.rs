use super::*;
use crate::tls::{Entry, Issued};
use std::time::Duration;

const NOW: i64 = 1_800_000_000;
const LIFE: i64 = 1_000_000;

struct Made {
    ca: String,
    pair: Pair,
}

fn made(now: i64) -> Made {
    let authority = Issued::authority(now, Duration::from_secs(10_000_000)).unwrap();
    let leaf = authority.leaf(&["a.example".to_owned(), "127.0.0.1".to_owned()], now, Duration::from_secs(LIFE.unsigned_abs())).unwrap();
    Made { ca: authority.certificate.clone(), pair: leaf.pair().unwrap() }
}

fn entry(webhook: &str, server_name: &str, bundle: &str) -> Entry {
    Entry { webhook: webhook.into(), server_name: server_name.into(), ca_bundle: bundle.into() }
}

/// Two entries, asked for by different names.
fn trusting(first: &str, second: &str) -> Trust {
    Trust::Entries(vec![entry("one", "a.example", first), entry("two", "127.0.0.1", second)])
}

fn gate(first: &Made) -> (Gate, watch::Receiver<Option<String>>) {
    let awaited = watch::Sender::new(None);
    let waiting = awaited.subscribe();
    (Gate::new(Certificates::new(first.pair.clone()), "zz-hook", awaited, NOW), waiting)
}

#[test]
fn readiness_waits_for_every_entry_in_words_and_never_comes_back() {
    let (first, other) = (made(NOW), made(NOW));
    let (gate, awaited) = gate(&first);
    let waits_for = |trust: &Trust| {
        assert_eq!(gate.offer(first.pair.clone(), trust, NOW), Offer::Serving);
        awaited.borrow().clone()
    };
    let of = "MutatingWebhookConfiguration zz-hook: ";
    assert_eq!(waits_for(&Trust::Unknown), Some(format!("{of}it has not been read yet")));
    let two = format!("{of}caBundle of webhook \"two\" does not verify the certificate for 127.0.0.1: ");
    assert_eq!(waits_for(&trusting(&first.ca, "")), Some(format!("{two}it holds no certificate that is valid now")));
    assert_eq!(waits_for(&trusting(&first.ca, &other.ca)), Some(format!("{two}no certificate in it has signed ours")));
    let wrong_name = Trust::Entries(vec![entry("one", "b.example", &first.ca)]);
    assert!(waits_for(&wrong_name).unwrap().contains("for b.example: invalid peer certificate: certificate not valid for name"));
    assert_eq!(waits_for(&trusting(&first.ca, &format!("{}{}", other.ca, first.ca))), None);
    for later in [Trust::Unknown, trusting("", "")] {
        assert_eq!(waits_for(&later), None);
    }
}

#[test]
fn an_absent_registration_is_nothing_to_wait_for() {
    let (first, second) = (made(NOW), made(NOW));
    let (gate, awaited) = gate(&first);
    assert_eq!(gate.offer(first.pair, &Trust::Absent, NOW), Offer::Serving);
    assert_eq!(*awaited.borrow(), None);
    assert_eq!(gate.offer(second.pair, &Trust::Absent, NOW), Offer::Replaced);
}

#[test]
fn a_new_pair_waits_until_every_entry_takes_it() {
    let (first, second) = (made(NOW), made(NOW + 1));
    let both = format!("{}{}", first.ca, second.ca);
    let (gate, _awaited) = gate(&first);
    gate.offer(first.pair.clone(), &trusting(&first.ca, &first.ca), NOW);
    for trust in [Trust::Unknown, trusting(&first.ca, &first.ca), trusting(&both, &first.ca), trusting(&first.ca, "")] {
        let offer = gate.offer(second.pair.clone(), &trust, NOW + 1);
        assert!(matches!(offer, Offer::Waiting(_)), "{offer:?}");
        assert!(gate.certificates.serves(&first.pair));
    }
    let trust = trusting(&both, &both);
    for now in [NOW + 2, NOW + 11] {
        assert_eq!(gate.offer(second.pair.clone(), &trust, now), Offer::Waiting(Distrust::Fresh));
    }
    assert_eq!(gate.offer(second.pair.clone(), &trust, NOW + 12), Offer::Replaced);
    assert!(gate.certificates.serves(&second.pair));
}

#[test]
fn a_pair_that_is_about_to_expire_gives_way() {
    let (first, second) = (made(NOW), made(NOW + 1));
    let (gate, _awaited) = gate(&first);
    let trust = trusting(&first.ca, &first.ca);
    gate.offer(first.pair.clone(), &trust, NOW);
    assert!(matches!(gate.offer(second.pair.clone(), &trust, NOW + LIFE - 61), Offer::Waiting(_)));
    assert_eq!(gate.offer(second.pair, &trust, NOW + LIFE - 60), Offer::Replaced);
}

#[test]
fn who_is_not_ready_serves_the_newest_pair_at_once() {
    let (first, second) = (made(NOW), made(NOW + 1));
    let (gate, awaited) = gate(&first);
    assert_eq!(gate.offer(second.pair, &trusting(&first.ca, &first.ca), NOW + 1), Offer::Replaced);
    assert!(awaited.borrow().is_some());
}

#[test]
fn a_trusted_pair_need_not_settle_where_the_one_before_it_is_trusted_no_more() {
    let (first, second) = (made(NOW), made(NOW + 1));
    let (gate, _awaited) = gate(&first);
    gate.offer(first.pair.clone(), &trusting(&first.ca, &first.ca), NOW);
    assert_eq!(gate.offer(second.pair, &trusting(&second.ca, &second.ca), NOW + 1), Offer::Replaced);
}
