//! The long form: a YAML list of short strings and maps.

use super::{Destination, Format, FreeName, Grammar, NamedObject, Parsed, Pinned, Reference, Target, VaultLocator, group, habits, select, short};
use keyvault_common::names::{ContainerName, FileMode, NOT_RENDERED, ObjectName, VaultName};
use keyvault_common::plan::Encoding;
use keyvault_common::property::PropertyPath;
use keyvault_common::yaml::{Kind, Node, YamlError};
use keyvault_common::yaml_fields::{Fields, Problems, nearest};

pub(super) fn parse(text: &str, parsed: &mut Parsed) {
    let root = Node::parse(text).map_err(|error| unquoted(text, error));
    let Some(root) = parsed.keep("", root) else { return };
    let Kind::List(items) = &root.kind else {
        parsed.problem("", "a YAML list is expected: begin each reference with \"- \"");
        return;
    };
    if items.is_empty() {
        parsed.problem("", "it names nothing: list at least one reference, or remove the annotation");
    }
    for (index, item) in items.iter().enumerate() {
        if let Some(reference) = item_reference(index + 1, item, parsed) {
            parsed.reference(reference);
        }
    }
}

/// The braces of `${name}` and `{{ … }}` open maps if nothing quotes them.
fn unquoted(text: &str, error: YamlError) -> YamlError {
    match text.lines().nth(error.line.saturating_sub(1)) {
        Some(line) if line.contains("${name}") => YamlError { message: "${name} needs quotes here: file: \"app/${name}\"".to_owned(), ..error },
        Some(line) if line.contains("{{") => YamlError { message: NOT_RENDERED.to_owned(), ..error },
        _ => error,
    }
}

fn item_reference(number: usize, item: &Node, parsed: &mut Parsed) -> Option<Reference> {
    match &item.kind {
        Kind::Scalar { text, .. } if item.is_bare_number() => {
            parsed.problem(&short::label(number, text), format!("a reference is expected here, not a bare number: write it in quotes, \"{text}\""));
            None
        }
        Kind::Scalar { .. } if item.is_null() => {
            parsed.problem(&format!("item {number}"), "it is empty: name an object, or remove the line");
            None
        }
        Kind::Scalar { text, .. } => short::item_reference(text, short::label(number, text), parsed),
        Kind::List(_) => {
            parsed.problem(&format!("item {number}"), "a list in a list: a reference is a text or a map");
            None
        }
        Kind::Map(_) => map_reference(number, item, parsed),
    }
}

fn map_reference(number: usize, item: &Node, parsed: &mut Parsed) -> Option<Reference> {
    let mut problems = Problems::default();
    let mut fields = Fields::of(item, "", &mut problems)?;
    if let Some(pair) = pair(item) {
        parsed.problem(&format!("item {number}"), pair_problem(parsed.grammar, pair));
        return None;
    }
    match (fields.take("group"), fields.take("select")) {
        (Some(_), Some(_)) => {
            parsed.problem(&format!("item {number}"), "group and select exclude each other: keep one");
            return None;
        }
        (Some(_), None) => return group::reference(number, item, Fields::of(item, "", &mut problems)?, parsed),
        (None, Some(_)) => return select::reference(number, item, Fields::of(item, "", &mut problems)?, parsed),
        (None, None) => {}
    }
    let name = fields.take("name").map(Node::to_string);
    let label = name.as_deref().map_or_else(|| format!("item {number}"), |name| short::label(number, name));
    let target = target_of(parsed.grammar, &mut fields, name.as_deref(), item, &mut problems);
    let destination = destination_of(parsed.grammar, &mut fields, item, &mut problems);
    let format = format_of(parsed.grammar, &mut fields, &mut problems);
    let password = password_of(parsed.grammar, format, &mut fields, &mut problems);
    let reference = target.map(|target| Reference {
        label: label.clone(),
        target,
        destination,
        mode: fields.parse::<FileMode>("mode", &mut problems),
        encoding: fields.parse::<Encoding>("encoding", &mut problems).unwrap_or_default(),
        property: fields.parse::<PropertyPath>("property", &mut problems),
        format,
        password,
        optional: fields.bool("optional", &mut problems).unwrap_or(false),
        overrides: parsed.grammar == Grammar::Env && fields.bool("override", &mut problems).unwrap_or(false),
        containers: containers_of(&mut fields, &mut problems),
    });
    for known in ["mode", "encoding", "property", "optional", "containers"] {
        fields.take(known);
    }
    if parsed.grammar == Grammar::Env {
        fields.take("override");
    }
    refuse_foreign_fields(parsed.grammar, &mut fields, &mut problems);
    fields.finish(&mut problems);
    let good = problems.0.is_empty();
    for problem in problems.0 {
        parsed.problem(&label, problem.to_string());
    }
    reference.filter(|_| good)
}

/// The one entry of `- db: db-password`, if its key is no field of ours.
fn pair(item: &Node) -> Option<(&str, &str)> {
    const FIELDS: [&str; 16] = [
        "containers",
        "encoding",
        "env",
        "file",
        "format",
        "group",
        "mode",
        "name",
        "optional",
        "override",
        "passwordFrom",
        "property",
        "select",
        "tags",
        "vault",
        "version",
    ];
    let Kind::Map(entries) = &item.kind else { return None };
    let [(key, value)] = entries.as_slice() else { return None };
    let key = key.text().filter(|key| nearest(key, &FIELDS).is_none() && !habits::is_field(key))?;
    Some((key, value.text()?))
}

fn pair_problem(grammar: Grammar, (key, value): (&str, &str)) -> String {
    let what = if grammar == Grammar::Env { "variable" } else { "file" };
    match format!("{key}={value}").as_str() {
        text if text.len() <= 80 => format!("{key}: unknown key; for the {what} {key} write \"{text}\""),
        _ => format!("a map with one unknown key; for a {what} write \"DEST=NAME\""),
    }
}

fn target_of(grammar: Grammar, fields: &mut Fields<'_>, name: Option<&str>, item: &Node, problems: &mut Problems) -> Option<Target> {
    let is_named_elsewhere = habits::refuse(grammar, fields, problems);
    let vault = fields.parse::<VaultLocator>("vault", problems);
    let version = fields.parse::<Pinned>("version", problems).map(|version| version.0);
    match name {
        Some(name) => {
            let (vault, name) = object_of(grammar, vault, name, item, problems)?;
            Some(Target::Object { vault, name, version })
        }
        None if is_named_elsewhere => None,
        None => {
            problems.add(item, "", "it names nothing: add name (or group, or select)");
            None
        }
    }
}

fn object_of(
    grammar: Grammar,
    vault: Option<VaultLocator>,
    name: &str,
    item: &Node,
    problems: &mut Problems,
) -> Option<(Option<VaultLocator>, ObjectName)> {
    if name.contains("://") {
        problems.add(item, "name", short::ADDRESS);
        return None;
    }
    let (prefix, name) = match name.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, name),
    };
    if vault.is_some() && prefix.is_some() {
        problems.add(item, "", "the vault is there twice, in vault and before the slash in name: keep one");
        return None;
    }
    let mut keep = |message: String| problems.add(item, "name", message);
    let prefix = prefix.map(|text| text.parse::<VaultName>().map_err(|error| keep(error.to_string())));
    let name = habits::object_name(name, grammar).map_err(&mut keep).ok();
    let vault = match prefix {
        Some(named) => Some(VaultLocator::Name(named.ok()?)),
        None => vault,
    };
    Some((vault, name?))
}

fn destination_of(grammar: Grammar, fields: &mut Fields<'_>, item: &Node, problems: &mut Problems) -> Option<Destination> {
    match grammar {
        Grammar::Env => {
            let name = fields.parse("env", problems).map(|FreeName(name)| Destination::Env(name));
            if fields.take("env").is_none() {
                problems.add(item, "", "a variable has a name: add env");
            }
            name
        }
        Grammar::Secrets | Grammar::Certificates | Grammar::Keys => fields.parse("file", problems).map(Destination::File),
    }
}

fn format_of(grammar: Grammar, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Format> {
    if matches!(grammar, Grammar::Secrets | Grammar::Env) {
        fields.refuse("format", "a secret has no format: remove it, or use the annotation certificates or keys", problems);
        return None;
    }
    let node = fields.take("format")?;
    let text = node.to_string();
    let (format, known) = match grammar {
        Grammar::Certificates => (
            match text.as_str() {
                "pem" => Some(Format::Pem),
                "bundle" => Some(Format::Bundle),
                "pfx" => Some(Format::Pfx),
                "jks" => {
                    problems.add(node, "format", "a Java keystore is not available: write pfx, which Java reads as it is (PKCS12), with passwordFrom if the program wants a password");
                    return None;
                }
                _ => None,
            },
            "pem, bundle or pfx",
        ),
        Grammar::Keys => (
            match text.as_str() {
                "pem" => Some(Format::Pem),
                "jwk" => Some(Format::Jwk),
                _ => None,
            },
            "pem or jwk",
        ),
        Grammar::Secrets | Grammar::Env => return None,
    };
    if format.is_none() {
        problems.add(node, "format", format!("{text:?} is not a format here: {known}"));
    }
    format
}

/// Elsewhere the field is foreign, and said to be.
fn password_of(grammar: Grammar, format: Option<Format>, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<NamedObject> {
    if grammar != Grammar::Certificates {
        return None;
    }
    let password = fields.parse::<NamedObject>("passwordFrom", problems);
    let node = fields.take("passwordFrom")?;
    if format != Some(Format::Pfx) {
        problems.add(node, "passwordFrom", "only a PFX has a password: add format: pfx, or remove it");
    }
    password
}

pub(super) fn containers_of(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<ContainerName>> {
    let node = fields.take("containers")?;
    let names = fields.parse_list("containers", problems)?;
    if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
        problems.add(node, "containers", "the list is empty: name a container, or remove the field");
    }
    Some(names)
}

const OF_SECRETS: [(&str, &str); 4] = [
    ("env", "a file has no variable name: use file"),
    ("encoding", "only a secret has an encoding: remove it"),
    ("property", "only a secret has properties: remove it"),
    NO_VARIABLE,
];
const NO_VARIABLE: (&str, &str) = ("override", "a file overrides nothing: remove it");
const NO_PFX: &str = "only a certificate with format: pfx has a password: remove it";

/// Fields that exist, but not in this annotation: better than "unknown".
fn refuse_foreign_fields(grammar: Grammar, fields: &mut Fields<'_>, problems: &mut Problems) {
    let foreign: &[(&'static str, &'static str)] = match grammar {
        Grammar::Secrets => {
            &[("env", "a file has no variable name: use file, or move the reference to the annotation env"), ("passwordFrom", NO_PFX), NO_VARIABLE]
        }
        Grammar::Certificates => &OF_SECRETS,
        Grammar::Keys => &[OF_SECRETS[0], OF_SECRETS[1], OF_SECRETS[2], ("passwordFrom", NO_PFX), NO_VARIABLE],
        Grammar::Env => &[
            ("file", "a variable is not a file: use env, or move the reference to the annotation secrets"),
            ("mode", "a variable has no file mode: remove it"),
            ("passwordFrom", NO_PFX),
        ],
    };
    for (field, message) in foreign {
        fields.refuse(field, message, problems);
    }
    if grammar != Grammar::Secrets {
        // Both are refused with words of their own.
        fields.hide(&["group", "select"]);
    }
}
