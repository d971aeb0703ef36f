//! Many secrets at once: `{select: {prefix: app-, tags: {team: web}}, file: "app/${name}"}`.

use std::collections::BTreeMap;

use super::{Grammar, Parsed, Reference, Target, VaultLocator, containers_of};
use keyvault_common::names::{FileMode, FilePattern, NamePrefix};
use keyvault_common::plan::{Encoding, Selector};
use keyvault_common::property::PropertyPath;
use keyvault_common::yaml::{Kind, Node};
use keyvault_common::yaml_fields::{Fields, Problems};

/// Fields of other references, and why a selection has them not.
const FOREIGN: [(&str, &str); 6] = [
    ("name", "name and select exclude each other: keep one"),
    ("version", "select always takes the latest versions: remove version"),
    ("format", "a secret has no format: remove it"),
    ("passwordFrom", "only a certificate with format: pfx has a password: remove it"),
    ("env", "a file has no variable name: use file"),
    ("override", "a file overrides nothing: remove it"),
];

/// A map with the field `select`.
pub(super) fn reference(number: usize, item: &Node, mut fields: Fields<'_>, parsed: &mut Parsed) -> Option<Reference> {
    let label = format!("item {number} (select)");
    if parsed.grammar != Grammar::Secrets {
        parsed.problem(&label, "only secrets that become files can be selected: move it to the annotation secrets, or name each object");
        return None;
    }
    let mut problems = Problems::default();
    let selector = selector(&mut fields, item, &mut problems);
    let vault = fields.parse::<VaultLocator>("vault", &mut problems);
    let file = fields.parse::<FilePattern>("file", &mut problems);
    if fields.take("file").is_none() {
        problems.add(item, "", "a selection has no name: add file, with ${name} where each secret's name goes, such as \"app/${name}\"");
    }
    let mode = fields.parse::<FileMode>("mode", &mut problems);
    let encoding = fields.parse::<Encoding>("encoding", &mut problems).unwrap_or_default();
    let property = fields.parse::<PropertyPath>("property", &mut problems);
    let optional = fields.bool("optional", &mut problems).unwrap_or(false);
    let containers = containers_of(&mut fields, &mut problems);
    for (field, message) in FOREIGN {
        fields.refuse(field, message, &mut problems);
    }
    fields.finish(&mut problems);
    let good = problems.0.is_empty();
    problems.0.into_iter().for_each(|problem| parsed.problem(&label, problem.to_string()));
    let target = Target::Select { vault, selector: selector?, file: file? };
    let reference = Reference {
        label,
        target,
        destination: None,
        mode,
        encoding,
        property,
        format: None,
        password: None,
        optional,
        overrides: false,
        containers,
    };
    good.then_some(reference)
}

fn selector(fields: &mut Fields<'_>, item: &Node, problems: &mut Problems) -> Option<Selector> {
    let mut select = fields.map("select", problems)?;
    let before = problems.0.len();
    let prefix = select.parse::<NamePrefix>("prefix", problems);
    let tags = select.take("tags").map(|node| tags(node, problems)).unwrap_or_default();
    select.finish(problems);
    let selector = Selector::new(prefix, tags);
    if selector.is_none() && problems.0.len() == before {
        problems.add(item, "select", "it would take every secret of the vault: give a prefix or tags");
    }
    selector
}

fn tags(node: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let Kind::Map(entries) = &node.kind else {
        problems.add(node, "select.tags", format!("a map of tags is expected, not {}", node.describe()));
        return BTreeMap::new();
    };
    let mut tags = BTreeMap::new();
    for (tag, value) in entries {
        let path = format!("select.tags.{tag}");
        match value.text() {
            Some(text) => drop(tags.insert(tag.to_string(), text.to_owned())),
            None => problems.add(value, &path, format!("a tag's value is text (\"\" where it is empty), not {}", value.describe())),
        }
    }
    tags
}
