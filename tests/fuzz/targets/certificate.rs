//! The value of a secret behind a certificate: PKCS#12 in base64, or PEM.

#![no_main]

use std::ops::Range;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyvault_common::plan::CertificatePart;
use keyvault_common::secret::SecretValue;
use keyvault_delivery::format::Certificate;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|stored: &[u8]| {
    let Ok(certificate) = Certificate::read(&SecretValue::new(stored.to_vec())) else { return };
    let _ = certificate.remarks(SystemTime::UNIX_EPOCH);
    for part in [CertificatePart::Chain, CertificatePart::Key, CertificatePart::Ca] {
        certificate.part(part, None).expect("only a PFX can be impossible to write");
    }
    if certificate.has_key() {
        let bundle = certificate.bundle();
        let again = Certificate::read(&bundle).expect("what was written can be read");
        assert!(again.bundle() == bundle, "what was read is written as it was");
    }
});

// Most changes of base64 are no base64: what it stands for is changed instead.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let Some(text) = changed_inside(&data[..size], seed).filter(|text| text.len() <= max_size) else {
        return fuzzer_mutate(data, size, max_size);
    };
    data[..text.len()].copy_from_slice(&text);
    text.len()
});

fn changed_inside(text: &[u8], seed: u32) -> Option<Vec<u8>> {
    if seed.is_multiple_of(8) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let bodies = bodies(text);
    let body = bodies.get(seed as usize / 8 % bodies.len().max(1))?.clone();
    let letters: String = text[body.clone()].split_ascii_whitespace().collect();
    let mut der = STANDARD.decode(letters).ok()?;
    let size = der.len();
    der.resize(size + 64, 0);
    let size = fuzzer_mutate(&mut der, size, size + 64);
    Some([&text[..body.start], "\n", &STANDARD.encode(&der[..size]), "\n", &text[body.end..]].concat().into_bytes())
}

/// What stands between the lines of PEM; all of it where there are none.
fn bodies(text: &str) -> Vec<Range<usize>> {
    let mut lines = text.match_indices("-----").map(|(at, _)| at);
    let mut bodies = Vec::new();
    while let (Some(_), Some(begun), Some(end), Some(_)) = (lines.next(), lines.next(), lines.next(), lines.next()) {
        bodies.push(begun + 5..end);
    }
    if bodies.is_empty() { vec![0..text.len()] } else { bodies }
}
