//! Selections: secrets whose names the vault tells.

use serde_json::{Value, json};

use crate::world::{Plan, World};

/// A plan with one selection of `vault` and its files; it may be told more.
pub(crate) fn plan(world: &World, vault: &str, selector: Value, file: &str) -> Plan {
    let select = json!([{"id": "0", "vault": world.vault(vault), "selector": selector}]);
    world.plan().with("/select", select).with("/directories/0/selected", json!([{"select": "0", "file": file, "mode": "0440"}]))
}

fn files(world: &World) -> Vec<String> {
    let files = world.files("keyvault/files").into_iter();
    files.map(|(file, (mode, bytes))| format!("{mode} {file}: {}", String::from_utf8(bytes).unwrap())).collect()
}

#[test]
fn every_secret_that_can_be_read_becomes_a_file_of_its_name() {
    let world = World::new();
    let run = world.run(&plan(&world, "demo", json!({"prefix": "APP-"}), "app/${name}.txt"));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(files(&world), ["0440 app/App-token.txt: {\"token\": \"canary-app-token\"}", "0440 app/app-db.txt: canary-app-db"]);
    assert!(run.log.contains("demo/APP-*: app-old is left out, because it is disabled"), "{}", run.log);

    let tagged = plan(&world, "demo", json!({"prefix": "app-", "tags": {"team": "web", "tier": "1"}}), "${name}");
    assert_eq!(world.run(&tagged).code, 0);
    assert_eq!(files(&world), ["0440 app-db: canary-app-db"]);
}

#[test]
fn what_is_named_and_selected_is_fetched_once_and_each_file_has_its_own_part() {
    let world = World::new();
    let two = json!([
        {"select": "0", "file": "whole/${name}", "mode": "0440"},
        {"select": "0", "file": "${name}/token", "mode": "0400", "property": "token"},
    ]);
    let plan = plan(&world, "demo", json!({"prefix": "app-t"}), "x").with("/directories/0/selected", two);
    let run = world.run(&plan.file("named", &world.vault("demo"), "app-token", json!({})));
    assert_eq!(run.code, 0, "{}", run.log);
    let whole = "{\"token\": \"canary-app-token\"}";
    assert_eq!(
        files(&world),
        ["0400 App-token/token: canary-app-token".to_owned(), format!("0400 named: {whole}"), format!("0440 whole/App-token: {whole}")]
    );
    assert_eq!(world.calls("vault"), json!({"200": 3 + 1}), "three pages, and the secret once");
}

#[test]
fn a_selection_gives_up_to_a_hundred_secrets_from_all_pages() {
    let world = World::new();
    let run = world.run(&plan(&world, "many", json!({"prefix": "m-0"}), "${name}"));
    assert_eq!(run.code, 0, "{}", run.log);
    let written = files(&world);
    assert_eq!((written.len(), written[99].as_str()), (100, "0440 m-099: canary-m-099"));
    assert_eq!(world.calls("vault"), json!({"200": 5 + 100}), "five pages");
}

#[test]
fn too_many_or_none_write_nothing_and_the_old_files_stay() {
    let world = World::new();
    assert_eq!(world.run(&world.plan_for(&["db-password"])).code, 0);
    let before = world.files("keyvault/files");
    for (vault, selector, code, expected) in [
        (
            "many",
            json!({"prefix": "m-"}),
            65,
            "format many/m-*: 101 secrets match, and a selection gives at most 100: narrow its prefix or tags, or split it in two; ",
        ),
        ("many", json!({"tags": {"a b": "c"}}), 66, "not-found many/*?tags=a%20b=c: no secret of the vault matches; create it, "),
        ("demo", json!({"prefix": "cert-m"}), 66, "not-found demo/cert-m*: no secret of the vault matches; "),
    ] {
        let run = world.run(&plan(&world, vault, selector, "${name}"));
        assert_eq!(run.code, code, "{}", run.log);
        assert!(run.termination.starts_with(expected), "{}", run.termination);
        assert_eq!(world.files("keyvault/files"), before);
    }
    let both = plan(&world, "demo", json!({"prefix": "cert-m"}), "${name}").file("x", &world.vault("demo"), "nosuch", json!({}));
    let run = world.run(&both);
    assert!(run.termination.contains("\nnot-found demo/nosuch: "), "what else is wrong is told, too: {}", run.termination);
    assert!(run.log.contains("demo/cert-m*: cert-made is left out, because it belongs to a certificate"), "{}", run.log);
    let optional = plan(&world, "many", json!({"prefix": "x"}), "${name}").with("/select/0/optional", json!(true));
    assert_eq!(world.run(&optional).code, 0);
    assert_eq!(files(&world), [""; 0]);
}

#[test]
fn one_that_is_deleted_between_list_and_read_is_left_out_unless_it_is_the_only_one() {
    let world = World::new();
    world.fault(json!({"plane": "vault", "kind": "status", "status": 404, "match": "^/secrets/app-db"}));
    let run = world.run(&plan(&world, "demo", json!({"prefix": "app-"}), "${name}"));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(files(&world), ["0440 App-token: {\"token\": \"canary-app-token\"}"]);
    assert!(run.log.contains("demo/app-db: does not exist, left out"), "{}", run.log);
    let run = world.run(&plan(&world, "demo", json!({"prefix": "app-d"}), "${name}"));
    assert_eq!(run.code, 66, "{}", run.log);
    assert!(
        run.termination.starts_with("not-found demo/app-db: Key Vault at demo.vault.localhost:") && run.termination.contains(" answered 404"),
        "{}",
        run.termination
    );
}

#[test]
fn a_page_that_is_throttled_or_breaks_off_is_asked_for_again() {
    let world = World::new();
    for kind in ["throttle", "unavailable", "truncate"] {
        world.reset_calls();
        world.fault(json!({"plane": "vault", "kind": kind, "match": "^/secrets$", "count": 2}));
        let run = world.run(&plan(&world, "many", json!({"prefix": "m-05"}), "${name}"));
        assert_eq!(run.code, 0, "{}", run.log);
        assert!(run.log.contains("many: list of secrets: Key Vault at many.vault.localhost:"), "{}", run.log);
        assert_eq!(files(&world).len(), 10);
    }
    world.fault(json!({"plane": "vault", "kind": "throttle", "match": "^/secrets$"}));
    let run = world.run(&plan(&world, "many", json!({"prefix": "m-05"}), "${name}").with("/deadline", json!("1s")));
    assert_eq!(run.code, 75, "{}", run.log);
    assert!(
        run.termination.starts_with("throttled many/m-05*: Key Vault at many.vault.localhost:") && run.termination.contains(" answered 429"),
        "{}",
        run.termination
    );
}

#[test]
fn an_identity_that_may_read_and_not_list_learns_which_permission_is_missing() {
    let world = World::new();
    let plan = plan(&world, "many", json!({"prefix": "m-05"}), "${name}").with("/identity", world.system_assigned());
    let run = world.run(&plan);
    assert_eq!(run.code, 77, "{}", run.log);
    assert!(
        run.termination.starts_with("rbac many/m-05*: Key Vault at many.vault.localhost:") && run.termination.contains(": 403 Forbidden "),
        "{}",
        run.termination
    );
    let missing = "; to select, the identity needs the permission list, too, or its role on the whole vault; give the identity the role ";
    assert!(run.termination.contains(missing), "{}", run.termination);
}

#[test]
fn a_selected_name_where_another_file_goes_is_refused_with_both() {
    let world = World::new();
    let plan = plan(&world, "demo", json!({"prefix": "app-d"}), "${name}").file("app-db", &world.vault("demo"), "db-password", json!({}));
    let run = world.run(&plan);
    assert_eq!(run.code, 65, "{}", run.log);
    let expected = "format demo/app-db: it becomes the file app-db, and so does demo/db-password: give one of them another file; ";
    assert!(run.termination.starts_with(expected), "{}", run.termination);
    assert_eq!(files(&world), [""; 0]);
    assert_eq!(world.calls("vault").as_object().unwrap().len(), 1, "nothing but the list was asked for: {}", world.calls("vault"));
}
