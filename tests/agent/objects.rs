//! Certificates and keys as the vault itself has them, with the secret behind a certificate.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Plan, World};

/// A plan for one object of `vault`, with one file for each value.
fn plan(world: &World, kind: &str, vault: &str, name: &str, values: &[(&str, Value)]) -> Plan {
    let plan = world.plan().with("/fetch", json!([{"id": "0", kind: {"vault": world.vault(vault), "name": name}}]));
    let entries: Vec<_> = values.iter().map(|(file, value)| json!({"file": file, "mode": "0400", "value": value})).collect();
    plan.with("/directories", json!([{"path": "/keyvault/files", "entries": entries}]))
}

fn folder() -> [(&'static str, Value); 3] {
    [("tls.crt", "chain"), ("tls.key", "key"), ("ca.crt", "ca")].map(|(file, part)| (file, json!({"certificate": "0", "part": part})))
}

fn text(world: &World, file: &str) -> Option<String> {
    world.files("keyvault/files").get(file).map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
}

#[test]
fn certificates_of_the_vault_become_folders_whatever_they_are_kept_as() {
    let world = World::new();
    for (name, calls) in [("cert-pfx", 1), ("cert-pem", 1)] {
        world.reset_calls();
        let run = world.run(&plan(&world, "certificate", "demo", name, &folder()));
        assert_eq!(run.code, 0, "{}", run.log);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pfx/kv-rsa-chain3.expected.pem");
        let expected = std::fs::read_to_string(path).unwrap();
        let written = text(&world, "tls.key").unwrap() + &text(&world, "tls.crt").unwrap();
        assert_eq!(written, expected, "{name}");
        assert_eq!(world.calls("vault"), json!({"200": calls}));
    }
    let run = world.run(&plan(&world, "certificate", "demo", "cert-made", &folder()));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(text(&world, "ca.crt"), text(&world, "tls.crt"), "self-signed");
}

#[test]
fn the_secret_of_a_certificate_is_key_and_chain_as_pem_or_its_file() {
    let world = World::new();
    for name in ["cert-pfx", "cert-pem"] {
        let secret = plan(&world, "secret", "demo", name, &[("all.pem", json!({"object": "0"}))]);
        assert_eq!(world.run(&secret).code, 0);
        let written = text(&world, "all.pem").unwrap();
        assert!(written.starts_with("-----BEGIN PRIVATE KEY-----\n") && written.matches("BEGIN CERTIFICATE").count() == 3, "{name}");
    }
    let file = plan(&world, "secret", "demo", "cert-pfx", &[("all.pfx", json!({"object": "0", "encoding": "base64"}))]);
    assert_eq!(world.run(&file).code, 0);
    assert_eq!(&world.files("keyvault/files")["all.pfx"].1[..2], [0x30, 0x82]);
}

#[test]
fn a_certificate_that_is_requested_and_not_issued_says_so() {
    let world = World::new();
    let policy = json!({"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=asked.example"}, "key_props": {"kty": "EC", "crv": "P-256"}});
    world.call("POST", "/certificates/asked/create", &json!({"policy": policy}));
    let plan = plan(&world, "certificate", "demo", "asked", &folder());
    let pending = "the certificate asked is pending: it is requested and not issued yet, see az keyvault certificate pending show --vault-name demo --name asked";
    let run = world.run(&plan);
    assert_eq!(run.code, 66, "{}", run.log);
    let advice = "have it issued (after an issuer outside Key Vault: az keyvault certificate pending merge), or mark the reference optional";
    assert_eq!(run.termination, format!("not-found demo/asked: {pending}; {advice}\n"));
    let run = world.run(&plan.with("/fetch/0/certificate/optional", json!(true)));
    assert_eq!(run.code, 0, "{}", run.log);
    assert!(run.log.contains(&format!("INFO demo/asked: does not exist, left out ({pending})\n")), "{}", run.log);
}

#[test]
fn a_key_that_stays_in_the_vault_leaves_the_public_part_and_a_line() {
    let world = World::new();
    let run = world.run(&plan(&world, "certificate", "demo", "cert-kept", &folder()));
    assert_eq!(run.code, 0, "{}", run.log);
    assert!(text(&world, "tls.crt").is_some() && text(&world, "tls.key").is_none());
    assert!(run.log.contains("INFO tls.key: left out, because the certificate came without a private key"), "{}", run.log);
}

#[test]
fn an_identity_that_may_get_certificates_and_not_secrets_gets_what_is_public_and_learns_the_rest() {
    let world = World::new();
    let as_certificate_reader = |name: &str| {
        let plan = plan(&world, "certificate", "public", name, &folder());
        let run = world.run(&plan.with("/identity", world.system_assigned()));
        (run.code, run.termination, run.log)
    };
    let (code, _, log) = as_certificate_reader("cert-kept");
    assert_eq!(code, 0, "{log}");
    assert_eq!(world.files("keyvault/files").into_keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt"]);
    let (code, termination, log) = as_certificate_reader("cert-made");
    assert_eq!(code, 77, "{log}");
    let expected = "rbac public/cert-made: the certificate can be read, and its private key, which is the secret of the same name, cannot: Key Vault at public.vault.localhost:";
    assert!(termination.starts_with(expected), "{termination}");
}

#[test]
fn a_certificate_or_key_that_does_not_exist_is_reported_by_its_kind_and_may_be_optional() {
    let world = World::new();
    let key = [("key", json!({"key": "0"}))];
    for (kind, values, code) in [("certificate", folder().to_vec(), "CertificateNotFound"), ("key", key.to_vec(), "KeyNotFound")] {
        let run = world.run(&plan(&world, kind, "demo", "nosuch", &values));
        assert_eq!(run.code, 66, "{}", run.log);
        assert!(
            run.termination.starts_with(&format!("not-found demo/nosuch: Key Vault at {} answered 404 {code}: ", world.demo())),
            "{}",
            run.termination
        );
        let optional = plan(&world, kind, "demo", "nosuch", &values).with(&format!("/fetch/0/{kind}/optional"), json!(true));
        let run = world.run(&optional);
        assert_eq!((run.code, world.files("keyvault/files").len()), (0, 0), "{}", run.log);
    }
}

#[test]
fn keys_give_their_public_part_as_pem_and_as_jwk() {
    let world = World::new();
    for (name, kty) in [("sign-rsa", "RSA"), ("sign-ec", "EC")] {
        let values = [("pem", json!({"key": "0"})), ("jwk", json!({"key": "0", "format": "jwk"}))];
        let run = world.run(&plan(&world, "key", "demo", name, &values));
        assert_eq!(run.code, 0, "{}", run.log);
        assert!(text(&world, "pem").unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        let jwk: Value = serde_json::from_str(&text(&world, "jwk").unwrap()).unwrap();
        assert_eq!(jwk["kty"], kty);
        assert!(jwk["kid"].as_str().unwrap().contains(&format!("/keys/{name}/")) && jwk.get("d").is_none() && jwk.get("key_ops").is_none());
    }
}
