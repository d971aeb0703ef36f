//! No secret value, token or part of a pod that is not ours ever leaves by a log, metric, error, patch, answer or termination message.
//!
//! The real programs run through success and through failures of every kind, with texts planted everywhere; then everything they said is searched.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "canary/echo.rs"]
mod echo;
#[path = "canary/world.rs"]
mod world;

use echo::Echo;
use keyvault_client::Class;
use serde_json::{Value, json};

use world::{World, pod};

/// What the agent is made to do, and the exit code that shows that it did.
async fn run_agents(world: &mut World) {
    let plan = world.plan("value, text, config").await;
    let run = world.agent(&plan, "system:serviceaccount:payments:app").await;
    assert_eq!(run.code, Some(0), "{}", run.log);
    assert_eq!(run.files, ["{\"token\": \"canary-property\"}", "canary-value-text", "canary-value"], "what the containers should see, they see");

    for (secrets, code) in [
        ("value, disabled", 67),
        ("value, nosuch", 66),
        ("text, closed/value", 77),
        ("- {name: text, encoding: hex}", 65),
        ("- {name: text, encoding: base64}", 65),
        ("- {name: config, property: nosuch}", 65),
        ("- {name: text, property: a}", 65),
        ("- {select: {prefix: TE}, file: \"${name}\", property: a}", 65),
        ("- {select: {prefix: va}, file: \"${name}\"}\n- {name: text, file: value}", 65),
        ("- {select: {tags: {team: none}}, file: \"${name}\"}", 66),
        ("- {select: {prefix: va}, vault: closed, file: \"${name}\"}", 77),
    ] {
        let plan = world.plan(secrets).await;
        let run = world.agent(&plan, "system:serviceaccount:payments:app").await;
        assert_eq!(run.code, Some(code), "{secrets}: {}", run.log);
        assert!(!run.termination.is_empty() && run.files.is_empty(), "{secrets}: {}", run.termination);
    }
    for (plane, fault, code) in [
        ("vault", json!({"kind": "firewall"}), 76),
        ("vault", json!({"kind": "garbage"}), 65),
        ("vault", json!({"kind": "truncate"}), 65),
        ("vault", json!({"kind": "throttle"}), 75),
        ("vault", json!({"kind": "unavailable"}), 69),
        ("vault", json!({"kind": "status", "status": 400}), 65),
        ("vault", json!({"kind": "status", "status": 401}), 78),
        ("vault", json!({"kind": "reset"}), 71),
        ("entra", json!({"kind": "garbage"}), 65),
        ("entra", json!({"kind": "status", "status": 400}), 78),
        ("entra", json!({"kind": "unavailable"}), 69),
        ("entra", json!({"kind": "truncate"}), 65),
    ] {
        world.fault(plane, fault.clone()).await;
        let plan = world.plan("value, text").await;
        let run = world.agent(&plan, "system:serviceaccount:payments:app").await;
        assert_eq!(run.code, Some(code), "{plane} {fault}: {}", run.termination);
        world.fault(plane, json!({"kind": "clear"})).await;
    }
}

async fn run_sign_ins(world: &mut World) {
    let plan = world.plan("value").await;
    let run = world.agent(&plan, "system:serviceaccount:payments:somebody-else").await;
    assert_eq!(run.code, Some(78), "{}", run.log);

    for (secret, code) in [("canary-client-secret", 0), ("canary-wrong-secret", 78)] {
        let mut plan: Value = serde_json::from_str(&plan).unwrap();
        plan["identity"] = json!({"servicePrincipal": {"directory": "/principal"}});
        world.put_principal(secret);
        let run = world.agent(&plan.to_string(), "system:serviceaccount:payments:app").await;
        assert_eq!(run.code, Some(code), "{}", run.log);
    }
    let run = world.agent("{\"version\":1,\"canary-plan\":\"canary-plan\"", "system:serviceaccount:payments:app").await;
    assert_eq!(run.code, Some(64), "{}", run.log);
}

/// Servers that repeat what they are sent, where TLS is trusted.
async fn run_echoes(world: &mut World) {
    let plan = world.plan("value").await;
    world.put_principal("canary-client/secret+with all~kinds&of=characters");
    let (token, principal) = (Value::Null, json!({"servicePrincipal": {"directory": "/principal"}}));
    for (class, identity, code) in [(Class::Auth, &token, 78), (Class::Auth, &principal, 78), (Class::Rbac, &principal, 77)] {
        let echo = Echo::start(class).await;
        let mut plan: Value = serde_json::from_str(&plan).unwrap();
        plan["cloud"]["authorityHost"] = json!(format!("https://localhost:{}", echo.port));
        plan["fetch"][0]["secret"]["vault"] = json!(format!("https://echo.vault.localhost:{}", echo.port));
        plan["extraCa"] = json!(echo.ca);
        if !identity.is_null() {
            plan["identity"] = identity.clone();
        }
        let run = world.agent(&plan.to_string(), "system:serviceaccount:payments:app").await;
        assert_eq!(run.code, Some(code), "{}", run.log);
        assert!(run.termination.contains("[redacted]"), "{}", run.termination);
        let secret_parts = ["secret%2B", "secret+with", "kinds&of", "0123456789_abc", "uvwxyz-012"];
        assert!(secret_parts.iter().all(|part| !run.termination.contains(part) && !run.log.contains(part)), "{}", run.log);
    }
}

async fn run_reviews(world: &mut World) {
    for (secrets, allowed) in [("value, text", true), ("my_secret, =", false), ("- {name: value, containers: [nosuch]}", false)] {
        let answer = world.review(&pod(secrets)).await;
        assert_eq!(answer["allowed"], allowed, "{answer}");
    }
    let mut opted_out = pod("value");
    opted_out["metadata"]["annotations"]["keyvault-injector.io/inject"] = json!("false");
    assert_eq!(world.review(&opted_out).await["allowed"], true);

    // Pods that cannot be read, with what makes them so.
    for (pointer, value) in [
        ("/spec/containers", json!("canary-containers")),
        ("/spec/securityContext", json!({"runAsUser": "canary-uid"})),
        ("/spec/containers/0/resources", json!({"limits": {"memory": "canary-quantity"}})),
        ("/metadata/annotations", json!(["canary-annotations"])),
        ("/spec/containers/0/volumeMounts", json!([{"name": ["canary-mount"]}])),
    ] {
        let mut broken = pod("value");
        *broken.pointer_mut(pointer).unwrap() = value;
        world.review(&broken).await;
    }
    for body in ["{\"request\": {\"uid\": \"canary-uid\"", "canary-body", "{\"request\": \"canary-request\"}"] {
        assert_eq!(world.post(body.to_owned()).await, 400, "{body}");
    }
}

#[tokio::test]
async fn nothing_that_is_said_holds_a_value_a_token_or_a_strangers_part_of_a_pod() {
    let mut world = World::start().await;
    run_reviews(&mut world).await;
    run_agents(&mut world).await;
    run_sign_ins(&mut world).await;
    run_echoes(&mut world).await;
    let heard = world.end().await;

    assert!(heard.len() > 60, "only {} texts were heard", heard.len());
    for (place, least) in [("webhook's log", 5_000), ("emulator's log", 2_000), ("webhook's metrics", 1_000), ("agent's log", 200)] {
        assert!(heard.iter().any(|(heard, text)| heard == place && text.len() > least), "the {place} is shorter than {least} bytes");
    }
    let leaks: Vec<String> = heard.iter().filter_map(|(place, text)| leak(place, text)).collect();
    assert_eq!(leaks, [] as [&str; 0]);
}

/// Where a text holds one of ours, or the beginning of any token.
fn leak(place: &str, text: &str) -> Option<String> {
    let at = ["canary", "eyJ"].iter().find_map(|planted| text.find(planted))?;
    Some(format!(
        "{place}: …{}",
        text[..at].chars().rev().take(80).collect::<Vec<_>>().into_iter().rev().chain(text[at..].chars().take(40)).collect::<String>()
    ))
}

#[test]
fn what_is_searched_for_is_found() {
    assert_eq!(leak("log", "a b canary-value c").as_deref(), Some("log: …a b canary-value c"));
    assert_eq!(leak("log", "Bearer eyJhbGci").as_deref(), Some("log: …Bearer eyJhbGci"));
    assert_eq!(leak("log", "payments/value: read"), None);
}
