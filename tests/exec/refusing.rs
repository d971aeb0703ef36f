//! No program: the exit code says why, and one line says it to people, also where `kubectl describe` looks.

use std::process::Command;

use serde_json::json;

use crate::world::{PATH, World, agent, run};

#[track_caller]
fn refused(world: &World, program: &[&str], code: i32, expected: &str) {
    for supervise in [&["--"][..], &["--supervise", "--"]] {
        world.put("log", b"", 0o644);
        let run = run(world.exec(json!({})).args(supervise).args(program));
        assert_eq!((run.status.code(), run.stderr.as_str()), (Some(code), format!("keyvault-agent: {expected}\n").as_str()), "{supervise:?}");
        assert_eq!(world.termination(), format!("{expected}\n"));
    }
}

#[test]
fn what_is_not_found_ends_with_127() {
    let world = World::new(&[("SECRET", b"canary")]);
    refused(&world, &["absent", "word"], 127, &format!("absent: no such program in any directory of PATH ({PATH})"));
    refused(&world, &["/absent"], 127, "/absent: no such program");
    refused(&world, &[""], 127, &format!(": no such program in any directory of PATH ({PATH})"));
    let script = world.put_program("script", b"#!/absent\n", 0o755);
    let script = script.to_str().unwrap();
    let expected = format!("{script}: the interpreter that its first line names, or the loader that it was linked for, is not in the image");
    refused(&world, &[script], 127, &expected);
}

#[test]
fn the_message_fits_into_the_containers_share_of_the_kubelets() {
    let world = World::new(&[("SECRET", b"canary")]);
    let name = "x".repeat(200);
    let run = run(world.exec(json!({"terminationMessageBytes": 64})).args(["--", &format!("/{name}")]));
    assert_eq!((run.status.code(), run.stderr), (Some(127), format!("keyvault-agent: /{name}: no such program\n")));
    assert_eq!(world.termination(), format!("/{}…\n", "x".repeat(59)));
}

#[test]
fn what_cannot_be_executed_ends_with_126() {
    let world = World::new(&[("SECRET", b"canary")]);
    let cannot = |name: &str, reason: &str| {
        let path = world.path(name);
        refused(&world, &[path.to_str().unwrap()], 126, &format!("{}: cannot be executed: {reason}", path.display()));
    };
    world.put("plain", b"#!/bin/sh\n", 0o644);
    cannot("plain", "Permission denied (os error 13)");
    cannot("env", "Is a directory (os error 21)");
    for (name, content) in
        [("no-shebang", &b"echo a shell ran this\n"[..]), ("empty", b""), ("garbage", b"\0\x01\x02\x03garbage"), ("truncated", b"\x7fELF")]
    {
        world.put_program(name, content, 0o755);
        cannot(name, "Exec format error (os error 8)");
    }
}

#[test]
fn too_much_for_the_kernel_ends_with_126() {
    let world = World::new(&[("SECRET", &vec![b'x'; 200_000])]);
    refused(&world, &["/bin/sh"], 126, "/bin/sh: cannot be executed: Argument list too long (os error 7)");
}

#[test]
fn values_that_cannot_be_had_end_with_a_code_of_their_class() {
    let world = World::new(&[("GOOD", b"canary"), ("BAD", b"can\0ary")]);
    refused(&world, &["true"], 65, "format BAD: the value has a NUL byte, which no environment variable can hold; deliver it as a file instead");
    std::fs::remove_file(world.path("env/..data")).unwrap();
    let expected = format!(
        "volume {}: the values for the environment cannot be read: No such file or directory (os error 2); they are left by the container \
         keyvault-agent, look at its log",
        world.path("env/..data").display()
    );
    refused(&world, &["true"], 73, &expected);
}

#[test]
fn a_command_line_or_plan_that_cannot_be_used_ends_with_64() {
    let agent = |plan: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(agent());
        let run = run(command.args(arguments).env_clear().envs(plan.map(|plan| ("KEYVAULT_AGENT_EXEC", plan))));
        (run.status.code(), run.stderr)
    };
    let unusable = |text: &str| (Some(64), format!("keyvault-agent: {text}\n"));
    let absent = "the environment variable KEYVAULT_AGENT_EXEC is not set: the injector puts it there";
    assert_eq!(agent(None, &["exec", "--", "true"]), unusable(absent));
    assert_eq!(agent(None, &["exec", "--supervise", "--", "true"]), unusable(absent));
    let version = "KEYVAULT_AGENT_EXEC: the plan has version 2, this agent reads version 1: use the agent image that the webhook was released with";
    assert_eq!(agent(Some(r#"{"version":2}"#), &["exec", "--", "true"]), unusable(version));
    let usage = "exec needs -- and a program after it: keyvault-agent exec -- PROGRAM ARGS…";
    assert_eq!(agent(Some(r#"{"version":1}"#), &["exec", "--"]), unusable(usage));
}
