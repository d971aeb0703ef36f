//! Templates: several values in one file.

use serde_json::{Value, json};

use crate::world::{Plan, World};

/// A plan for one template, with the objects of `demo` that it names.
fn plan(world: &World, file: &str, text: &str, secrets: &[&str], certificates: &[&str]) -> Plan {
    let object = |kind: &str, name: &str| json!({"id": format!("{kind}-{name}"), kind: {"vault": world.vault("demo"), "name": name}});
    let fetch: Vec<Value> =
        secrets.iter().map(|name| object("secret", name)).chain(certificates.iter().map(|name| object("certificate", name))).collect();
    let ids = |kind: &str, names: &[&str]| -> Value { names.iter().map(|name| ((*name).to_owned(), json!(format!("{kind}-{name}")))).collect() };
    let template = json!({"text": text, "secrets": ids("secret", secrets), "certificates": ids("certificate", certificates)});
    let entries = json!([{"file": file, "mode": "0440", "value": {"template": template}}]);
    world.plan().with("/fetch", json!(fetch)).with("/directories", json!([{"path": "/keyvault/files", "entries": entries}]))
}

fn text(world: &World, file: &str) -> String {
    let (mode, bytes) = world.files("keyvault/files")[file].clone();
    assert_eq!(mode, "0440");
    String::from_utf8(bytes).unwrap()
}

#[test]
fn values_properties_and_certificate_parts_are_rendered_into_one_file() {
    let world = World::new();
    let template = "p=${ secret(\"db-password\") | urlencode }\n\
                    {% if secret(\"empty\") %}never{% else %}\ntoken: ${ secret(\"config\").sink.token | json }\n{% endif %}\n\
                    host=${ secret(\"config\").hosts[1] } $HOME {{ helm }}\n${ certificate(\"tls-pem\").key }";
    let run = world.run(&plan(&world, "conf/app.conf", template, &["db-password", "empty", "config"], &["tls-pem"]));
    assert_eq!(run.code, 0, "{}", run.log);
    let rendered = text(&world, "conf/app.conf");
    let (head, key) = rendered.split_at(rendered.find("-----BEGIN").unwrap());
    assert_eq!(head, "p=correct%20horse%20canary%20staple\ntoken: \"canary-token\"\nhost=canary-b $HOME {{ helm }}\n");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.ends_with("-----END PRIVATE KEY-----\n"));
    assert!(!run.log.contains("PRIVATE KEY"), "{}", run.log);
    assert_eq!(world.calls("vault")["200"], 4, "each object once");
}

#[test]
fn what_cannot_be_rendered_names_object_file_and_line_and_the_old_files_stay() {
    let world = World::new();
    assert_eq!(world.run(&world.plan_for(&["db-password"])).code, 0);
    let before = world.files("keyvault/files");
    for (template, expected) in [
        ("\n${ secret('config').sink.none }", "format demo/config: file app.conf: line 2: property sink.none: there is nothing at \"none\"; "),
        ("${ secret('db-password').a }", "format demo/db-password: file app.conf: line 1: property a: there is nothing at \"a\"; "),
        ("\n\n${ secret('db-password') | int }", "format file app.conf: line 3: a filter, test, function or operator cannot work with this value; "),
        ("\n${ secret('db-password') | urlencode | b64decode }", "format file app.conf: line 2: b64decode: the value is not base64; "),
        ("${ certificate('tls-public').key }", "format demo/tls-public: file app.conf: line 1: the certificate came without a private key"),
        ("${ 'x' * 70000 }", "format file app.conf: the template cannot be rendered: the file would be longer than 64 KiB; "),
    ] {
        let run = world.run(&plan(&world, "app.conf", template, &["db-password", "config"], &["tls-public"]));
        assert_eq!(run.code, 65, "{}", run.log);
        assert!(run.termination.starts_with(expected), "{}", run.termination);
        assert_eq!(world.files("keyvault/files"), before);
    }
}

#[test]
fn an_object_beside_the_plan_is_refused() {
    let world = World::new();
    let run = world.run(&plan(&world, "app.conf", "${ secret('config').sink.token }", &["db-password"], &[]));
    assert_eq!(run.code, 65, "{}", run.log);
    assert!(run.termination.starts_with("format file app.conf: line 1: secret(\"config\") is not in the plan: "), "{}", run.termination);
    let unfetched = plan(&world, "app.conf", "${ secret('config') }", &["config"], &[]).with("/fetch", json!([]));
    let run = world.run(&unfetched);
    assert_eq!(run.code, 64, "{}", run.log);
    assert!(run.termination.starts_with("plan: the plan's file app.conf uses id \"secret-config\", which it does not fetch"), "{}", run.termination);
}
