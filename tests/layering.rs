//! The arrows of the architecture and the budgets of the code, held by reading the sources.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a source that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[path = "layering/scan.rs"]
mod scan;

use scan::{Function, Named, Source};

/// Layer 2: what touches the world. Every other module is of layer 0 or 1: values and pure functions.
const EDGES: [&str; 10] = ["agent", "bin", "cli", "cluster", "emulator", "fetch", "format", "tls", "vault", "webhook"];

/// Crates, or parts of them, that a pure module may use: they compute, and touch nothing.
const PURE_CRATES: [&str; 10] =
    ["base64", "json_patch", "minijinja", "ring::digest", "serde", "serde_json", "serde_saphyr", "similar", "thiserror", "zeroize"];

/// What the standard library has of the world.
const WORLD: [&str; 15] = [
    "std::env",
    "std::fs",
    "std::future",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Who must never see whom, through others neither. Binaries are `bin::NAME`.
const WALLS: [(&[&str], &[&str]); 4] = [
    (&["webhook", "cluster", "inject", "bin::keyvault-injector"], &["vault", "secret", "format", "fetch"]),
    (&["agent", "bin::keyvault-agent"], &["inject", "webhook", "cluster"]),
    (&["cli", "webhook", "cluster", "inject", "bin::keyvault-injector"], &["emulator"]),
    (&["agent", "vault", "fetch", "format", "bin::keyvault-agent"], &["emulator"]),
];

const KUBERNETES_CRATES: [&str; 2] = ["kube", "k8s_openapi"];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

/// The modules of `src/lib.rs`, in the order written.
fn module_order(sources: &[Source]) -> Vec<String> {
    let lib = sources.iter().find(|source| source.module.is_empty()).expect("there is a src/lib.rs");
    let declarations = lib.tokens.windows(3).filter(|window| window[0].text == "mod" && window[2].text == ";");
    declarations.map(|window| window[1].text.clone()).collect()
}

/// The top-level module that a file belongs to, or `bin::NAME`; `None` for `src/lib.rs`.
fn owner(source: &Source) -> Option<String> {
    match &source.module[..] {
        [bin, name, ..] if bin == "bin" => Some(format!("bin::{}", name.replace('_', "-"))),
        [module, ..] => Some(module.clone()),
        [] => None,
    }
}

/// The top-level module that a path leads to.
fn target<'p>(path: &'p Named, source: &Source) -> Option<&'p str> {
    let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
    let place = match path.segments[0].as_str() {
        "crate" | "keyvault_injector" => 1,
        _ if supers > 0 && supers == source.module.len() => supers,
        _ => return None,
    };
    path.segments.get(place).map(String::as_str)
}

/// One use of one top-level module by another.
struct Arrow {
    from: String,
    to: String,
    place: String,
}

fn arrows(sources: &[Source]) -> Vec<Arrow> {
    let order = module_order(sources);
    let mut arrows = Vec::new();
    for source in sources {
        let Some(from) = owner(source) else { continue };
        for path in source.paths() {
            if let Some(to) = target(&path, source).filter(|to| *to != from && order.iter().any(|module| module == to)) {
                arrows.push(Arrow { from: from.clone(), to: to.to_owned(), place: format!("{}:{}", source.file, path.line) });
            }
        }
    }
    arrows
}

fn broken_order(sources: &[Source]) -> Vec<String> {
    let order = module_order(sources);
    let rank = |name: &str| order.iter().position(|module| module == name).unwrap_or(order.len());
    let mut seen = BTreeSet::new();
    let mut first_upward = |arrow: &&Arrow| rank(&arrow.to) > rank(&arrow.from) && seen.insert((arrow.from.clone(), arrow.to.clone()));
    let report = |Arrow { from, to, place }: &Arrow| {
        format!(
            "{place}: {from} uses {to}, which stands below it in src/lib.rs: move {to} above {from} if it needs nothing of it, else pass the value in or hang a trait on {from}"
        )
    };
    arrows(sources).iter().filter(&mut first_upward).map(report).collect()
}

/// The chain of arrows from one module to another, if there is one.
fn chain<'a>(arrows: &'a [Arrow], from: &str, to: &str) -> Option<Vec<&'a Arrow>> {
    let mut reached: BTreeMap<&str, Vec<&Arrow>> = BTreeMap::from([(from, Vec::new())]);
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == module) {
            if !reached.contains_key(arrow.to.as_str()) {
                let path = reached[module].iter().copied().chain([arrow]).collect();
                reached.insert(&arrow.to, path);
                open.insert(0, &arrow.to);
            }
        }
    }
    reached.remove(to).filter(|path| !path.is_empty())
}

fn broken_walls(sources: &[Source]) -> Vec<String> {
    let arrows = arrows(sources);
    let mut problems = Vec::new();
    for (from, to) in WALLS.iter().flat_map(|(from, to)| from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)))) {
        if let Some(path) = chain(&arrows, from, to) {
            let names: Vec<&str> = std::iter::once(from).chain(path.iter().map(|arrow| arrow.to.as_str())).collect();
            let place = &path[path.len() - 1].place;
            problems.push(format!(
                "{place}: {from} must never see {to} ({}): move what both need into a module of layer 0, or hand the value in",
                names.join(" → ")
            ));
        }
    }
    problems
}

/// The crates of `Cargo.toml`, as sources name them.
fn crates(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if section.ends_with("dependencies")
            && let Some((name, _)) = line.split_once('=')
        {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    names
}

fn begins_with(path: &Named, name: &str) -> bool {
    name.split("::").zip(&path.segments).filter(|(name, segment)| name == segment).count() == name.split("::").count()
}

fn impure(sources: &[Source], crates: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.module.first().is_some_and(|module| !EDGES.contains(&module.as_str()))) {
        let mut report = |line: usize, what: &str| {
            problems.push(format!("{}:{line}: {what} in a pure module (layers 0 and 1): let an edge do it and pass the value in", source.file));
        };
        for path in source.paths() {
            let foreign = crates.contains(&path.segments[0]) && !PURE_CRATES.iter().any(|name| begins_with(&path, name));
            if foreign || WORLD.iter().any(|name| begins_with(&path, name)) {
                report(path.line, &path.segments.join("::"));
            }
        }
        for word in ["async", "await"] {
            source.occurrences(&[word]).into_iter().for_each(|line| report(line, word));
        }
    }
    problems
}

fn kubernetes_outside_cluster(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.module.first().is_none_or(|module| module != "cluster")) {
        for path in source.paths().iter().filter(|path| KUBERNETES_CRATES.iter().any(|name| begins_with(path, name))) {
            let path_text = path.segments.join("::");
            problems.push(format!("{}:{}: {path_text} outside src/cluster, the only user of kube: ask it through a trait", source.file, path.line));
        }
    }
    problems
}

fn over_budget(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        if source.lines > MAX_FILE_LINES {
            problems
                .push(format!("{}:1: {} lines without tests, {MAX_FILE_LINES} allowed: give each job a file of its own", source.file, source.lines));
        }
        for Function { name, line, lines } in source.functions() {
            if lines > MAX_FUNCTION_LINES {
                problems.push(format!("{}:{line}: fn {name} has {lines} lines, {MAX_FUNCTION_LINES} allowed: name its steps", source.file));
            }
        }
        for (words, text) in [
            (&[".", "unwrap", "("][..], ".unwrap()"),
            (&["todo", "!"], "todo!"),
            (&["unimplemented", "!"], "unimplemented!"),
            (&["dbg", "!"], "dbg!"),
        ] {
            let report = |line| format!("{}:{line}: {text} outside tests: return an error, or state the invariant in an expect", source.file);
            problems.extend(source.occurrences(words).into_iter().map(report));
        }
    }
    problems
}

fn sources() -> Vec<Source> {
    let sources = Source::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.len() > 10, "the scanner sees only {} files", sources.len());
    sources
}

#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn modules_use_only_those_above_them_in_lib_rs() {
    assert_none(&broken_order(&sources()));
}

#[test]
fn no_module_sees_what_it_must_never_see() {
    assert_none(&broken_walls(&sources()));
}

#[test]
fn layers_0_and_1_are_values_and_pure_functions() {
    let crates = crates(include_str!("../Cargo.toml"));
    assert!(crates.contains("tokio") && crates.contains("hyper_util") && !crates.contains("webhook"), "{crates:?}");
    assert_none(&impure(&sources(), &crates));
}

#[test]
fn only_cluster_uses_kubernetes_crates() {
    assert_none(&kubernetes_outside_cluster(&sources()));
}

#[test]
fn files_and_functions_are_short_and_nothing_is_left_undone() {
    assert_none(&over_budget(&sources()));
}

fn package(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(file, text)| Source::new(file, text)).collect()
}

#[test]
fn an_arrow_upwards_is_reported_with_its_place() {
    let problems = broken_order(&package(&[
        ("src/lib.rs", "pub mod names;\n#[cfg(feature = \"webhook\")]\npub mod inject;\npub mod absent_yet;\n"),
        (
            "src/names.rs",
            "// crate::inject\nuse std::fmt;\nuse super::inject::Patch;\nuse crate::inject::Denial;\n#[cfg(test)]\nmod tests { use crate::inject::X; }",
        ),
        ("src/inject/mod.rs", "use crate::names::A; use super::names::B; use self::patch::C; mod patch;"),
        ("src/inject/patch.rs", "use super::C; use super::super::names::D; fn f() { crate::macros!() }"),
        ("src/bin/x.rs", "use keyvault_injector::inject;"),
    ]));
    let expected = "src/names.rs:3: names uses inject, which stands below it in src/lib.rs: move inject above names if it needs nothing of it, \
                    else pass the value in or hang a trait on names";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_wall_holds_through_others_too() {
    let problems = broken_walls(&package(&[
        ("src/lib.rs", "pub mod secret; pub mod tls; pub mod webhook; pub mod emulator;"),
        ("src/tls/mod.rs", "use crate::{\n    secret::SecretValue,\n};"),
        ("src/webhook/mod.rs", "use crate::tls::Acceptor;"),
        ("src/bin/keyvault_agent.rs", "fn main() { keyvault_injector::emulator::run() }"),
    ]));
    let remedy = "move what both need into a module of layer 0, or hand the value in";
    assert_eq!(
        problems,
        [
            format!("src/tls/mod.rs:2: webhook must never see secret (webhook → tls → secret): {remedy}"),
            format!("src/bin/keyvault_agent.rs:1: bin::keyvault-agent must never see emulator (bin::keyvault-agent → emulator): {remedy}"),
        ]
    );
}

#[test]
fn the_world_is_reported_in_pure_modules_only() {
    let text = "use std::{fs, net::{SocketAddr, TcpStream}, path::PathBuf, time::{Duration, Instant}};\nuse ring::{digest, rand};\nasync fn f() { std::env::var(X) }\nuse hyper_util::x;";
    let crates = crates("[dependencies]\nhyper-util = \"1\"\nring = \"1\"\n[lints]\nstd = 1");
    let problems = impure(&package(&[("src/plan.rs", text), ("src/agent/mod.rs", text)]), &crates);
    let found: Vec<&str> = problems.iter().map(|problem| problem.split(" in a pure module").next().unwrap()).collect();
    assert_eq!(
        found,
        [
            "src/plan.rs:1: std::fs",
            "src/plan.rs:1: std::net::TcpStream",
            "src/plan.rs:1: std::time::Instant",
            "src/plan.rs:2: ring::rand",
            "src/plan.rs:3: std::env::var",
            "src/plan.rs:4: hyper_util::x",
            "src/plan.rs:3: async"
        ]
    );
}

#[test]
fn kubernetes_crates_and_budgets_are_reported() {
    let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(60));
    let sources =
        package(&[("src/cluster/mod.rs", "use kube::Api;"), ("src/webhook/mod.rs", "use kube::Api; // todo!"), ("src/plan.rs", &long.repeat(7))]);
    assert_eq!(
        kubernetes_outside_cluster(&sources),
        ["src/webhook/mod.rs:1: kube::Api outside src/cluster, the only user of kube: ask it through a trait"]
    );
    let problems = over_budget(&sources);
    assert_eq!(problems[0], "src/plan.rs:1: 434 lines without tests, 400 allowed: give each job a file of its own");
    assert_eq!(problems[1], "src/plan.rs:1: fn f has 62 lines, 60 allowed: name its steps");
    let problems = over_budget(&package(&[(
        "src/plan.rs",
        "fn f() { a.unwrap(); b.unwrap_or(1); todo!() }\n#[cfg(test)]\nmod tests { fn g() { a.unwrap() } }",
    )]));
    let remedy = "outside tests: return an error, or state the invariant in an expect";
    assert_eq!(problems, [format!("src/plan.rs:1: .unwrap() {remedy}"), format!("src/plan.rs:1: todo! {remedy}")]);
}
