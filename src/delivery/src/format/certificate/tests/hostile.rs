//! Hostile input: whatever a file holds, reading it does not panic.

use super::*;
use crate::format::pkcs12::tests::plain;

/// Reads whatever came, and makes every file of it.
fn survive(file: &[u8]) {
    let Ok(contents) = pkcs12::read(file) else { return };
    let mut parts = Parts::default();
    contents.keys.iter().for_each(|der| drop(parts.key(PrivateKey::from_pkcs8(der.expose()))));
    contents.certificates.iter().for_each(|der| drop(parts.certificate(der)));
    let Ok(certificate) = parts.arrange() else { return };
    for part in [CertificatePart::Chain, CertificatePart::Key, CertificatePart::Ca, CertificatePart::Bundle] {
        assert!(certificate.part(part, None).is_ok());
    }
}

fn decoded(name: &str) -> Vec<u8> {
    encoding::decode(&SecretValue::from(file(&format!("{name}.b64"))), Encoding::Base64).unwrap().expose().to_vec()
}

#[test]
fn no_byte_of_a_file_can_be_changed_so_that_reading_panics() {
    for (name, step) in [("kv-rsa-chain3-root-first", 5), ("kv-ec-p256", 29), ("kv-ec-p384", 97), ("kv-ec-p521", 199)] {
        // As it is, a change is caught by the MAC; laid open, it gets to the bottom.
        let laid_open = plain(&pkcs12::read(&decoded(name)).unwrap());
        assert!(pkcs12::read(&laid_open).is_ok(), "{name}");
        for at in (0..laid_open.len()).step_by(step) {
            let mut changed = laid_open.clone();
            for value in [0, 0x80, 0xff, laid_open[at].wrapping_add(1)] {
                changed[at] = value;
                survive(&changed);
            }
            survive(&laid_open[..at]);
        }
    }
    for name in vectors() {
        let file = decoded(&name);
        for at in (0..file.len()).step_by(701) {
            let mut changed = file.clone();
            changed[at] ^= 0x55;
            survive(&changed);
            survive(&file[..at]);
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 400,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7292),
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn files_put_together_from_pieces_never_panic(
        cuts in proptest::collection::vec((0usize..15, 0.0f64..1.0, 0.0f64..0.3), 1..6),
        noise in proptest::collection::vec((0.0f64..1.0, proptest::prelude::any::<u8>()), 0..8),
    ) {
        static FILES: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| vectors().iter().map(|name| decoded(name)).collect());
        let mut file = Vec::new();
        for (vector, start, length) in cuts {
            let piece = &FILES[vector];
            let at = |share: f64| ((piece.len() as f64) * share) as usize;
            file.extend_from_slice(&piece[at(start)..(at(start) + at(length)).min(piece.len())]);
        }
        for (share, byte) in noise {
            let at = ((file.len() as f64) * share) as usize;
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
        }
        survive(&file);
        let text = text(&pem::text([("CERTIFICATE", file.as_slice()), ("PRIVATE KEY", &file), ("EC PRIVATE KEY", &file), ("RSA PRIVATE KEY", &file)]));
        proptest::prop_assert!(read(&text).is_err());
    }
}
