//! Unusable configuration is refused whole, with place, key path and reason.

use std::path::Path;

use keyvault_injector::emulator::Config;

use crate::emulator::{CONFIG, FIXTURES};

fn problems(text: &str) -> String {
    Config::parse(text, Path::new(FIXTURES)).unwrap_err().to_string()
}

#[test]
fn all_problems_come_at_once_with_place_and_key_path() {
    let text = r#"tls: {certFile: a.pem}
tokenLifetime: 1 hour
tenants:
- id: nope
  applications:
  - clientId: 11111111-1111-1111-1111-111111111111
    secret: [x]
    federatedCredentials:
    - {issuer: i, subject: s, jwksFile: nowhere.json}
vaults:
- name: demo
  refusal: rbca
  throttle: {calls: many, window: 10s}
  permissions:
  - {identity: 11111111-1111-1111-1111-111111111111, allow: [secrets/read, secrets/gt, all]}
  secrets:
  - {name: my_secret, value: x}
  - {name: a, value: x, valueFile: y}
  - {name: b}
"#;
    let expected = r#"configuration:1:6: tls: certFile and keyFile stand together or not at all
configuration:2:16: tokenLifetime: "1 hour" is not a duration: whole numbers with units, largest first, such as 30s, 2m or 1h30m (units h, m, s, ms)
configuration:4:7: tenants[0].id: "nope" is not a GUID: 32 hexadecimal digits in groups of 8-4-4-4-12
configuration:9:7: tenants[0].applications[0].federatedCredentials[0]: audience is missing
configuration:9:41: tenants[0].applications[0].federatedCredentials[0].jwksFile: FIXTURES/nowhere.json: No such file or directory (os error 2)
configuration:7:5: tenants[0].applications[0].secret: unknown key; did you mean secrets?
configuration:12:12: vaults[0].refusal: "rbca" is not a way to refuse: rbac, policy or denied
configuration:13:21: vaults[0].throttle.calls: invalid digit found in string
configuration:15:62: vaults[0].permissions[0].allow[0]: "read" is nothing that one can do with secrets
configuration:15:76: vaults[0].permissions[0].allow[1]: "gt" is nothing that one can do with secrets; did you mean get?
configuration:15:88: vaults[0].permissions[0].allow[2]: "all" is not a permission: write *, secrets/*, secrets/get, certificates/get, keys/get …
configuration:17:12: vaults[0].secrets[0].name: "my_secret" is not a Key Vault object name: 1 to 127 letters, digits and hyphens
configuration:18:5: vaults[0].secrets[1]: value or valueFile is needed, one of them
configuration:19:5: vaults[0].secrets[2]: value or valueFile is needed, one of them"#;
    assert_eq!(problems(text).replace(FIXTURES, "FIXTURES"), expected);
}

#[test]
fn what_the_parts_say_together_must_fit() {
    for (text, problem) in [
        ("", "configuration:1:1: tenants is missing: at least one is needed\nconfiguration:1:1: vaults is missing: at least one is needed"),
        ("tenants: []\nvaults: [{name: abc}]", "configuration:1:1: tenants is missing: at least one is needed"),
        (&CONFIG.replace("- name: other", "- name: DEMO"), "configuration:2:1: vaults: DEMO stands here twice"),
        (&CONFIG.replace("- {name: Settings", "- {name: Old-Token"), "configuration:19:3: vaults[0].secrets: Old-Token stands here twice"),
        (
            &CONFIG.replace("- name: other", "- name: other\n  tenant: 12121212-0000-0000-0000-000000000000"),
            "configuration:2:1: vaults: tenant 12121212-0000-0000-0000-000000000000 is not one of tenants",
        ),
        ("a: [", "configuration:1:4: unclosed bracket '['"),
    ] {
        assert_eq!(problems(text), problem, "{text}");
    }
}

#[test]
fn a_secret_file_is_text_of_a_length_that_key_vault_takes() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        |file: &str| format!("tenants: [{{id: {}}}]\nvaults: [{{name: abc, secrets: [{{name: a, valueFile: {file}}}]}}]", crate::emulator::TENANT);
    for (file, bytes, reason) in [
        ("long", vec![b'a'; 25_601], "longer than Key Vault takes: 25600 characters"),
        ("binary", vec![0xff, 0xfe], "not UTF-8: a secret's value is text"),
    ] {
        std::io::Write::write_all(&mut std::fs::File::create(folder.path().join(file)).unwrap(), &bytes).unwrap();
        let error = Config::parse(&config(file), folder.path()).unwrap_err().to_string();
        assert_eq!(error, format!("configuration:2:53: vaults[0].secrets[0].valueFile: {reason}"));
    }
}

#[test]
fn certificates_and_keys_are_recognised_and_reported_as_not_served() {
    let text = CONFIG.replace(
        "- name: other\n",
        "- name: other\n  certificates: [{name: web-tls, pfxFile: web.pfx, password: \"\"}]\n  keys: [{name: signing, kty: RSA, keySize: 2048}]\n",
    );
    let text = text.replace("secrets: [lab-client-secret]", "secrets: [lab-client-secret]\n    certificateFiles: [client.pem]");
    let config = Config::parse(&text, Path::new(FIXTURES)).unwrap();
    assert_eq!(config.unserved(), ["tenants[0].applications[0].certificateFiles", "vaults[1].certificates", "vaults[1].keys"]);
}

#[test]
fn a_configuration_that_is_printed_for_debugging_shows_no_value() {
    let printed = format!("{:?}", Config::parse(CONFIG, Path::new(FIXTURES)).unwrap());
    assert!(!printed.contains("correct horse") && !printed.contains("lab-client-secret"), "{printed}");
}
