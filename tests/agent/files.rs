//! What ends up on the volume.

use std::collections::BTreeMap;

use serde_json::json;

use crate::world::{World, secrets};

#[test]
fn secrets_become_files_to_the_byte_with_their_modes() {
    let world = World::new();
    let demo = world.vault("demo");
    let plan = world
        .plan()
        .file("db-password", &demo, "db-password", json!({}))
        .file("pg/exact", &demo, "exact", json!({"mode": "0440"}))
        .file("empty", &demo, "empty", json!({"mode": "0444"}))
        .file("binary", &demo, "binary", json!({"encoding": "base64"}))
        .file("token", &demo, "config", json!({"property": "sink.token"}))
        .file("hosts.json", &demo, "config", json!({"property": "hosts"}));
    // A umask that would take every bit away.
    let run = world.run_with(&plan, "umask 777; exec \"$0\" \"$@\"", &[]);
    assert_eq!((run.code, run.termination.as_str()), (0, ""), "{}", run.log);
    let expected = [
        ("binary", "0400", &b"canary\0\xff"[..]),
        ("db-password", "0400", b"correct horse canary staple"),
        ("empty", "0444", b""),
        ("hosts.json", "0400", b"[\"canary-a\",\"canary-b\"]"),
        ("pg/exact", "0440", b" canary\r\n"),
        ("token", "0400", b"canary-token"),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, mode, bytes)| (name.to_owned(), (mode.to_owned(), bytes.to_vec()))).collect();
    assert_eq!(world.files("keyvault/files"), expected);
}

#[test]
fn fifty_secrets_cost_one_token_and_one_authorized_call_each() {
    let world = World::new();
    let all: Vec<(String, String)> = secrets().collect();
    let run = world.run(&world.plan_for(&all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()));
    assert_eq!(run.code, 0, "{}", run.log);
    let written = world.files("keyvault/files");
    let expected: BTreeMap<_, _> = all.into_iter().map(|(name, value)| (name, ("0400".to_owned(), value.into_bytes()))).collect();
    assert_eq!(written, expected);
    assert_eq!((world.calls("vault"), world.calls("entra")), (json!({"200": 50}), json!({"200": 1})));
}

#[test]
fn one_object_in_two_views_is_fetched_once_and_written_twice() {
    let world = World::new();
    std::fs::create_dir(world.path("keyvault/other")).unwrap();
    let mut plan = world.plan_for(&["db-password"]);
    let mut view = plan.0["directories"][0].clone();
    view["path"] = json!("/keyvault/other");
    view["entries"][0]["mode"] = json!("0444");
    plan.0["directories"].as_array_mut().unwrap().push(view);
    let run = world.run(&plan);
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(world.files("keyvault/files")["db-password"].1, world.files("keyvault/other")["db-password"].1);
    assert_eq!(world.files("keyvault/other")["db-password"].0, "0444");
    assert_eq!(world.calls("vault"), json!({"200": 1}));
}

#[test]
fn a_second_run_on_the_same_volume_replaces_the_first() {
    let world = World::new();
    assert_eq!(world.run(&world.plan_for(&["db-password", "s-00"])).code, 0);
    assert_eq!(world.run(&world.plan_for(&["db-password", "s-01"])).code, 0);
    assert_eq!(world.files("keyvault/files").into_keys().collect::<Vec<_>>(), ["db-password", "s-01"]);
    assert_eq!(std::fs::read_dir(world.path("keyvault/files")).unwrap().count(), 4, "two names, ..data and what it points to");
}

#[test]
fn an_optional_object_that_does_not_exist_is_left_out() {
    let world = World::new();
    let demo = world.vault("demo");
    let plan = world.plan_for(&["db-password"]).file("maybe", &demo, "nosuch", json!({"optional": true}));
    let run = world.run(&plan);
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(world.files("keyvault/files").into_keys().collect::<Vec<_>>(), ["db-password"]);
    assert!(run.log.contains("INFO demo/nosuch: does not exist, left out"), "{}", run.log);
}

#[test]
fn an_optional_object_that_is_forbidden_is_a_problem() {
    let world = World::new();
    world.fault(json!({"plane": "vault", "kind": "firewall"}));
    let run = world.run(&world.plan().file("maybe", &world.vault("demo"), "nosuch", json!({"optional": true})));
    assert_eq!(run.code, 76, "{}", run.log);
}

#[test]
fn a_pinned_version_that_does_not_exist_is_not_found() {
    let world = World::new();
    let version = "fa30baf29582406ca154583060b42e39";
    let run = world.run(&world.plan().file("a", &world.vault("demo"), "db-password", json!({"version": version})));
    assert_eq!(run.code, 66, "{}", run.log);
    assert!(
        run.termination.starts_with(&format!("not-found demo/db-password@{version}: Key Vault at {} answered 404 SecretNotFound: ", world.demo())),
        "{}",
        run.termination
    );
}

#[test]
fn values_that_do_not_fit_the_plan_are_named_and_nothing_is_written() {
    let world = World::new();
    let demo = world.vault("demo");
    let plan = world.plan_for(&["s-00"]).file("a", &demo, "db-password", json!({"encoding": "hex"})).file(
        "b",
        &demo,
        "config",
        json!({"property": "sink.user"}),
    );
    let run = world.run(&plan);
    assert_eq!(run.code, 65, "{}", run.log);
    let advice = "compare the value with encoding, property and format in the annotation; if it is the answer, check what answers at that address";
    assert_eq!(
        run.termination,
        format!(
            "format demo/db-password: file a: the value is not hexadecimal: character 2 is not a digit; {advice}\n\
             format demo/config: file b: property sink.user: there is nothing at \"user\"; {advice}\n"
        )
    );
    assert_eq!(std::fs::read_dir(world.path("keyvault/files")).unwrap().count(), 0);
}

#[test]
fn a_full_volume_is_named_with_directory_and_file_and_the_old_files_stay() {
    let world = World::new();
    std::fs::create_dir(world.path("keyvault/other")).unwrap();
    assert_eq!(world.run(&world.plan_for(&["db-password"])).code, 0);
    let before = world.files("keyvault/files");
    let mut plan = world.plan_for(&["s-00"]);
    plan.0["directories"].as_array_mut().unwrap().push(json!({"path": "/keyvault/other", "entries": []}));
    let plan = plan.file("large", &world.vault("demo"), "large", json!({}));
    // No file may be longer than 512 bytes, which is what a full volume looks like to the writer.
    let run = world.run_with(&plan, "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"", &[]);
    assert_eq!(run.code, 73, "{}", run.log);
    let root = world.root.path().canonicalize().unwrap();
    assert_eq!(
        run.termination,
        format!(
            "volume {}/keyvault/other: the volume is full: large does not fit; check size and permissions of the volume and the size of the values\n",
            root.display()
        )
    );
    assert_eq!(world.files("keyvault/files"), before);
    assert_eq!(std::fs::read_dir(world.path("keyvault/other")).unwrap().count(), 0);
}

#[test]
fn runs_that_are_killed_while_they_write_leave_room_for_the_next() {
    let world = World::new();
    let folder = world.path("keyvault/files");
    let listing = || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
    let plan = world.plan_for(&["db-password", "large"]);
    for _ in 0..4 {
        // The kernel kills a process that writes more than 512 bytes to a file.
        let run = world.run_with(&plan, "ulimit -c 0; ulimit -f 1; exec \"$0\" \"$@\"", &[]);
        assert_eq!((run.code, run.termination.as_str()), (-1, ""), "{}", run.log);
        let left = listing();
        let stamps: Vec<_> = left.iter().filter(|name| name.starts_with("..2")).collect();
        assert_eq!(stamps.len(), 1, "{left:?}");
        assert!(folder.join(stamps[0]).join("db-password").exists(), "it was killed while it wrote");
    }
    assert_eq!(world.run(&plan).code, 0);
    assert_eq!(world.text("db-password"), "correct horse canary staple");
    let mut left = listing();
    left.retain(|name| !name.starts_with("..2"));
    left.sort();
    assert_eq!((left, listing().len()), (["..data", "db-password", "large"].map(str::to_owned).to_vec(), 4));
}

#[test]
fn the_agent_copies_itself_to_a_volume_of_other_containers_before_it_asks_a_vault() {
    let world = World::new();
    std::fs::create_dir(world.path("keyvault/bin")).unwrap();
    let plan = world.plan_for(&["nosuch"]).with("/program", json!("/keyvault/bin"));
    assert_eq!(world.run(&plan).code, 66);
    let copied = world.files("keyvault/bin");
    assert_eq!(copied.keys().collect::<Vec<_>>(), ["keyvault-agent"]);
    let (mode, bytes) = &copied["keyvault-agent"];
    assert!(mode == "0555" && *bytes == std::fs::read(keyvault_tests::program("keyvault-agent")).unwrap(), "{mode} {} bytes", bytes.len());

    world.reset_calls();
    let run = world.run(&plan.with("/program", json!("/keyvault/absent")));
    let root = world.root.path().canonicalize().unwrap();
    let expected = format!("volume {}/keyvault/absent: the directory does not exist, so the volume is not mounted; ", root.display());
    assert_eq!((run.code, run.termination.starts_with(&expected)), (73, true), "{}", run.termination);
    assert_eq!((world.calls("vault"), world.calls("entra")), (json!(null), json!(null)), "not a single call");
}
