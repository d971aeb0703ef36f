//! Templates of a ConfigMap: files that are known only once the pod runs.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::world::{Plan, World};

/// Mounts a ConfigMap as the kubelet does, in the place of the one before.
pub(crate) fn mount(world: &World, state: &str, texts: &[(&str, &str)]) {
    let folder = world.path("keyvault/templates");
    std::fs::create_dir_all(folder.join(state)).unwrap();
    for (key, text) in texts {
        world.put(&format!("keyvault/templates/{state}/{key}"), text);
        let _ = symlink(format!("..data/{key}"), folder.join(key));
    }
    let _ = std::fs::remove_file(folder.join("..data"));
    symlink(state, folder.join("..data")).unwrap();
}

/// A plan that declares two secrets and a certificate, with a file for each.
fn plan(world: &World) -> Plan {
    let vault = world.vault("demo");
    let plan = world.plan().file("db-password", &vault, "db-password", json!({})).file("sink", &vault, "config", json!({}));
    let plan = plan.file("missing", &vault, "nosuch", json!({"optional": true}));
    let certificate = json!({"id": "c", "certificate": {"vault": vault, "name": "tls-public"}});
    let plan = plan
        .with("/fetch/3", certificate)
        .with("/directories/0/entries/3", json!({"file": "ca", "mode": "0400", "value": {"certificate": "c", "part": "chain"}}));
    let secrets = json!({"db-password": "0", "shared/config": "1", "nosuch": "2"});
    let declared = json!({"name": "app-templates", "path": "/keyvault/templates", "secrets": secrets, "certificates": {"tls": "c"}});
    plan.with("/configMap", declared).with("/directories/0/configMapMode", json!("0440"))
}

fn text(world: &World, file: &str) -> (String, String) {
    let (mode, bytes) = world.files("keyvault/files")[file].clone();
    (mode, String::from_utf8(bytes).unwrap())
}

#[test]
fn each_key_is_rendered_with_what_the_pod_declares() {
    let world = World::new();
    let template = "{% if secret('shared/config').sink.port == '5432' %}\np=${ secret(\"db-password\") | shell }\n{% endif %}\n";
    mount(&world, "..1", &[("app.conf", template), ("gone.conf", "old"), (".hidden", "${ certificate('tls').crt[:10] }")]);
    mount(&world, "..2", &[("app.conf", template), (".hidden", "${ certificate('tls').crt[:10] }")]);
    let run = world.run(&plan(&world));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(text(&world, "app.conf"), ("0440".to_owned(), "p='correct horse canary staple'\n".to_owned()));
    assert_eq!(text(&world, ".hidden"), ("0440".to_owned(), "-----BEGIN".to_owned()));
    assert!(!world.files("keyvault/files").contains_key("gone.conf"));
    assert_eq!(world.calls("vault"), json!({"200": 3, "404": 1}), "each object once");
}

#[test]
fn what_cannot_be_used_is_refused_with_key_and_line_and_the_old_files_stay() {
    let world = World::new();
    assert_eq!(world.run(&world.plan_for(&["exact"])).code, 0);
    let before = world.files("keyvault/files");
    let declare = "is nothing that the pod declares: name it in the pod's annotation keyvault-injector.io";
    for (state, key, template, expected) in [
        (
            "..1",
            "a",
            "\n${ secret('config') }".to_owned(),
            format!("format ConfigMap app-templates: key a: line 2: secret(\"config\") {declare}/secrets, spelt the same; "),
        ),
        (
            "..2",
            "a",
            "${ key('db-password') }".into(),
            format!("format ConfigMap app-templates: key a: line 1: key(\"db-password\") {declare}/keys, spelt the same; "),
        ),
        ("..3", "a", "\n${ secret( }".into(), "format ConfigMap app-templates: key a: line 2: unexpected `}`; ".into()),
        ("..4", "a", "${ nosuch }".into(), "format ConfigMap app-templates: key a: line 1: variable \"nosuch\" does not exist: ".into()),
        ("..5", "a", "x".repeat(65_537), "format ConfigMap app-templates: key a: a template has at most 64 KiB; ".into()),
        (
            "..6",
            "sink",
            "x".into(),
            "format template sink: it becomes the file sink, and so does demo/config: give one of them another file; ".into(),
        ),
        ("..7", "a", "\n${ secret('nosuch') }".into(), "format demo/nosuch: file a: line 2: its object does not exist; ".into()),
        (
            "..8",
            "a",
            "${ certificate('tls').key }".into(),
            "format demo/tls-public: file a: line 1: the certificate came without a private key".into(),
        ),
        ("..9", "a", "${ secret('db-password') | int }".into(), "format file a: line 1: a filter, test, function or operator cannot work".into()),
    ] {
        mount(&world, state, &[(key, &template)]);
        let run = world.run(&plan(&world));
        assert_eq!(run.code, 65, "{template}: {}", run.log);
        assert!(run.termination.starts_with(&expected), "{}", run.termination);
        assert_eq!(world.files("keyvault/files"), before);
    }
}

#[test]
fn a_missing_one_is_reported_at_the_deadline_and_the_vault_is_not_asked() {
    let world = World::new();
    std::fs::create_dir_all(world.path("keyvault/templates")).unwrap();
    let run = world.run(&plan(&world).with("/deadline", json!("1s")));
    assert_eq!(run.code, 66, "{}", run.log);
    let expected = "not-found ConfigMap app-templates: the pod's Namespace has no ConfigMap app-templates, or it holds nothing (";
    assert!(run.termination.starts_with(expected), "{}", run.termination);
    assert_eq!(world.calls("vault"), json!(null));
}

#[test]
fn containers_that_are_not_given_an_object_do_not_get_it_through_a_template() {
    let world = World::new();
    mount(&world, "..1", &[("a", "${ secret('shared/config') }")]);
    std::fs::create_dir_all(world.path("keyvault/files-2")).unwrap();
    let other = json!({"path": "/keyvault/files-2", "entries": [{"file": "p", "mode": "0400", "value": {"object": "0"}}], "configMapMode": "0400"});
    let run = world.run(&plan(&world).with("/directories/1", other));
    assert_eq!(run.code, 65, "{}", run.log);
    let expected =
        "format demo/config: template a of the ConfigMap goes to containers that are not given it: add them to the containers of its reference; ";
    assert!(run.termination.starts_with(expected), "{}", run.termination);
}
