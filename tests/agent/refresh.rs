//! The agent as a native sidecar: what it changes, what it leaves, and how it ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sidecar::{Sidecar, eventually, started};
use crate::world::{CANARY, Plan, World};

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pfx").join(name)).unwrap()
}

/// A secret, a certificate, and a template that uses both.
fn mixed(world: &World) -> Plan {
    let vault = world.vault("demo");
    let fetch =
        json!([{"id": "s", "secret": {"vault": vault, "name": "db-password"}}, {"id": "c", "certificate": {"vault": vault, "name": "cert-pem"}}]);
    let template = json!({
        "text": "${ secret('db-password') }\n${ certificate('cert-pem').key }",
        "secrets": {"db-password": "s"}, "certificates": {"cert-pem": "c"},
    });
    let entry = |file: &str, value: Value| json!({"file": file, "mode": "0440", "value": value});
    let entries = json!([
        entry("password", json!({"object": "s"})),
        entry("tls/tls.crt", json!({"certificate": "c", "part": "chain"})),
        entry("tls/tls.key", json!({"certificate": "c", "part": "key"})),
        entry("app.conf", json!({"template": template})),
    ]);
    world.plan().with("/fetch", fetch).with("/directories", json!([{"path": "/keyvault/files", "entries": entries}]))
}

/// A template of a pinned and of a moving secret, beside a file of each.
fn pinned(world: &World, version: &str) -> Plan {
    let plan = world.plan().file("moving", &world.vault("demo"), "exact", json!({}));
    let plan = plan.file("fixed", &world.vault("demo"), "db-password", json!({"version": version}));
    let template = json!({"text": "${ secret('m') } and ${ secret('f') }", "secrets": {"m": "0", "f": "1"}});
    plan.with_template(template)
}

impl Plan {
    fn with_template(mut self, template: Value) -> Plan {
        self.0["directories"][0]["entries"].as_array_mut().unwrap().push(json!({"file": "both", "mode": "0400", "value": {"template": template}}));
        self
    }
}

/// Files of one moment: those below one target of `..data`.
fn moment(world: &World) -> Option<[String; 4]> {
    let folder = world.path("keyvault/files").join(world.data());
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    Some([text("password")?, text("tls/tls.crt")?, text("tls/tls.key")?, text("app.conf")?])
}

fn assert_of_one_moment([password, _, key, both]: &[String; 4]) {
    assert!(*both == format!("{password}\n{key}"), "a template of other values than the files beside it");
}

#[test]
fn a_rotation_arrives_whole_through_throttling_and_an_outage() {
    let world = World::new();
    let plan = world.refreshed(mixed(&world), "1s");
    let sidecar = Sidecar::started(&world, &plan);
    let first = moment(&world).unwrap();
    assert_of_one_moment(&first);
    assert_eq!(first[0], "correct horse canary staple");

    world.fault(json!({"plane": "vault", "kind": "unavailable", "match": "^/secrets/cert-pem"}));
    world.rotate("db-password", "canary-second");
    world.manage("POST", "/certificates/cert-pem/import", &json!({"value": fixture("kv-pem-ec.secret.pem")}));
    sidecar.says("not refreshed, the last good files stay: unavailable demo/cert-pem: Key Vault at demo.vault.localhost:");
    eventually("a second failure", || (world.status()["failures"]["unavailable"]["count"].as_u64()? >= 2).then_some(()));
    assert!(moment(&world).unwrap() == first, "half of a rotation was written");

    world.fault(json!({"plane": "vault", "kind": "clear"}));
    let second = eventually("the rotation", || moment(&world).filter(|files| files[0] == "canary-second"));
    assert_of_one_moment(&second);
    assert!(second[1] != first[1] && second[2] != first[2], "the certificate was not rotated");

    world.rotate("db-password", "canary-third");
    world.fault(json!({"plane": "vault", "kind": "throttle", "retry_after": 1, "count": 3}));
    let third = eventually("after throttling", || moment(&world).filter(|files| files[0] == "canary-third"));
    assert_of_one_moment(&third);
    assert_eq!(third[1..3], second[1..3]);
    assert_eq!(world.files("keyvault/files")["app.conf"].0, "0440");
}

#[test]
fn what_does_not_change_is_not_written_and_what_is_pinned_is_not_asked_for_again() {
    let world = World::new();
    let version = world.rotate("db-password", "canary-fixed");
    let plan = world.refreshed(pinned(&world, &version), "1s");
    let _sidecar = Sidecar::started(&world, &plan);
    let (data, files) = (world.data(), world.files("keyvault/files"));
    world.reset_calls();
    world.refreshes(3);
    assert_eq!((world.data(), world.files("keyvault/files")), (data.clone(), files));
    assert!(world.calls("entra").is_null(), "the token was not kept");

    // The same bytes under a new version.
    world.rotate("exact", " canary\r\n");
    world.refreshes(2);
    assert_eq!(world.data(), data);

    world.rotate("exact", "canary-2");
    eventually("the new value", || (world.text("moving") == "canary-2").then_some(()));
    assert_eq!((world.text("both"), world.text("fixed")), ("canary-2 and canary-fixed".to_owned(), "canary-fixed".to_owned()));
    let paths = world.paths();
    assert!(paths.len() >= 6 && paths.iter().all(|path| path == "/secrets/exact"), "{paths:?}");
}

#[test]
fn what_is_deleted_or_disabled_keeps_its_files_and_the_rest_goes_on() {
    let world = World::new();
    let plan = world.refreshed(world.plan_for(&["db-password", "exact", "binary"]), "1s");
    let sidecar = Sidecar::started(&world, &plan);
    world.call_off("db-password");
    sidecar.says("ERROR not refreshed, the last good files stay: not-found demo/db-password: ");
    let disabled = world.manage("PATCH", "/secrets/binary", &json!({"attributes": {"enabled": false}}));
    sidecar.says("and 1 more; next try in ");
    world.rotate("exact", "canary-2");
    eventually("the other one", || (world.text("exact") == "canary-2").then_some(()));
    sidecar.says("partly refreshed, the other files stay: not-found demo/db-password: ");
    assert_eq!(sidecar.log().matches(" ERROR ").count(), 2, "one for each change:\n{}", sidecar.log());
    assert_eq!((world.text("db-password"), world.text("binary")), ("correct horse canary staple".to_owned(), "Y2FuYXJ5AP8=".to_owned()));
    let status = eventually("the failure", || Some(world.status()).filter(|status| status["failures"]["not-found"]["count"].as_u64() >= Some(1)));
    let versions: Vec<&str> = status["objects"].as_array().unwrap().iter().map(|object| object["version"].as_str().unwrap()).collect();
    assert!(versions.len() == 3 && versions.contains(&disabled.as_str()), "{status}");
}

#[test]
fn an_optional_object_that_appears_is_written_and_one_that_disappears_stays() {
    let world = World::new();
    let plan = world.plan_for(&["db-password"]).file("later", &world.vault("demo"), "later", json!({"optional": true}));
    let plan = world.refreshed(plan, "1s");
    let sidecar = Sidecar::started(&world, &plan);
    assert!(!world.path("keyvault/files/later").exists());
    let missing =
        |status: Value| (status["missing"][0]["name"] == "later").then(|| status["missing"][0]["why"].as_str().map(str::to_owned)).flatten();
    let why = eventually("the vault's words", || missing(world.status()));
    assert!(why.starts_with("Key Vault at demo.vault.localhost:") && why.contains(" answered 404 SecretNotFound: "), "{why}");
    world.rotate("later", "canary-later");
    eventually("the new object", || (std::fs::read(world.path("keyvault/files/later")).ok()? == b"canary-later").then_some(()));
    world.call_off("later");
    sidecar.says("WARN demo/later: does not exist any more, its files stay as they are");
    world.refreshes(2);
    assert_eq!(world.text("later"), "canary-later");
    assert_eq!(sidecar.log().matches(" WARN ").count(), 1, "once:\n{}", sidecar.log());
    assert!(missing(world.status()).is_some());
}

#[test]
fn files_are_adopted_from_fetch_and_from_a_killed_sidecar() {
    let world = World::new();
    let version = world.rotate("db-password", "canary-fixed");
    let plan = world.refreshed(pinned(&world, &version), "3s");
    assert_eq!(started(&world, &plan), 1);
    assert_eq!(world.run(&plan).code, 0);
    assert_eq!(started(&world, &plan), 0);
    let data = world.data();
    world.reset_calls();
    let mut sidecar = Sidecar::start(&world, &plan);
    sidecar.says("the files are in place already");
    eventually("the status", || world.path("keyvault/files/..status.json").exists().then_some(()));
    assert_eq!(world.paths(), [] as [&str; 0], "adoption asks nothing");
    sidecar.signal("KILL");
    assert_eq!(sidecar.end(), None);
    drop(sidecar);

    let sidecar = Sidecar::start(&world, &plan);
    sidecar.says("the files are in place already");
    world.refreshes(1);
    assert_eq!(world.data(), data);
    for value in ["canary-2", "canary-3"] {
        world.rotate("exact", value);
        eventually(value, || (world.text("both") == format!("{value} and canary-fixed")).then_some(()));
    }
    let fixed = format!("/secrets/db-password/{version}");
    assert_eq!(world.paths().iter().filter(|path| **path == fixed).count(), 1, "once, since it stands beside a moving one");
}

#[test]
fn files_of_another_plan_are_not_adopted() {
    let world = World::new();
    assert_eq!(world.run(&world.refreshed(world.plan_for(&["db-password"]), "1h")).code, 0);
    let data = world.data();
    let other = world.refreshed(world.plan_for(&["exact"]), "1h");
    assert_eq!(started(&world, &other), 1);
    let sidecar = Sidecar::started(&world, &other);
    sidecar.says("done in ");
    assert!(world.data() != data);
    assert_eq!(world.files("keyvault/files").into_keys().collect::<Vec<_>>(), ["exact"]);
}

#[test]
fn a_changed_annotation_refreshes_at_once() {
    let world = World::new();
    world.put("pod/refresh-now", "1");
    let plan = world.refreshed(world.plan_for(&["db-password"]), "24h");
    let sidecar = Sidecar::started(&world, &plan);
    for value in ["canary-2", "canary-3"] {
        world.rotate("db-password", value);
        world.put("pod/refresh-now", value);
        eventually(value, || (world.text("db-password") == value).then_some(()));
    }
    assert_eq!(sidecar.log().matches("a refresh is asked for").count(), 2);
}

#[test]
fn sigterm_ends_it_at_once_whatever_it_does() {
    let world = World::new();
    let plan = world.refreshed(world.plan_for(&["db-password"]), "1s");
    let ends = |mut sidecar: Sidecar| {
        let start = Instant::now();
        sidecar.signal("TERM");
        assert_eq!(sidecar.end(), Some(0));
        // Far more than it takes, and far less than any wait or request of its own.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    };
    world.fault(json!({"plane": "entra", "kind": "delay", "delay_ms": 60_000}));
    let sidecar = Sidecar::start(&world, &plan);
    sidecar.says("objects to read: 1");
    ends(sidecar);

    world.fault(json!({"plane": "entra", "kind": "clear"}));
    let sidecar = Sidecar::started(&world, &plan);
    world.refreshes(1);
    ends(sidecar);

    let sidecar = Sidecar::start(&world, &plan);
    world.refreshes(1);
    world.reset_calls();
    world.fault(json!({"plane": "vault", "kind": "reset"}));
    eventually("a failed refresh", || world.calls("vault").get("0").map(drop));
    ends(sidecar);
    assert_eq!(world.text("db-password"), "correct horse canary staple");
}

#[test]
fn the_first_fetch_fails_as_fetch_does_and_without_a_refresh_nothing_is_watched() {
    let world = World::new();
    let plan = world.refreshed(world.plan_for(&["db-password", "nosuch"]), "1s");
    let (fetched, _) = (world.run(&plan), world.put("dev/termination-log", ""));
    let mut sidecar = Sidecar::start(&world, &plan);
    assert_eq!((fetched.code, sidecar.end()), (66, Some(66)));
    assert_eq!(std::fs::read_to_string(world.path("dev/termination-log")).unwrap(), fetched.termination);
    assert_eq!(started(&world, &plan), 1);

    let mut sidecar = Sidecar::start(&world, &world.plan_for(&["db-password"]));
    assert_eq!(sidecar.end(), Some(64));
    sidecar.says("the plan has no refresh, so there is nothing to watch: keyvault-agent fetch carries it out");
}

#[test]
fn health_and_metrics_are_served_on_the_port_and_the_status_beside_the_files() {
    let world = World::new();
    world.fault(json!({"plane": "entra", "kind": "delay", "delay_ms": 60_000}));
    let plan = world.refreshed(mixed(&world), "1s").with("/refresh/port", json!(0));
    let sidecar = Sidecar::start(&world, &plan);
    let port: u16 = sidecar.says("health and metrics on port ").rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!((get(port, "/live").0, get(port, "/ready").0, get(port, "/nothing").0), (200, 503, 404));
    drop(sidecar);

    world.fault(json!({"plane": "entra", "kind": "clear"}));
    let sidecar = Sidecar::started(&world, &plan);
    let port: u16 = sidecar.says("health and metrics on port ").rsplit(' ').next().unwrap().parse().unwrap();
    eventually("ready", || (get(port, "/ready").0 == 200).then_some(()));
    world.refreshes(1);
    let version = world.rotate("db-password", "canary-2");
    let line = format!("keyvault_agent_object_version_info{{vault=\"demo\",kind=\"secret\",name=\"db-password\",version=\"{version}\"}} 1");
    let (_, metrics) = eventually("the new version", || Some(get(port, "/metrics")).filter(|(_, text)| text.contains(&line)));
    assert!(!metrics.contains("canary"), "{metrics}");
    assert!(metrics.contains("\nkeyvault_agent_last_success_timestamp_seconds 1") && !metrics.contains("{outcome=\"ok\"} 0"), "{metrics}");

    let status = world.status();
    let object = &status["objects"][1];
    assert_eq!((&object["kind"], &object["name"], &object["version"]), (&json!("secret"), &json!("db-password"), &json!(version)));
    assert!(status["lastSuccess"].as_str() <= status["nextTry"].as_str() && status["failures"] == json!({}), "{status}");
    assert_eq!(std::fs::metadata(world.path("keyvault/files/..status.json")).unwrap().mode() & 0o7777, 0o440);
}

fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn what_was_selected_at_the_start_is_kept_up_to_date_and_taken_over_after_a_restart() {
    let world = World::new();
    let plan = crate::selection::plan(&world, "demo", json!({"prefix": "app-", "tags": {"tier": "1"}}), "${name}");
    let plan = world.refreshed(plan, "1s");
    let sidecar = Sidecar::started(&world, &plan);
    assert_eq!(world.text("app-db"), "canary-app-db");
    world.manage("PUT", "/secrets/app-db", &json!({"value": "canary-next", "tags": {"tier": "1"}}));
    eventually("the new value", || (world.text("app-db") == "canary-next").then_some(()));
    drop(sidecar);

    let target = world.data();
    let sidecar = Sidecar::started(&world, &plan);
    sidecar.says("the files are in place already");
    assert_eq!((world.data(), world.text("app-db").as_str()), (target, "canary-next"));
}

impl Plan {
    /// Asks for a restart of all containers, at most every `apart`.
    fn restarting(self, watch: &[&str], apart: &str) -> Plan {
        self.with("/refresh/restart", json!({"watch": watch, "restartsApart": apart}))
    }
}

#[test]
fn new_values_end_the_sidecar_with_the_code_that_restarts_all_containers() {
    let world = World::new();
    let plan = world.refreshed(world.plan_for(&["db-password", "exact"]), "1s").restarting(&["/keyvault/files"], "1s");
    world.put("dev/termination-log", "");
    let mut sidecar = Sidecar::started(&world, &plan);
    world.refreshes(2);
    assert!(!sidecar.log().contains("values changed"), "nothing changed:\n{}", sidecar.log());
    world.rotate("db-password", "canary-second");
    assert_eq!(sidecar.end(), Some(80));
    assert_eq!(world.text("db-password"), "canary-second", "the new value is there before the sidecar ends");
    let said = "values changed: the sidecar ends, so that the kubelet starts all containers of the pod again with the new ones";
    assert_eq!(std::fs::read_to_string(world.path("dev/termination-log")).unwrap(), format!("{said}\n"));
    sidecar.says(said);

    // What the kubelet starts then has the values of now.
    let after = Sidecar::started(&world, &plan);
    after.says("the files are in place already");
    world.refreshes(3);
    assert!(!after.log().contains("values changed"), "a restart for nothing:\n{}", after.log());
}

#[test]
fn ten_minutes_are_between_restarts_whatever_restarted_the_sidecar() {
    let world = World::new();
    let plan = world.refreshed(world.plan_for(&["db-password"]), "1s").restarting(&["/keyvault/files"], "10m");
    let mut first = Sidecar::started(&world, &plan);
    world.rotate("db-password", "canary-second");
    first.says("values changed: all containers are restarted in 5");
    first.signal("KILL");
    assert_eq!(first.end(), None);

    let second = Sidecar::started(&world, &plan);
    second.says("the files are in place already");
    second.says("values changed: all containers are restarted in 5");
    let record = std::fs::read_to_string(world.path("keyvault/files/..restart.json")).unwrap();
    assert!(!record.contains(CANARY), "{record}");
}

#[test]
fn what_no_running_container_uses_is_no_reason_to_restart() {
    let world = World::new();
    std::fs::create_dir_all(world.path("keyvault/files-2")).unwrap();
    let plan = world.plan_for(&["db-password"]).with("/directories/-", json!({"path": "/keyvault/files-2", "entries": []}));
    let plan = plan.file("exact", &world.vault("demo"), "exact", json!({}));
    let plan = world.refreshed(plan, "1s").restarting(&["/keyvault/files"], "1s");
    let mut sidecar = Sidecar::started(&world, &plan);
    world.rotate("exact", "canary-2");
    eventually("the new value", || (std::fs::read(world.path("keyvault/files-2/exact")).ok()? == b"canary-2").then_some(()));
    world.refreshes(2);
    assert!(!sidecar.log().contains("values changed"), "{}", sidecar.log());
    world.rotate("db-password", "canary-third");
    assert_eq!(sidecar.end(), Some(80));
}
