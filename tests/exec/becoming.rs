//! The agent becomes the program: nothing but its variables tells it from one that the runtime started.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::world::{PATH, Running, World, agent, as_a_runtime_starts, run, until, variables, with_signals};

#[test]
fn values_reach_the_program_to_the_byte_beside_the_variables_it_had() {
    let world = World::new(&[("SECRET", b"canary \xff\r\n$(HOME)=\"'\n"), ("EMPTY", b""), ("OVER", b"new")]);
    let mut command = world.exec(json!({}));
    command.env("OVER", "old").env("BYTES", OsStr::from_bytes(b"\xfe")).env("KEYVAULT_AGENT_PLAN", "x").env("KEYVAULT_AGENTS", "stay");
    let run = run(command.args(["--", "cat", "/proc/self/environ"]));
    let expected: [(&str, &[u8]); 6] = [
        ("BYTES", b"\xfe"),
        ("EMPTY", b""),
        ("KEYVAULT_AGENTS", b"stay"),
        ("OVER", b"new"),
        ("PATH", PATH.as_bytes()),
        ("SECRET", b"canary \xff\r\n$(HOME)=\"'\n"),
    ];
    assert_eq!(variables(&run.stdout), expected.map(|(name, value)| (name.to_owned(), value.to_vec())), "{}", run.stderr);
}

#[test]
fn a_container_without_variables_is_only_started() {
    let world = World::new(&[("SECRET", b"canary")]);
    let run = run(world.exec(json!({"environment": null})).args(["--", "cat", "/proc/self/environ"]));
    assert_eq!(variables(&run.stdout), [("PATH".to_owned(), PATH.as_bytes().to_vec())], "{}", run.stderr);
}

#[test]
fn arguments_and_name_arrive_to_the_byte() {
    let world = World::new(&[]);
    let odd: [&[u8]; 6] = [b"a\xff", b"", b"--help", b"--", b"$(HOME)", b"two words\n"];
    let mut program: Vec<OsString> = ["sh", "-c", "cat /proc/$$/cmdline; :"].map(OsString::from).into();
    program.extend(odd.map(|bytes| OsStr::from_bytes(bytes).to_owned()));
    let run = world.become_program(&program);
    let expected: Vec<u8> = program.iter().flat_map(|argument| [argument.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(OsStr::from_bytes(&run.stdout), OsStr::from_bytes(&expected), "{}", run.stderr);
}

#[test]
fn the_program_gets_process_signals_descriptors_limits_and_folder_as_without_the_agent() {
    let world = World::new(&[]);
    // All but times, memory and the process's own number. A shell blocks signals while it starts others, so each looks at itself.
    let state = "^(Name|Umask|State|TracerPid|Uid|Gid|Groups|Threads|Sig[PBIC]|Shd|Cap|NoNewPrivs|Seccomp|CoreDumping)";
    for program in [&["grep", "-E", state, "/proc/self/status"][..], &["ls", "/proc/self/fd"], &["cat", "/proc/self/limits"], &["pwd"]] {
        let direct = run(as_a_runtime_starts(program[0]).args(&program[1..]).env_clear().env("PATH", PATH));
        assert!(direct.status.success() && !direct.stdout.is_empty(), "{direct:?}");
        for supervise in [&["--"][..], &["--supervise", "--"]] {
            let wrapped = run(world.exec(json!({})).args(supervise).args(program));
            assert_eq!(String::from_utf8_lossy(&wrapped.stdout), String::from_utf8_lossy(&direct.stdout), "{}", wrapped.stderr);
        }
    }
    let mut running = Running::start(world.exec(json!({})).args(["--", "sh", "-c", "echo $$; read line"]));
    assert_eq!(running.line(), running.pid().to_string(), "it is the process that the agent was");
}

#[test]
fn signals_that_were_ignored_stay_ignored_until_the_program_listens() {
    const BITS: u64 = 0b100_0000_0000_0111;
    let world = World::new(&[]);
    let plan = json!({"version": 1, "environment": world.path("env")}).to_string();
    let begin = |program: &str| {
        let mut command = with_signals(&["--default-signal", "--ignore-signal=HUP,INT,QUIT,TERM"], program);
        command.env_clear().env("PATH", PATH).env("KEYVAULT_AGENT_EXEC", &plan);
        command
    };
    let direct = run(begin("grep").args(["SigIgn", "/proc/self/status"])).stdout;
    // The C library's own signals may be ignored besides: nobody can set them.
    let bits = String::from_utf8_lossy(&direct).trim_start_matches("SigIgn:").trim().to_owned();
    assert_eq!(u64::from_str_radix(&bits, 16).unwrap() & BITS, BITS, "{bits}");
    for supervise in [&["--"][..], &["--supervise", "--"]] {
        let wrapped = |program: &[&str]| {
            let mut command = begin(&agent());
            command.arg("exec").args(supervise).args(program);
            command
        };
        let found = run(&mut wrapped(&["grep", "SigIgn", "/proc/self/status"]));
        assert_eq!(String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&direct), "{supervise:?} {}", found.stderr);
        // A shell never listens to what it found ignored.
        let myself = std::env::current_exe().unwrap();
        let listening = [myself.to_str().unwrap(), "becoming::a_test_program_listens", "--exact", "--nocapture"];
        let mut running = Running::start(wrapped(&listening).env("LISTEN", "1"));
        while !running.line().ends_with("ready") {}
        // The wrapper catches what it found ignored once the program has started, which may say so first.
        until("HUP is caught", || catches_hangup(running.pid()).then_some(()));
        running.send(Signal::HUP);
        while !running.line().ends_with("told") {}
        assert_eq!(running.end().status.code(), Some(0), "{supervise:?}");
    }
}

fn catches_hangup(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(bits.trim(), 16).unwrap() & 1 == 1
}

#[tokio::test]
async fn a_test_program_listens() {
    if std::env::var_os("LISTEN").is_some() {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
        println!("ready");
        hangup.recv().await;
        println!("told");
    }
}

#[test]
fn a_test_program_can_be_dumped() {
    assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::Dumpable);
}

#[test]
fn the_program_can_be_dumped_and_traced_as_ever() {
    let myself = std::env::current_exe().unwrap();
    let run = World::new(&[]).become_program(&[myself.to_str().unwrap(), "becoming::a_test_program_can_be_dumped", "--exact"]);
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("test result: ok. 1 passed; 0 failed"), "{said}{}", run.stderr);
}

#[test]
fn programs_of_every_kind_are_started() {
    let world = World::new(&[("SECRET", b"canary")]);
    let script = world.put_program("script", b"#!/bin/sh -e\necho \"$SECRET $1\"\nexit 3\n", 0o755);
    let source = world.put(
        "static.rs",
        b"fn main() { println!(\"{} {}\", std::env::var(\"SECRET\").unwrap(), std::env::args().nth(1).unwrap()); std::process::exit(3) }",
        0o644,
    );
    let program = world.path("static");
    let rustc = Command::new("rustc").args(["-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(rustc.success());
    // Its name would be the shell's to replace.
    let unreadable = world.put_program("unreadable", &std::fs::read(&program).unwrap(), 0o111);
    for program in [
        &["sh", "-c", "echo $SECRET $1; exit 3", "sh", "word"][..],
        &["/bin/sh", "-c", "echo $SECRET $1; exit 3", "sh", "word"],
        &[script.to_str().unwrap(), "word"],
        &[program.to_str().unwrap(), "word"],
        &[unreadable.to_str().unwrap(), "word"],
    ] {
        let run = world.become_program(program);
        assert_eq!((run.status.code(), run.stdout.as_slice()), (Some(3), &b"canary word\n"[..]), "{program:?}: {}", run.stderr);
        assert_eq!((run.stderr.as_str(), world.termination().as_str()), ("", ""));
    }
}

#[test]
fn exit_codes_and_signals_are_the_programs_own() {
    let world = World::new(&[]);
    for code in [0, 1, 3, 64, 126, 127, 128, 255] {
        assert_eq!(world.become_program(&["sh", "-c", &format!("exit {code}")]).status.code(), Some(code));
    }
    for signal in [2, 9, 13, 15] {
        assert_eq!(world.become_program(&["sh", "-c", &format!("kill -{signal} $$")]).status.signal(), Some(signal));
    }
}

#[test]
fn path_is_searched_as_a_shell_does() {
    let world = World::new(&[]);
    let say = |word: &str| format!("#!/bin/sh\necho {word}\n").into_bytes();
    std::fs::create_dir_all(world.path("a/app")).unwrap();
    world.put("b/app", &say("not executable"), 0o644);
    world.put_program("c/app", &say("c"), 0o755);
    world.put_program("d/app", &say("d"), 0o755);
    let path = ["a", "b", "absent", "log", "c", "d"].map(|name| world.path(name).to_str().unwrap().to_owned()).join(":");
    let said = |world: &World, path: &str, program: &str| {
        let run = run(world.exec(json!({})).env("PATH", path).current_dir(world.path("d")).args(["--", program]));
        (String::from_utf8(run.stdout).unwrap(), run.stderr)
    };
    assert_eq!(said(&world, &path, "app"), ("c\n".to_owned(), String::new()));
    assert_eq!(said(&world, ":/bin", "app").0, "d\n");
    assert_eq!(said(&world, "/bin", "./app").0, "d\n");
    assert_eq!(said(&world, "/bin", "../c/app").0, "c\n");

    let injected = World::new(&[("PATH", world.path("c").to_str().unwrap().as_bytes())]);
    assert_eq!(run(injected.exec(json!({})).env("PATH", world.path("d")).args(["--", "app"])).stdout, b"c\n", "a PATH from the vault counts");

    let without = run(world.exec(json!({})).env_remove("PATH").args(["--", "cat", "/proc/self/environ"]));
    assert_eq!((without.status.code(), without.stdout.as_slice()), (Some(0), &b""[..]), "{}", without.stderr);
}
