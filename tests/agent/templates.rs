//! Templates: several values in one file.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

use serde_json::{Value, json};

use crate::sidecar::{Sidecar, eventually};
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

/// As whom the image runs. Nobody but root may own what the process that renders a template opens: itself, and its limits.
#[test]
fn a_template_is_rendered_as_the_user_of_the_image() {
    const USER: u32 = 65_532;
    if !rustix::process::geteuid().is_root() {
        // Every other test runs as somebody else than root.
        return;
    }
    let world = World::new();
    // The agent where that user may reach it: above the build directory may be a home.
    let agent = world.path("agent");
    std::fs::copy(keyvault_tests::program("keyvault-agent"), &agent).unwrap();
    for path in [world.root.path().to_owned(), world.path("keyvault/files"), world.path("dev/termination-log")] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
    }
    let plan = plan(&world, "app.conf", "p=${ secret('db-password') | urlencode }", &["db-password"], &[]);
    let mut command = std::process::Command::new(&agent);
    command.args(["fetch", "--root"]).arg(world.root.path()).env_clear().env("KEYVAULT_AGENT_PLAN", plan.0.to_string()).uid(USER).gid(USER);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text(&world, "app.conf"), "p=correct%20horse%20canary%20staple");
    assert_eq!(std::fs::metadata(world.path("keyvault/files/app.conf")).unwrap().uid(), USER);
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

const TOO_MUCH_MEMORY: &str = "the template cannot be rendered: it takes more memory than it may: let it repeat, join, pad and nest less";
const GAVE_UP: &str = "the template cannot be rendered: the template engine gave up: let it repeat, join, pad and nest less";
const TOO_MANY_STEPS: &str = "line 1: the template takes more than a million steps: let it repeat less";
/// What a template may do to the memory of a node, in KiB, beside what an agent takes that was built without optimisation.
const MOST_KIB: u64 = 96 * 1024;

/// Processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn status(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// The greatest memory of any process of an agent until it ends, in KiB, as far as a look in passing shows it.
fn peak(agent: &mut std::process::Child) -> u64 {
    let mut peak = 0;
    while agent.try_wait().unwrap().is_none() {
        peak = children(agent.id()).into_iter().chain([agent.id()]).filter_map(|pid| status(pid, "VmHWM:")).fold(peak, u64::max);
        std::thread::yield_now();
    }
    peak
}

#[test]
fn a_template_that_grows_without_bound_is_an_error_and_not_the_end_of_the_node() {
    let world = World::new();
    let doubled = format!("{{% set a = secret('s-00') %}}{}${{ a | length }}", "{% set a = a ~ a %}".repeat(28));
    let lists = format!("{{% set a = [secret('s-00')] %}}{}${{ a | join | length }}", "{% set a = a + a %}".repeat(28));
    let captured = format!("{{% set a = secret('s-00') %}}{}", "{% set a %}${ a }${ a }{% endset %}".repeat(28));
    for (template, expected) in [
        (doubled.as_str(), TOO_MUCH_MEMORY),
        (lists.as_str(), TOO_MUCH_MEMORY),
        (captured.as_str(), TOO_MUCH_MEMORY),
        ("${ ('a\nb' | indent(1000000000)) | length }", TOO_MUCH_MEMORY),
        ("${ (('a' * 50000) | replace('a', 'a' * 50000)) | length }", TOO_MUCH_MEMORY),
        ("${ ('ab' | slice(1000000000)) | length }", TOO_MUCH_MEMORY),
        ("${ ('ab' | batch(1000000000, 'x')) | length }", TOO_MUCH_MEMORY),
        ("${ ('%999999999d' | format(1)) | length }", TOO_MUCH_MEMORY),
        ("${ (range(90000) | join('a' * 50000)) | length }", TOO_MUCH_MEMORY),
        ("${ ('x' * 99999999) | length }", TOO_MUCH_MEMORY),
        ("${ ([1] * 99999999) | list | length }", TOO_MUCH_MEMORY),
        ("${ ('a' | indent(18446744073709551615, true)) | length }", GAVE_UP),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", TOO_MANY_STEPS),
        ("{% macro m(n) %}{% if n %}${ m(n - 1) ~ m(n - 1) }{% endif %}{% endmacro %}${ m(30) }", TOO_MANY_STEPS),
    ] {
        let plan = plan(&world, "app.conf", template, &["s-00"], &[]);
        let mut agent = world.command(&plan, "exec \"$0\" \"$@\"", &[]);
        let mut agent = agent.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let peak = peak(&mut agent);
        let told = std::fs::read_to_string(world.path("dev/termination-log")).unwrap();
        assert_eq!(agent.wait().unwrap().code(), Some(65), "{template}: {told}");
        assert!(told.starts_with(&format!("format file app.conf: {expected}; ")), "{template}: {told}");
        assert!(peak < MOST_KIB, "{template}: {peak} KiB");
        assert_eq!(std::fs::read_dir(world.path("keyvault/files")).unwrap().count(), 0);
    }
}

#[test]
fn a_value_that_makes_a_template_grow_leaves_the_sidecar_and_its_files_as_they_were() {
    let world = World::new();
    world.rotate("s-00", "1");
    let template =
        "{% set n = secret('s-00') | int %}{% for i in range(n) %}{% for i in range(n) %}{% endfor %}{% endfor %}${ n }${ ('a' * n * 999) | length }";
    let plan = world.refreshed(plan(&world, "app.conf", template, &["s-00"], &[]), "1s");
    let sidecar = Sidecar::started(&world, &plan);
    world.refreshes(1);
    let threads = status(sidecar.pid(), "Threads:");
    for (value, expected) in [("99999", TOO_MANY_STEPS), ("99", "")] {
        world.rotate("s-00", value);
        if expected.is_empty() {
            eventually("the new file", || (world.text("app.conf") == "9998901").then_some(()));
        } else {
            // More than one refresh, none of which leaves anything.
            eventually("refused twice", || (sidecar.log().matches(expected).count() > 1).then_some(()));
            assert_eq!(world.text("app.conf"), "1999");
        }
        eventually("nothing is left", || (children(sidecar.pid()).is_empty() && status(sidecar.pid(), "Threads:") <= threads).then_some(()));
    }
}

/// Few steps, each of them long.
const SLOW: &str = "{% set a = secret('s-00') ~ 'a' * 1000000 %}{% for i in range(99999) %}{% if a | upper | lower == i %}{% endif %}{% endfor %}";

#[test]
fn a_template_that_takes_longer_than_ten_seconds_is_refused_and_its_process_ends() {
    let world = World::new();
    let plan = plan(&world, "app.conf", SLOW, &["s-00"], &[]);
    let mut agent = world.command(&plan, "exec \"$0\" \"$@\"", &[]);
    let mut agent = agent.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let renders = eventually("the other process", || children(agent.id()).first().copied());
    let started = std::time::Instant::now();
    assert_eq!(agent.wait().unwrap().code(), Some(65));
    let taken = started.elapsed().as_secs();
    assert!((8..40).contains(&taken), "given up after {taken} s");
    let expected = "format file app.conf: the template cannot be rendered: it takes longer than ten seconds: let it repeat less; ";
    let told = std::fs::read_to_string(world.path("dev/termination-log")).unwrap();
    assert!(told.starts_with(expected), "{told}");
    eventually("its end", || (!std::path::Path::new(&format!("/proc/{renders}/fd/0")).exists()).then_some(()));
}

#[test]
fn a_sidecar_answers_and_ends_while_a_template_takes_its_time() {
    let world = World::new();
    let plan = world.refreshed(plan(&world, "app.conf", SLOW, &["s-00"], &[]), "1s").with("/refresh/port", json!(0));
    let mut sidecar = Sidecar::start(&world, &plan);
    let port: u16 = sidecar.says("health and metrics on port ").rsplit(' ').next().unwrap().parse().unwrap();
    let renders = eventually("the other process", || children(sidecar.pid()).first().copied());
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(children(sidecar.pid()), [renders], "it is still at it");
    sidecar.signal("TERM");
    assert_eq!(sidecar.end(), Some(0));
    assert!(!sidecar.log().contains("takes longer"), "nobody waited for it");
    eventually("its end", || (!std::path::Path::new(&format!("/proc/{renders}/fd/0")).exists()).then_some(()));
}
