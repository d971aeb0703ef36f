//! What a vault or Entra may answer, and what the agent makes of it.

use std::io::BufRead;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::world::{World, secrets};

fn assert_nothing_written(world: &World) {
    assert_eq!(std::fs::read_dir(world.path("keyvault/files")).unwrap().count(), 0);
}

#[test]
fn every_refusal_of_a_vault_is_reported_with_its_own_words() {
    let world = World::new();
    let refused = "refused client 11111111-1111-1111-1111-111111111111 of tenant aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee with the ServiceAccount token of \
                   issuer https://oidc.example.invalid/, subject system:serviceaccount:default:app, audience api://AzureADTokenExchange: 403 Forbidden";
    for (kind, code, class, words) in [
        ("rbac", 77, "rbac", format!("{refused} ForbiddenByRbac: Caller is not authorized to perform action on resource. ")),
        ("policy", 77, "rbac", format!("{refused} ForbiddenByPolicy: The user, group or application ")),
        ("denied", 77, "rbac", format!("{refused} AccessDenied: The user, group or application ")),
        (
            "firewall",
            76,
            "firewall",
            "answered 403 Forbidden ForbiddenByFirewall: Client address is not authorized and caller is not a trusted service. ".to_owned(),
        ),
        ("connection", 76, "firewall", "answered 403 Forbidden ForbiddenByConnection: Public network access is disabled ".to_owned()),
        ("garbage", 65, "format", "answered 200, but not with the JSON of a secret (line 1, column 1); ".to_owned()),
    ] {
        world.fault(json!({"plane": "vault", "kind": "clear"}));
        world.fault(json!({"plane": "vault", "kind": kind}));
        let run = world.run(&world.plan_for(&["db-password"]));
        assert_eq!(run.code, code, "{kind}: {}", run.log);
        let start = format!("{class} demo/db-password: Key Vault at {} {words}", world.demo());
        assert!(run.termination.starts_with(&start), "{kind}: {}", run.termination);
        assert_nothing_written(&world);
    }
}

#[test]
fn a_missing_and_a_disabled_secret_are_distinguished() {
    let world = World::new();
    let run = world.run(&world.plan_for(&["nosuch", "old-token"]));
    assert_eq!(run.code, 66, "{}", run.log);
    assert_eq!(
        run.termination.replace(&world.demo(), "DEMO"),
        "not-found demo/nosuch: Key Vault at DEMO answered 404 SecretNotFound: A secret with (name/id) nosuch was not found in this key vault. If you recently deleted this secret \
         you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182; \
         create it, correct name or version, or mark the reference optional\n\
         disabled demo/old-token: Key Vault at DEMO answered 403 Forbidden SecretDisabled: Operation get is not allowed on a disabled secret; enable it in the vault, or name another version\n"
    );
    assert_nothing_written(&world);
}

#[test]
fn all_problems_come_at_once_and_the_message_fits() {
    let world = World::new();
    let missing: Vec<String> = (0..40).map(|n| format!("missing-{n:02}")).collect();
    let mut names: Vec<&str> = missing.iter().map(String::as_str).collect();
    names.extend(["db-password", "old-token"]);
    let run = world.run(&world.plan_for(&names));
    assert_eq!(run.code, 66, "{}", run.log);
    assert_eq!(run.log.lines().filter(|line| line.contains(" ERROR ")).count(), 41);
    assert!(run.termination.len() <= 4_000);
    let last = run.termination.lines().last().unwrap();
    assert!(last.starts_with("and ") && last.ends_with(" more"), "{last}");
    assert_nothing_written(&world);
}

#[test]
fn throttling_passes_with_and_without_a_word_on_how_long() {
    for fault in
        [json!({"plane": "vault", "kind": "throttle", "count": 2}), json!({"plane": "vault", "kind": "throttle", "count": 3, "retry_after": 1})]
    {
        let world = World::new();
        world.fault(fault.clone());
        let all: Vec<(String, String)> = secrets().collect();
        let plan = world.plan_for(&all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()).with("/deadline", json!("1m"));
        let run = world.run(&plan);
        assert_eq!(run.code, 0, "{}", run.log);
        assert_eq!(world.calls("vault"), json!({"200": 50, "429": fault["count"]}));
        assert_eq!(world.files("keyvault/files").len(), 50);
    }
}

#[test]
fn who_starts_when_the_window_is_used_up_asks_once_in_each_pause() {
    let world = World::new();
    let plan = |names: &[(String, String)]| {
        names.iter().fold(world.plan(), |plan, (name, _)| plan.file(name, &world.vault("narrow"), name, json!({}))).with("/deadline", json!("7s"))
    };
    let secrets: Vec<(String, String)> = secrets().take(10).collect();
    assert_eq!(world.run(&plan(&secrets[..4])).code, 0);
    assert_eq!(world.calls("vault"), json!({"200": 4}), "the whole window");

    world.reset_calls();
    let run = world.run(&plan(&secrets));
    assert_eq!(run.code, 75, "{}", run.log);
    assert_eq!(run.termination.lines().filter(|line| line.starts_with("throttled narrow/s-0")).count(), 10, "{}", run.termination);
    // At once and after three to six seconds; once more only if both pauses were short.
    let calls = world.calls("vault");
    assert!([json!({"429": 2}), json!({"429": 3})].contains(&calls), "{calls}");
}

#[test]
fn what_one_window_has_no_room_for_comes_with_the_next_ones() {
    let world = World::new();
    let plan = secrets().take(10).fold(world.plan(), |plan, (name, _)| plan.file(&name, &world.vault("brief"), &name, json!({})));
    let run = world.run(&plan.with("/deadline", json!("2m")));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(world.files("keyvault/files").len(), 10);
    let calls = world.calls("vault");
    // Nine at once after the first of the first window, three after the three of the second.
    assert!(calls["200"] == 10 && calls["429"].as_u64().is_some_and(|refused| refused <= 8), "{calls}");
    let warnings: Vec<&str> = run.log.lines().filter(|line| line.contains(" WARN ")).collect();
    assert!((1..=3).contains(&warnings.len()), "one for each pause, not for each object: {}", run.log);
    assert!(warnings.iter().all(|line| line.contains(" answered 429 ") && line.contains("; no request goes to this vault for ")), "{}", run.log);
}

#[test]
fn a_wait_beyond_the_deadline_is_a_failure_at_once() {
    let world = World::new();
    world.fault(json!({"plane": "vault", "kind": "throttle", "retry_after": 3600}));
    let run = world.run(&world.plan_for(&["db-password"]));
    assert_eq!(run.code, 75, "{}", run.log);
    let words = "answered 429 Throttled: Request was not processed because too many requests were received. \
                 Reason: VaultRequestTypeLimitReached (asks to wait 3600s, but the deadline is in 1";
    let start = format!("throttled demo/db-password: Key Vault at {} {words}", world.demo());
    let end = "s); start fewer pods at once, spread objects over vaults, or raise the deadline\n";
    assert!(run.termination.starts_with(&start) && run.termination.ends_with(end), "{}", run.termination);
    assert_eq!(world.calls("vault"), json!({"429": 1}));
}

#[test]
fn what_passes_by_itself_is_tried_again() {
    let world = World::new();
    for (fault, calls) in [
        (json!({"plane": "vault", "kind": "unavailable", "count": 2}), json!({"200": 1, "503": 2})),
        (json!({"plane": "vault", "kind": "reset", "count": 2}), json!({"0": 2, "200": 1})),
        (json!({"plane": "vault", "kind": "status", "status": 408, "count": 1}), json!({"200": 1, "408": 1})),
        (json!({"plane": "vault", "kind": "status", "status": 401, "count": 1}), json!({"200": 1, "401": 1})),
    ] {
        world.reset_calls();
        world.fault(fault);
        let run = world.run(&world.plan_for(&["db-password"]));
        assert_eq!(run.code, 0, "{}", run.log);
        assert_eq!(world.calls("vault"), calls);
    }
    world.fault(json!({"plane": "vault", "kind": "truncate", "count": 2}));
    assert_eq!(world.run(&world.plan_for(&["db-password"])).code, 0);
}

#[test]
fn what_does_not_pass_ends_at_the_deadline_with_its_own_class() {
    let cases = [
        (json!({"plane": "vault", "kind": "unavailable"}), 69, "unavailable", "Key Vault at DEMO answered 503"),
        (json!({"plane": "vault", "kind": "throttle"}), 75, "throttled", "Key Vault at DEMO answered 429 Throttled"),
        (json!({"plane": "vault", "kind": "truncate"}), 65, "format", "Key Vault at DEMO answered 200, but the answer broke off after "),
        (json!({"plane": "vault", "kind": "reset"}), 71, "connect", "the connection to DEMO broke: "),
        (json!({"plane": "vault", "kind": "delay", "delay_ms": 30_000}), 74, "timeout", "DEMO did not answer within "),
        (json!({"plane": "entra", "kind": "unavailable"}), 69, "unavailable", "Entra at ENTRA refused client "),
        (json!({"plane": "entra", "kind": "throttle"}), 75, "throttled", "Entra at ENTRA refused client "),
        (json!({"plane": "entra", "kind": "reset"}), 71, "connect", "the connection to ENTRA broke: "),
    ];
    std::thread::scope(|scope| {
        for (fault, code, class, text) in cases {
            scope.spawn(move || {
                let world = World::new();
                world.fault(fault);
                let run = world.run(&world.plan_for(&["db-password"]).with("/deadline", json!("4s")));
                assert_eq!(run.code, code, "{}", run.log);
                let text = text.replace("DEMO", &world.demo()).replace("ENTRA", &world.entra());
                assert!(run.termination.starts_with(&format!("{class} demo/db-password: {text}")), "{}", run.termination);
                assert_nothing_written(&world);
            });
        }
    });
}

#[test]
fn a_vault_that_refuses_the_token_twice_is_not_asked_a_third_time() {
    let world = World::new();
    world.fault(json!({"plane": "vault", "kind": "status", "status": 401}));
    let run = world.run(&world.plan_for(&["db-password"]));
    assert_eq!(run.code, 78, "{}", run.log);
    let start = format!("auth demo/db-password: Key Vault at {} refused client 11111111-", world.demo());
    assert!(run.termination.starts_with(&start) && run.termination.contains(": 401"), "{}", run.termination);
    assert_eq!((world.calls("vault"), world.calls("entra")), (json!({"401": 2}), json!({"200": 2})));
}

#[test]
fn sigterm_ends_the_waiting_at_once() {
    let world = World::new();
    world.fault(json!({"plane": "entra", "kind": "delay", "delay_ms": 60_000}));
    let plan = world.plan_for(&["db-password"]);
    let mut agent = world.command(&plan, "exec \"$0\" \"$@\"", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    std::io::BufReader::new(agent.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.ends_with(" INFO objects to read: 1, directories to write: 1\n"), "{first}");
    assert!(Command::new("/bin/sh").args(["-c", "kill -TERM $0"]).arg(agent.id().to_string()).status().unwrap().success());
    assert_eq!(agent.wait().unwrap().code(), Some(143));
    assert_nothing_written(&world);
}
