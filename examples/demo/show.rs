//! How the demo speaks: headings, indented lines, a diff.

use std::io::IsTerminal;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::Result;
use crate::kubelet::Seen;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";

pub(crate) fn heading(number: usize, text: &str) {
    println!("\n{}", paint(BOLD, &format!("{number}  {text}")));
}

pub(crate) fn line(text: &str) {
    println!("   {text}");
}

/// What a person would type.
pub(crate) fn command(text: &str) {
    line(&paint(DIM, &format!("$ {text}")));
}

pub(crate) fn block(text: &str) {
    text.lines().for_each(|text| line(&format!("| {text}")));
}

/// Escapes only where they are understood.
fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The pod before and after as a unified diff of YAML. The plan is laid out over lines, and its certificate cut.
pub(crate) fn diff(before: &Value, after: &Value) -> Result<()> {
    let (before, after) = (yaml(before)?, yaml(after)?);
    line(&paint(DIM, "--- the pod as its ReplicaSet creates it"));
    line(&paint(DIM, "+++ the pod as the API server stores it"));
    let difference = TextDiff::from_lines(&before, &after);
    for group in difference.grouped_ops(1) {
        line(&paint(DIM, "@@"));
        for change in group.iter().flat_map(|operation| difference.iter_changes(operation)) {
            let (sign, code) = match change.tag() {
                ChangeTag::Equal => (' ', DIM),
                ChangeTag::Delete => ('-', RED),
                ChangeTag::Insert => ('+', GREEN),
            };
            line(&paint(code, &format!("{sign} {}", change.value().trim_end())));
        }
    }
    Ok(())
}

fn yaml(pod: &Value) -> Result<String> {
    let mut pod = pod.clone();
    if let Some(value) = pod.pointer_mut("/spec/initContainers/0/env/0/value")
        && let Some(mut plan) = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
    {
        plan["extraCa"] = "-----BEGIN CERTIFICATE----- …".into();
        *value = laid_out(&plan, 0).into();
    }
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    Ok(serde_saphyr::to_string_with_options(&pod, options)?)
}

/// JSON in which whatever fits stands on one line.
fn laid_out(value: &Value, indent: usize) -> String {
    let flat = value.to_string();
    if flat.len() + indent <= 110 {
        return flat;
    }
    let pad = " ".repeat(indent + 1);
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{pad}{name:?}: {}", laid_out(value, indent + 1)));
            format!("{{\n{}}}", fields.collect::<Vec<_>>().join(",\n"))
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| format!("{pad}{}", laid_out(item, indent + 1)));
            format!("[\n{}]", items.collect::<Vec<_>>().join(",\n"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => flat,
    }
}

/// Files as `ls -l` would show them, with the demo's own values.
pub(crate) fn files(container: &str, mount: &str, volume: &str, files: &[Seen]) {
    line(&format!("container {} finds in {mount} (volume {volume}, read-only):", paint(BOLD, container)));
    for Seen { file, mode, content } in files {
        let value = std::str::from_utf8(content).map_or_else(|_| hex(content), |text| format!("{text:?}"));
        line(&format!("    {mode} {:>4} bytes  {file:<18} {value}", content.len()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
