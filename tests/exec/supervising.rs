//! The agent stays the program's parent.

use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;

use rustix::process::Signal;
use serde_json::json;

use crate::world::{Running, World, run, shell, until, variables};

const CANARY: &[u8] = b"canary in the memory of nobody but the program";

fn supervised(world: &World, extra: serde_json::Value, before: &str) -> Running {
    let program = shell(before);
    let program: Vec<&str> = program.iter().map(|word| word.to_str().unwrap()).collect();
    let mut running = world.supervise(extra, &program);
    assert_eq!(running.line(), "ready");
    running
}

#[test]
fn every_exit_code_is_handed_on() {
    let world = World::new(&[]);
    for code in 0..=255 {
        assert_eq!(run(world.exec(json!({})).args(["--supervise", "--", "sh", "-c", &format!("exit {code}")])).status.code(), Some(code));
    }
    for signal in [1, 9, 11, 15] {
        let run = run(world.exec(json!({})).args(["--supervise", "--", "sh", "-c", &format!("kill -{signal} $$")]));
        assert_eq!((run.status.code(), run.stderr.as_str()), (Some(128 + signal), ""));
    }
}

#[test]
fn the_program_sees_its_values_and_its_terminal_as_without_a_parent() {
    let world = World::new(&[("SECRET", b"canary")]);
    let run = run(world.exec(json!({"onChange": "restart", "watch": [world.path("env")]})).args(["--supervise", "--", "cat", "/proc/self/environ"]));
    assert_eq!(variables(&run.stdout)[1], ("SECRET".to_owned(), b"canary".to_vec()), "{}", run.stderr);
    assert_eq!(variables(&run.stdout).len(), 2, "nothing of the agent's own");
    let groups = world.supervise(json!({}), &["sh", "-c", "cut -d' ' -f5-6 /proc/$PPID/stat /proc/$$/stat"]).end();
    let groups = String::from_utf8(groups.stdout).unwrap();
    let [of_agent, of_program] = groups.lines().collect::<Vec<_>>()[..] else { panic!("{groups:?}") };
    assert_eq!(of_agent, of_program, "one group and one session, so that a terminal belongs to both");
}

#[test]
fn signals_reach_the_program_and_it_decides_what_they_mean() {
    let world = World::new(&[]);
    let names = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "TERM"];
    let traps: String = names.map(|name| format!("trap 'echo {name}' {name}; ")).concat();
    let mut running = supervised(&world, json!({}), &traps);
    let signals = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::WINCH, Signal::TERM];
    for (name, signal) in names.into_iter().zip(signals) {
        running.send(signal);
        assert_eq!(running.line(), name);
    }
    drop(running);

    let mut polite = supervised(&world, json!({}), "trap 'exit 9' TERM");
    polite.send(Signal::TERM);
    assert_eq!(polite.end().status.code(), Some(9));
    let mut plain = supervised(&world, json!({}), "");
    plain.send(Signal::TERM);
    assert_eq!(plain.end().status.code(), Some(143));
}

fn status_line(pid: &str, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

#[test]
fn orphans_become_its_children_and_leave_no_zombies() {
    let world = World::new(&[]);
    let fifos = [world.path("one"), world.path("other")];
    assert!(std::process::Command::new("mkfifo").args(&fifos).status().unwrap().success());
    // Two grandchildren whose parents end at once, and which themselves end when they are told to.
    let orphans = fifos.each_ref().map(|fifo| format!("(sh -c 'echo $$; read line <{}; exit 5' &)\n", fifo.display())).concat();
    let mut running = world.supervise(json!({}), &["sh", "-c", &format!("{orphans}echo ready; read line")]);
    let mut lines = [running.line(), running.line(), running.line()];
    lines.sort();
    let [one, other, ready] = lines;
    assert_eq!(ready, "ready");
    for orphan in [&one, &other] {
        until("the orphan is adopted", || (status_line(orphan, "PPid:")? == running.pid().to_string()).then_some(()));
    }
    // Opened once its reader is there.
    fifos.iter().for_each(|fifo| drop(std::fs::OpenOptions::new().write(true).open(fifo).unwrap()));
    for orphan in [&one, &other] {
        until("the orphan is buried", || (!std::path::Path::new(&format!("/proc/{orphan}")).exists()).then_some(()));
    }
    let state = status_line(&running.pid().to_string(), "State:").unwrap();
    assert!(!state.starts_with('Z'), "the program is there all the time: {state}");
}

#[test]
fn a_swap_is_reported_by_the_signal_asked_for() {
    let world = World::new(&[("SECRET", b"old")]);
    let mut running = supervised(&world, json!({"onChange": {"signal": "SIGHUP"}}), "trap 'echo reload' HUP; trap 'exit 4' TERM");
    for version in ["..2", "..3"] {
        world.publish(version, &[("SECRET", b"new")]);
        assert_eq!(running.line(), "reload");
    }
    running.send(Signal::TERM);
    let run = running.end();
    assert_eq!((run.status.code(), world.termination().as_str()), (Some(4), ""));
    assert_eq!(run.stderr, "keyvault-agent: values changed: SIGHUP sent to the program\n".repeat(2));
}

#[test]
fn a_swap_ends_the_program_so_that_the_next_start_has_the_new_values() {
    let world = World::new(&[("SECRET", b"old")]);
    for (version, policy, code) in [("..2", "Always", 0), ("..3", "OnFailure", 80)] {
        let plan = json!({"onChange": "restart", "restartsApart": "0s", "restartPolicy": policy});
        let mut running = supervised(&world, plan.clone(), "trap 'exit 4' TERM");
        world.publish(version, &[("SECRET", version.as_bytes())]);
        let ended = running.end();
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        let line = "values changed: the program is ended, so that its container starts again with the new ones\n";
        assert_eq!((ended.stderr, world.termination().as_str()), (format!("keyvault-agent: {line}"), line));
        let again = world.become_program(&["sh", "-c", "echo $SECRET"]);
        assert_eq!(again.stdout, format!("{version}\n").as_bytes());
    }
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
    let world = World::new(&[]);
    let plan = json!({"onChange": "restart", "restartsApart": "0s", "restartPolicy": "OnFailure", "grace": "100ms"});
    let mut running = supervised(&world, plan, "trap '' TERM");
    world.publish("..2", &[]);
    let run = running.end();
    assert_eq!(run.status.code(), Some(80));
    assert!(run.stderr.ends_with("\nkeyvault-agent: the program did not end in time: it is killed\n"), "{}", run.stderr);
}

#[test]
fn the_end_of_the_pod_wins_over_a_restart_that_waits() {
    let world = World::new(&[("SECRET", b"old")]);
    // The restart is due in a minute at the earliest.
    let plan = json!({"onChange": "restart", "restartsApart": "1m", "restartPolicy": "OnFailure"});
    let mut running = supervised(&world, plan, "trap 'exit 4' TERM");
    world.publish("..2", &[]);
    running.send(Signal::TERM);
    let run = running.end();
    assert_eq!((run.status.code(), run.stderr.as_str()), (Some(4), ""));
}

#[test]
fn the_end_of_the_pod_wins_over_a_restart_that_has_begun() {
    let world = World::new(&[]);
    let plan = json!({"onChange": "restart", "restartsApart": "0s", "restartPolicy": "OnFailure", "grace": "1h"});
    let mut running = supervised(&world, plan, "trap 'echo told' TERM; trap 'echo winch' WINCH; trap 'exit 4' EXIT");
    world.publish("..2", &[]);
    assert_eq!(running.line(), "told");
    running.send(Signal::TERM);
    // Is passed on after SIGTERM has been looked at.
    running.send(Signal::WINCH);
    assert_eq!(running.line(), "winch", "it is not told twice");
    running.close();
    assert_eq!(running.end().status.code(), Some(4));
}

/// Whether a process holds these bytes anywhere: in its memory, its environment or its command line.
fn holds(pid: u32, needle: &[u8]) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = String::from_utf8(read("maps")).unwrap();
    let mut areas: Vec<Vec<u8>> = vec![read("environ"), read("cmdline")];
    areas.extend(maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // The kernel's own pages have no bytes for us.
        (rest.starts_with("rw") && memory.read_exact_at(&mut bytes, from).is_ok()).then_some(bytes)
    }));
    areas.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
}

#[test]
fn the_parent_is_open_to_its_container_and_never_holds_a_value() {
    let world = World::new(&[("SECRET", CANARY)]);
    let agent = world.put_program("agent", &std::fs::read(crate::world::agent()).unwrap(), 0o755);
    let plan = json!({"version": 1, "environment": world.path("env")});
    // Root may open everything, so it lets somebody else try as well; the pipe itself stays root's.
    let hook = "readlink /proc/$PPID/fd/1; echo said by a hook >/proc/$PPID/fd/1";
    let others = [(None, hook), (Some(65_532), "readlink /proc/$PPID/fd/1; echo said by a hook")];
    for (user, hook) in others.into_iter().take(if rustix::process::geteuid().is_root() { 2 } else { 1 }) {
        let mut command = std::process::Command::new(&agent);
        command.args(["exec", "--supervise", "--", "sh", "-c", &format!("echo $$; {hook}; read line")]);
        command.env_clear().env("PATH", crate::world::PATH).env("KEYVAULT_AGENT_EXEC", plan.to_string());
        if let Some(user) = user {
            for file in ["env/..1/SECRET", "env/..1"] {
                std::os::unix::fs::chown(world.path(file), Some(user), Some(user)).unwrap();
            }
            command.uid(user).gid(user);
        }
        let mut running = Running::start(&mut command);
        let program: u32 = running.line().parse().unwrap();
        let (link, said) = (running.line(), running.line());
        assert!(link.starts_with("pipe:[") && said == "said by a hook", "{user:?}: {link} {said}");
        assert!(!holds(running.pid(), CANARY), "{user:?}");
        assert!(holds(program, CANARY), "the search finds what is there");
        running.close();
        assert_eq!(running.end().stderr, "");
    }
}
