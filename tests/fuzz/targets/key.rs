//! A JSON Web Key of Key Vault: public part as PEM and as JSON.

#![no_main]

use keyvault_client::Jwk;
use keyvault_delivery::format::Key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(key) = serde_json::from_str::<Jwk>(text).map_err(drop).and_then(|jwk| Key::read(&jwk).map_err(drop)) else { return };
    let _ = key.pem();
    let again: Jwk = serde_json::from_slice(key.jwk().expose()).expect("what was written is JSON");
    assert!(Key::read(&again).is_ok_and(|again| again == key), "what was written is the same key");
});
