//! The short form: `[DEST=][VAULT/]NAME[@VERSION]`, separated by commas or line breaks.

use super::{Destination, FreeName, Grammar, Parsed, Reference, Target, habits};
use keyvault_common::names::{FilePath, VaultName};
use keyvault_common::plan::Encoding;

pub(super) fn parse(text: &str, parsed: &mut Parsed) {
    let mut number = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.strip_suffix(',').unwrap_or(line);
        for item in line.split(',').map(str::trim) {
            number += 1;
            if item.is_empty() {
                parsed.problem(&format!("item {number}"), "there is nothing between two commas: remove one");
                continue;
            }
            let label = label(number, item);
            if let Some(reference) = item_reference(item, label, parsed) {
                parsed.reference(reference);
            }
        }
    }
}

/// How an item is called in messages.
pub(super) fn label(number: usize, item: &str) -> String {
    let shown: String = item.chars().take(80).collect();
    let cut = if shown.len() < item.len() { "…" } else { "" };
    format!("item {number} {:?}", format!("{shown}{cut}"))
}

pub(super) const ADDRESS: &str = "a name is expected here, not an address: write {name: SECRET, vault: \"https://HOST\"} in a YAML list";

/// Parses one item; its problems go to `parsed`.
pub(super) fn item_reference(item: &str, label: String, parsed: &mut Parsed) -> Option<Reference> {
    let before = parsed.problem_count;
    if item.contains("://") {
        parsed.problem(&label, ADDRESS);
        return None;
    }
    // A name holds no `=` and a file path may, so the last one separates.
    let (destination, source) = match item.rsplit_once('=') {
        Some((destination, source)) => (Some(destination.trim()), source.trim()),
        None => (None, item),
    };
    let destination = destination.and_then(|text| destination_of(text, &label, parsed));
    let target = target_of(source, &label, parsed);
    if destination.is_none() && parsed.grammar == Grammar::Env && parsed.problem_count == before {
        parsed.problem(&label, "a variable has a name: write NAME=secret");
    }
    if parsed.problem_count > before {
        return None;
    }
    Some(Reference {
        label,
        target: target?,
        destination,
        mode: None,
        encoding: Encoding::default(),
        property: None,
        format: None,
        password: None,
        optional: false,
        overrides: false,
        containers: None,
    })
}

fn destination_of(text: &str, label: &str, parsed: &mut Parsed) -> Option<Destination> {
    match parsed.grammar {
        Grammar::Env => parsed.keep(label, text.parse()).map(|FreeName(name)| Destination::Env(name)),
        Grammar::Secrets | Grammar::Certificates | Grammar::Keys => parsed.keep(label, text.parse::<FilePath>()).map(Destination::File),
    }
}

/// `[VAULT/]NAME[@VERSION]`
fn target_of(source: &str, label: &str, parsed: &mut Parsed) -> Option<Target> {
    let (source, version) = match source.rsplit_once('@') {
        Some((source, version)) => (source, Some(parsed.keep(label, super::pinned(version)))),
        None => (source, None),
    };
    let (vault, name) = match source.split_once('/') {
        Some((vault, name)) => (Some(parsed.keep(label, vault.parse::<VaultName>())), name),
        None => (None, source),
    };
    let name = parsed.keep(label, habits::object_name(name, parsed.grammar));
    let (version, vault) = (transpose(version)?, transpose(vault)?);
    Some(Target::Object { vault: vault.map(super::VaultLocator::Name), name: name?, version })
}

/// `Some(None)` is a part that was written and was wrong.
fn transpose<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
