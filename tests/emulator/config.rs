//! Unusable configuration is refused whole, with place, key path and reason.

use std::path::Path;

use vault_emulator::Config;

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
    let expected = r#"configuration:1:6: tls: set both certFile and keyFile, or neither
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
        (&CONFIG.replace("- name: other", "- name: DEMO"), "configuration:2:1: vaults: DEMO appears here twice"),
        (&CONFIG.replace("- {name: Settings", "- {name: Old-Token"), "configuration:19:3: vaults[0].secrets: Old-Token appears here twice"),
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
fn what_is_wrong_with_a_certificate_or_a_key_is_said_with_its_place() {
    let objects = r#"- name: other
  certificates:
  - {name: a, file: pfx/ossl-aes256-pbes2.b64}
  - {name: b, file: sa.key.pem}
  - {name: c, file: nowhere.pem}
  - {name: d}
  - {name: e, subject: web}
  - {name: f, subject: CN=f, keySize: 1024}
  - {name: g, subject: CN=g, contentType: jks}
  - {name: h, subject: CN=h, pfxFile: h.pfx}
  keys:
  - {name: a, file: sa.jwks.json}
  - {name: b, keyType: oct}
  - {name: c, keyType: EC, curve: P-1}
  - {name: h}
"#;
    let text = CONFIG.replace("- name: other\n", objects).replace("secrets: [lab-client-secret]", "certificateFiles: [sa.key.pem]");
    let found = problems(&text).replace(FIXTURES, "FIXTURES");
    let no_pkcs12 = "not a PKCS#12 file with triple DES and SHA-1, which is what Key Vault takes: openssl pkcs12 -export -keypbe PBE-SHA1-3DES \
                     -certpbe PBE-SHA1-3DES -macalg sha1";
    let kinds = "keyType is RSA or EC, keySize 2048, 3072 or 4096, curve P-256, P-384 or P-521";
    let lines: Vec<&str> = found.lines().map(|line| line.split_once(": ").unwrap().1.split("; known are").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "tenants[0].applications[0].certificateFiles[0]: there is no certificate in PEM in it",
            &format!("vaults[1].certificates[0].file: {no_pkcs12}"),
            "vaults[1].certificates[1].file: none of the certificates is for the private key",
            "vaults[1].certificates[2].file: FIXTURES/nowhere.pem: No such file or directory (os error 2)",
            "vaults[1].certificates[3]: subject is missing",
            "vaults[1].certificates[4]: policy.x509_props.subject has a value that Key Vault does not take",
            "vaults[1].certificates[5]: key_size has a value that Key Vault does not take",
            "vaults[1].certificates[6].contentType: pfx or pem is expected here",
            "vaults[1].certificates[7].pfxFile: unknown key",
            "vaults[1].keys[0].file: there is no private key in PEM in it (PKCS#8, PKCS#1 or SEC 1, not encrypted)",
            &format!("vaults[1].keys[1]: {kinds}"),
            &format!("vaults[1].keys[2]: {kinds}"),
            "vaults[1].keys: h appears here twice",
        ]
    );
}

#[test]
fn a_configuration_that_is_printed_for_debugging_shows_no_value() {
    let printed = format!("{:?}", Config::parse(CONFIG, Path::new(FIXTURES)).unwrap());
    assert!(!printed.contains("correct horse") && !printed.contains("lab-client-secret"), "{printed}");
}
