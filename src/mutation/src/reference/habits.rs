//! What people write who come from other tools, each with what to write here.

use super::Grammar;
use keyvault_common::names::{NamePrefix, ObjectName};
use keyvault_common::yaml_fields::{Fields, Problems};

/// The longest example made of the author's own words.
const LONGEST_EXAMPLE: usize = 80;

/// The name of an object, or what is wrong with it in words.
pub(super) fn object_name(text: &str, grammar: Grammar) -> Result<ObjectName, String> {
    match problem(text, grammar) {
        Some(message) => Err(message),
        None => text.parse().map_err(|error: keyvault_common::names::NameError| error.to_string()),
    }
}

fn problem(name: &str, grammar: Grammar) -> Option<String> {
    if name.contains(" - ") {
        return Some("YAML reads two lines as one item: begin each \"- \" in the same column".to_owned());
    }
    if let Some((object, destination)) = name.split_once(" as ") {
        let example = format!("{}={}", destination.trim(), object.trim());
        let example = if example.len() <= LONGEST_EXAMPLE { &example } else { "DEST=NAME" };
        return Some(format!("the destination goes before the name: write {example:?}"));
    }
    let (prefix, _) = name.split_once('*')?;
    let fix = match (grammar, prefix.parse::<NamePrefix>()) {
        (Grammar::Secrets, Ok(prefix)) => format!("write {{select: {{prefix: {prefix}}}, file: \"${{name}}\"}} in a YAML list"),
        _ => "name each object".to_owned(),
    };
    Some(format!("a name has no wildcards: {fix}"))
}

/// The object's name in the Secrets Store CSI Driver and in External Secrets.
const NAMES: [&str; 3] = ["objectName", "remoteRef", "key"];
/// Its destination there.
const DESTINATIONS: [&str; 5] = ["objectAlias", "secretKey", "path", "as", "fileName"];
const OTHERS: [(&str, &str); 8] = [
    ("objectVersion", "the field is called version here"),
    ("objectEncoding", "the field is called encoding here"),
    ("objectFormat", "the field is called format here"),
    ("filePermission", "the field is called mode here"),
    ("keyvaultName", "the field is called vault here"),
    ("keyVaultName", "the field is called vault here"),
    ("vaultName", "the field is called vault here"),
    ("objectType", "the annotation says the type (secrets, certificates or keys): remove it"),
];

/// Whether other tools have a field of this name.
pub(super) fn is_field(key: &str) -> bool {
    NAMES.contains(&key) || DESTINATIONS.contains(&key) || OTHERS.iter().any(|(other, _)| *other == key)
}

/// Refuses fields of other tools. Returns whether one of them names the object.
pub(super) fn refuse(grammar: Grammar, fields: &mut Fields<'_>, problems: &mut Problems) -> bool {
    let mut is_named = false;
    for name in NAMES {
        is_named |= fields.take(name).is_some();
        fields.refuse(name, "the field is called name here, and takes the object's name alone", problems);
    }
    let destination = if grammar == Grammar::Env { "the field is called env here" } else { "the field is called file here" };
    for field in DESTINATIONS {
        fields.refuse(field, destination, problems);
    }
    for (field, message) in OTHERS {
        fields.refuse(field, message, problems);
    }
    is_named
}
