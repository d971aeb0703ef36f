//! What only a value shows: each such problem names the object and the place in its value, and leaves the files of an earlier run alone.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Plan, World};

const ADVICE: &str =
    "; compare the value with encoding, property and format in the annotation; if it is the answer, check what answers at that address\n";

/// Every name below a directory with what it is: the content of a file, the target of a link.
fn whole(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_symlink() {
            found.insert(name, std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
        } else if path.is_dir() {
            found.extend(whole(&path).into_iter().map(|(below, what)| (format!("{name}/{below}"), what)));
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// A plan for the object `broken` of `demo`, with one file.
fn plan(world: &World, kind: &str, value: &Value) -> Plan {
    let plan = world.plan().with("/fetch", json!([{"id": "0", kind: {"vault": world.vault("demo"), "name": "broken"}}]));
    plan.with("/directories", json!([{"path": "/keyvault/files", "entries": [{"file": "f", "mode": "0400", "value": value}]}]))
}

fn template(text: &str) -> Value {
    json!({"template": {"text": text, "secrets": {"broken": "0"}}})
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pfx").join(name)).unwrap()
}

/// A plan's kind and value expression, what is stored, and the line that comes of it.
fn cases() -> Vec<(&'static str, Value, String, &'static str)> {
    let object = |extra: Value| {
        let mut value = json!({"object": "0"});
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        value
    };
    let (base64, hex) = (object(json!({"encoding": "base64"})), object(json!({"encoding": "hex"})));
    let property = |path: &str| object(json!({"property": path}));
    let chain = json!({"certificate": "0", "part": "chain"});
    let pem = fixture("kv-pem-chain3.secret.pem");
    let pfx = fixture("kv-ec-p256.b64");
    let with_line = |number: usize, line: &str| {
        pem.lines().enumerate().map(|(at, old)| if at + 1 == number { line } else { old }.to_owned() + "\n").collect::<String>()
    };
    let without_end = pem.replace("-----END PRIVATE KEY-----\n", "");
    vec![
        ("secret", base64.clone(), "Y2Fu\n!XJ5".to_owned(), "file f: the value is not base64: character 6 is none of its letters"),
        ("secret", base64.clone(), "Y2FuY".to_owned(), "file f: the value is not base64: it is cut off or wrongly padded at character 5"),
        ("secret", base64, "Y2=F".to_owned(), "file f: the value is not base64: it is cut off or wrongly padded at character 3"),
        ("secret", hex.clone(), "00fx".to_owned(), "file f: the value is not hexadecimal: character 4 is not a digit"),
        ("secret", hex, "00f\n".to_owned(), "file f: the value is not hexadecimal: it has an odd number of digits, and ends after character 3"),
        ("secret", property("a.b"), "{\"a\": {}}".to_owned(), "file f: property a.b: there is nothing at \"b\""),
        ("secret", property("a"), "{\"a\": null}".to_owned(), "file f: property a is null"),
        ("secret", property("a"), "canary".to_owned(), "file f: property a: there is nothing at \"a\""),
        (
            "secret",
            property("a"),
            "{\n\"a\": \"canary\",\n\"b\"\n: ]}".to_owned(),
            "file f: property a: the value is neither JSON nor YAML (line 4, column 3)",
        ),
        ("secret", property("a"), "a: canary\nb: &x 1\n".to_owned(), "file f: property a: the value is neither JSON nor YAML (line 2, column 7)"),
        ("secret", property("a"), "a: canary\na: 1\n".to_owned(), "file f: property a: the value is neither JSON nor YAML (line 2, column 1)"),
        ("secret", template("\n${ secret(\"broken\").a }"), "{}".to_owned(), "file f: line 2: property a: there is nothing at \"a\""),
        (
            "certificate",
            chain.clone(),
            with_line(3, "canary!"),
            "the PEM text cannot be read: line 3: the block \"PRIVATE KEY\" is not base64, or is cut off",
        ),
        ("certificate", chain.clone(), without_end, "the PEM text cannot be read: line"),
        (
            "certificate",
            chain.clone(),
            pem.replace('\n', " "),
            "the PEM text cannot be read: line 1: a block is on one line: its line breaks have been lost",
        ),
        ("certificate", chain.clone(), pem.replacen("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", 2), "line 1: the private key has a password"),
        (
            "certificate",
            chain.clone(),
            pem.replacen("PRIVATE KEY", "EC PRIVATE KEY", 2),
            "the PEM text cannot be read: line 1: the block \"EC PRIVATE KEY\" does not hold one, or a damaged one",
        ),
        (
            "certificate",
            chain.clone(),
            pfx[..pfx.len() / 8 * 4].to_owned(),
            "the PKCS#12 file cannot be read: it is damaged, or no PKCS#12 at all, at byte 0",
        ),
        ("certificate", chain, format!("MII{pfx}"), "the PKCS#12 file cannot be read: it is damaged, or no PKCS#12 at all, at byte"),
    ]
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_place_and_the_old_files_stay() {
    let world = World::new();
    assert_eq!(world.run(&world.plan_for(&["db-password", "s-00"])).code, 0);
    let before = whole(&world.path("keyvault/files"));
    assert_eq!(before.len(), 6, "two links to two files, what they were made of, and ..data: {:?}", before.keys());
    for (kind, value, stored, expected) in cases() {
        world.call("PUT", "/secrets/broken", &json!({"value": stored}));
        let run = world.run(&plan(&world, kind, &value));
        assert_eq!(run.code, 65, "{}", run.log);
        assert!(run.termination.starts_with(&format!("format demo/broken: {expected}")), "{expected}: {}", run.termination);
        assert!(run.termination.ends_with(ADVICE), "{}", run.termination);
        assert_eq!(whole(&world.path("keyvault/files")), before, "{expected}");
    }
}
