//! Certificates: what the vault keeps behind them, and the files that come of it.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::world::{Plan, World};

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pfx").join(name)).unwrap()
}

/// `NAME.expected.pem` as key and certificates.
fn parts(name: &str) -> Vec<String> {
    let text = fixture(name);
    let lines: Vec<&str> = text.split_inclusive("-----\n").collect();
    lines.chunks(2).map(|pair| pair.concat()).collect()
}

/// A plan for the parts of one certificate of `demo`, each in a file of the part's name.
fn plan(world: &World, name: &str, parts: &[&str]) -> Plan {
    let plan = world.plan().with("/fetch", json!([{"id": "c", "certificate": {"vault": world.vault("demo"), "name": name}}]));
    let entries: Vec<_> =
        parts.iter().map(|part| json!({"file": format!("{name}/{part}"), "mode": "0400", "value": {"certificate": "c", "part": part}})).collect();
    plan.with("/directories", json!([{"path": "/keyvault/files", "entries": entries}]))
}

fn texts(world: &World) -> Vec<(String, String)> {
    world.files("keyvault/files").into_iter().map(|(name, (_, bytes))| (name, String::from_utf8(bytes).unwrap())).collect()
}

#[test]
fn a_certificate_of_the_vault_becomes_the_files_of_its_parts() {
    let world = World::new();
    for (name, vector) in [("tls-root-first", "kv-rsa-chain3-root-first"), ("tls-pem", "kv-rsa-chain3"), ("tls-ec", "kv-ec-p521")] {
        let run = world.run(&plan(&world, name, &["chain", "key", "ca", "bundle"]));
        assert_eq!(run.code, 0, "{}", run.log);
        let parts = parts(&format!("{vector}.expected.pem"));
        let file = |part: &str| format!("{name}/{part}");
        let expected = vec![
            (file("bundle"), parts.concat()),
            (file("ca"), parts[parts.len() - 1].clone()),
            (file("chain"), parts[1..].concat()),
            (file("key"), parts[0].clone()),
        ];
        assert_eq!(texts(&world), expected);
        assert!(!run.log.contains("WARN") && !run.log.contains("PRIVATE KEY"), "{}", run.log);
    }
}

#[test]
fn what_is_imported_comes_out_as_it_went_in_whatever_the_vault_makes_of_it() {
    let world = World::new();
    let vectors = ["kv-rsa-selfsigned", "kv-rsa-chain3", "kv-rsa-chain3-root-first", "kv-ec-p256", "kv-ec-p384", "kv-ec-p521", "kv-ec-chain3"];
    let (mut fetch, mut entries, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for vector in vectors {
        let parts = parts(&format!("{vector}.expected.pem"));
        let backwards: String = parts.iter().rev().map(String::as_str).collect();
        let pem = parts.concat();
        for (form, value) in
            [("pfx", fixture(&format!("{vector}.b64"))), ("pem", pem.clone()), ("pem64", BASE64_STANDARD.encode(&pem)), ("backwards", backwards)]
        {
            // The emulator writes the PFX again: its writer and the agent's reader have nothing in common.
            for kept in ["x-pkcs12", "x-pem-file"] {
                let name = format!("{vector}-{form}-{kept}");
                let policy = json!({"secret_props": {"contentType": format!("application/{kept}")}});
                world.call("POST", &format!("/certificates/{name}/import"), &json!({"value": value, "policy": policy}));
                let secret = world.call("GET", &format!("/secrets/{name}"), &json!(null));
                assert_eq!(secret["value"].as_str().unwrap().contains("-----BEGIN"), kept == "x-pem-file", "{name}");
                fetch.push(json!({"id": name, "certificate": {"vault": world.vault("demo"), "name": name}}));
                entries.push(json!({"file": name, "mode": "0400", "value": {"certificate": name, "part": "bundle"}}));
                expected.push((name, pem.clone()));
            }
        }
    }
    let run = world.run(&world.plan().with("/fetch", json!(fetch)).with("/directories", json!([{"path": "/keyvault/files", "entries": entries}])));
    assert_eq!(run.code, 0, "{}", run.log);
    assert!(!run.log.contains("WARN"), "{}", run.log);
    expected.sort();
    assert_eq!(texts(&world), expected);
}

#[test]
fn a_pinned_version_of_a_certificate_has_the_key_and_the_chain_of_that_version() {
    let world = World::new();
    let versions = ["kv-ec-p256", "kv-rsa-chain3"].map(|vector| {
        let imported = world.call("POST", "/certificates/renewed/import", &json!({"value": fixture(&format!("{vector}.b64"))}));
        (imported["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned(), fixture(&format!("{vector}.expected.pem")))
    });
    for (version, expected) in [(Some(&versions[0].0), &versions[0].1), (Some(&versions[1].0), &versions[1].1), (None, &versions[1].1)] {
        let mut plan = plan(&world, "renewed", &["bundle"]);
        if let Some(version) = version {
            plan = plan.with("/fetch/0/certificate/version", json!(version));
        }
        let run = world.run(&plan);
        assert_eq!(run.code, 0, "{}", run.log);
        assert_eq!(texts(&world), [("renewed/bundle".to_owned(), expected.clone())]);
    }
}

#[test]
fn a_pfx_is_the_stored_one_or_a_new_one_behind_a_password() {
    let world = World::new();
    let run = world.run(&plan(&world, "tls-root-first", &["pfx"]));
    assert_eq!(run.code, 0, "{}", run.log);
    let stored = world.files("keyvault/files")["tls-root-first/pfx"].1.clone();
    let mut locked = plan(&world, "tls-root-first", &["pfx"]).file("password", &world.vault("demo"), "db-password", json!({}));
    locked.0["directories"][0]["entries"][0]["value"]["password"] = json!("1");
    let run = world.run(&locked);
    assert_eq!(run.code, 0, "{}", run.log);
    let written = world.files("keyvault/files")["tls-root-first/pfx"].1.clone();
    assert_eq!(&stored[..4], [0x30, 0x82, 0x10, 0xda], "as it is stored");
    assert!(written.starts_with(&[0x30, 0x82]) && written != stored);
}

#[test]
fn a_certificate_without_its_private_key_leaves_the_key_out_and_says_so() {
    let world = World::new();
    let run = world.run(&plan(&world, "tls-public", &["chain", "key", "ca"]));
    assert_eq!(run.code, 0, "{}", run.log);
    let parts = parts("kv-rsa-chain3.expected.pem");
    assert_eq!(texts(&world), [("tls-public/ca".to_owned(), parts[3].clone()), ("tls-public/chain".to_owned(), parts[1..].concat())]);
    let line = "INFO tls-public/key: left out, because the certificate came without a private key: its policy says that it is not exportable";
    assert!(run.log.contains(line), "{}", run.log);
    assert!(run.log.contains("INFO demo/tls-public: it came without its private key"), "{}", run.log);
    let run = world.run(&plan(&world, "tls-public", &["pfx"]));
    assert_eq!(run.code, 65, "{}", run.log);
    assert!(run.termination.starts_with("format demo/tls-public: file tls-public/pfx: it has no private key"), "{}", run.termination);
}

#[test]
fn a_gap_in_the_chain_is_a_warning_in_the_log() {
    let world = World::new();
    let run = world.run(&plan(&world, "tls-gap", &["chain", "ca"]));
    assert_eq!(run.code, 0, "{}", run.log);
    let line = "WARN demo/tls-gap: the chain ends at CN=app.example.test: its issuer CN=kv vector intermediate is not stored with it";
    assert!(run.log.contains(line), "{}", run.log);
    let parts = parts("kv-rsa-chain3.expected.pem");
    assert_eq!(texts(&world), [("tls-gap/ca".to_owned(), parts[3].clone()), ("tls-gap/chain".to_owned(), parts[1].clone())]);
}

#[test]
fn certificates_that_cannot_be_read_are_named_and_the_old_files_stay() {
    let world = World::new();
    assert_eq!(world.run(&world.plan_for(&["db-password"])).code, 0);
    let before = world.files("keyvault/files");
    for (name, expected) in [
        (
            "tls-mismatch",
            "the private key belongs to none of the certificates (CN=ec256.example.test): store key and certificate that were made together",
        ),
        ("tls-rc2", "the PKCS#12 file cannot be read: it is encrypted with RC2, which is not read: write it again with 3DES or AES"),
        ("db-password", "the PKCS#12 file cannot be read: it is damaged, or no PKCS#12 at all, at byte 0"),
    ] {
        let run = world.run(&plan(&world, name, &["chain"]));
        assert_eq!(run.code, 65, "{}", run.log);
        assert!(run.termination.starts_with(&format!("format demo/{name}: {expected}; ")), "{}", run.termination);
        assert_eq!(world.files("keyvault/files"), before);
    }
}
