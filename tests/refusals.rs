//! Every text with which the pure core refuses what a pod's author wrote stands in a golden file: an error that nobody has seen reads like one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a source that cannot be read fails the test")]

#[path = "refusals/literals.rs"]
mod literals;

use std::fs;
use std::path::Path;

/// What reads the annotations of a pod.
const READERS: [&str; 8] = [
    "src/mutation/src/annotations.rs",
    "src/common/src/duration.rs",
    "src/common/src/names.rs",
    "src/common/src/property.rs",
    "src/mutation/src/quantity.rs",
    "src/common/src/template.rs",
    "src/common/src/yaml.rs",
    "src/common/src/yaml_fields.rs",
];

/// Begin of a text, and why no pod shows it.
const NOT_SHOWN: [(&str, &str); 12] = [
    ("unexpected content", "no event of the YAML parser is left that could be that"),
    ("the text ends too early", "the YAML parser says so itself before"),
    ("the pod's keyvault-injector.io annotations hold", "the pod would be too long for a golden file: see tests/cost.rs"),
    ("the pod has more than", "see tests/cost.rs, too"),
    ("{place}: it has {} bytes, and {MAX_PLAN_BYTES}", "see tests/cost.rs, too"),
    ("{place}: it has {} templates", "see tests/cost.rs, too"),
    ("the plan could not be written", "the types of a plan can all be written"),
    ("abs attr batch", "a list of names"),
    ("b64decode b64encode", "a list of names"),
    ("block extends", "a list of names"),
    ("boolean defined", "a list of names"),
    ("the operator's default for", "the configuration is checked whole when the webhook starts"),
];

/// All files of a folder, but for tests.
fn sources(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    entries.filter(|path| path.ends_with(".rs") && !path.ends_with("tests.rs")).collect()
}

/// The string literals, as written between the quotes; raw ones are left out.
fn strings(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut strings, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let length = literals::blank_length(&chars, at).max(1);
        if length > 1 && chars[at] == '"' {
            strings.push(chars[at + 1..at + length - 1].iter().collect());
        }
        at += length;
    }
    strings
}

/// What stands between the places that are filled in, where it is long enough to be found again.
fn fixed_parts(literal: &str) -> Vec<String> {
    let text = literal.replace("\\\"", "\"").replace("{{", "\u{1}").replace("}}", "\u{2}");
    let parts = text.split('{').map(|part| part.split_once('}').map_or(part, |(_, after)| after));
    let parts = parts.map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}").trim().to_owned());
    parts.filter(|part| part.len() >= 12 && part.contains(' ')).collect()
}

#[test]
fn every_text_that_refuses_is_in_a_golden_file() {
    std::env::set_current_dir(keyvault_tests::REPOSITORY).unwrap();
    let cases = fs::read_dir("tests/golden").unwrap().map(|entry| entry.unwrap().path().join("expected.yaml"));
    let golden: String = cases.filter(|path| Path::new(path).exists()).map(|path| fs::read_to_string(path).unwrap()).collect();
    let golden = golden.replace("\\\"", "\"");
    let files = READERS.map(str::to_owned).into_iter().chain(["src/mutation/src/reference.rs", "src/mutation/src/inject.rs"].map(str::to_owned));
    let files = files.chain(sources("src/mutation/src/reference")).chain(sources("src/mutation/src/inject"));
    let (mut missing, mut found) = (Vec::new(), 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for literal in strings(text.split("#[cfg(test)]").next().unwrap()) {
            let is_listed = NOT_SHOWN.iter().any(|(begin, _)| literal.starts_with(begin));
            for part in fixed_parts(&literal).into_iter().filter(|_| !is_listed) {
                if golden.contains(&part) { found += 1 } else { missing.push(format!("{file}: {part:?}")) }
            }
        }
    }
    assert!(found > 100, "only {found} texts were looked for");
    assert!(missing.is_empty(), "no golden file shows:\n{}", missing.join("\n"));
}
