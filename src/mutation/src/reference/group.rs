//! Many secrets in one file: `{group: [KEY=NAME, …], format: dotenv, file: app.env}`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::str::FromStr;

use super::{Destination, Grammar, NamedObject, Parsed, Reference, Target, containers_of};
use keyvault_common::names::{EnvName, FileMode, NameError};
use keyvault_common::plan::Encoding;
use keyvault_common::yaml::Node;
use keyvault_common::yaml_fields::{Fields, Problems};

/// How the file of a group is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFormat {
    /// `KEY='value'` lines.
    Dotenv,
    /// A JSON object.
    Json,
    /// A YAML map.
    Yaml,
}

impl FromStr for GroupFormat {
    type Err = NameError;

    fn from_str(text: &str) -> Result<GroupFormat, NameError> {
        match text {
            "dotenv" => Ok(GroupFormat::Dotenv),
            "json" => Ok(GroupFormat::Json),
            "yaml" => Ok(GroupFormat::Yaml),
            _ => Err(NameError::new("a format of a group", text, "dotenv, json or yaml")),
        }
    }
}

impl GroupFormat {
    /// The template that writes a group: what a file holds is the agent's business, and it knows templates.
    #[must_use]
    pub fn template(self, members: &[Member]) -> String {
        let mut text = if self == GroupFormat::Json { "{\n".to_owned() } else { String::new() };
        for (index, Member { key, written, .. }) in members.iter().enumerate() {
            let comma = if index + 1 < members.len() { "," } else { "" };
            let _ = match self {
                GroupFormat::Dotenv => writeln!(text, "{key}=${{ secret(\"{written}\") | dotenv }}"),
                GroupFormat::Json => writeln!(text, "  \"{key}\": ${{ secret(\"{written}\") | json }}{comma}"),
                GroupFormat::Yaml => writeln!(text, "\"{key}\": ${{ secret(\"{written}\") | json }}"),
            };
        }
        text + if self == GroupFormat::Json { "}\n" } else { "" }
    }
}

/// One secret of a group: `[KEY=][VAULT/]NAME[@VERSION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the value is called in the file; the secret's name unless it says otherwise.
    pub key: String,
    /// What follows the key, as written.
    pub written: String,
    /// The secret.
    pub object: NamedObject,
}

impl FromStr for Member {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Member, NameError> {
        let (key, written) = text.split_once('=').map_or((None, text.trim()), |(key, written)| (Some(key.trim()), written.trim()));
        let object: NamedObject = written.parse()?;
        let key = key.unwrap_or(object.name.as_str()).to_owned();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
            return Err(NameError::new("a key of a group", &key, "letters, digits, underscores, dots and hyphens"));
        }
        Ok(Member { key, written: written.to_owned(), object })
    }
}

/// A map with the field `group`.
pub(super) fn reference(number: usize, item: &Node, mut fields: Fields<'_>, parsed: &mut Parsed) -> Option<Reference> {
    let label = format!("item {number} (group)");
    if parsed.grammar != Grammar::Secrets {
        parsed.problem(&label, "only secrets make a group: move it to the annotation secrets, or remove group");
        return None;
    }
    let mut problems = Problems::default();
    let members: Vec<Member> = fields.parse_list("group", &mut problems).unwrap_or_default();
    let format = fields.parse("format", &mut problems);
    let file = fields.parse("file", &mut problems);
    let mode = fields.parse::<FileMode>("mode", &mut problems);
    let containers = containers_of(&mut fields, &mut problems);
    fields.finish(&mut problems);
    if problems.0.is_empty() {
        check(&members, format, file.is_some(), item, &mut problems);
    }
    let good = problems.0.is_empty();
    problems.0.into_iter().for_each(|problem| parsed.problem(&label, problem.to_string()));
    let target = Target::Group { format: format?, members };
    let destination = Some(Destination::File(file?));
    let reference = Reference {
        label,
        target,
        destination,
        mode,
        encoding: Encoding::default(),
        property: None,
        format: None,
        password: None,
        optional: false,
        overrides: false,
        containers,
    };
    good.then_some(reference)
}

fn check(members: &[Member], format: Option<GroupFormat>, has_file: bool, item: &Node, problems: &mut Problems) {
    if members.is_empty() {
        problems.add(item, "group", "it names nothing: list at least one secret");
    }
    if format.is_none() {
        problems.add(item, "", "a group has a format: add format: dotenv, json or yaml");
    }
    if !has_file {
        problems.add(item, "", "a group has no name: add file");
    }
    let mut seen = HashSet::new();
    for (index, Member { key, .. }) in members.iter().enumerate() {
        let path = format!("group[{index}]");
        if !seen.insert(key) {
            problems.add(item, &path, format!("the key {key} is there twice: give one of them another, as KEY=NAME"));
        }
        if format == Some(GroupFormat::Dotenv) && key.parse::<EnvName>().is_err() {
            problems.add(item, &path, format!("{key:?} is not a variable of a dotenv file: write KEY=NAME, such as DB_PASSWORD=db-password"));
        }
    }
}
