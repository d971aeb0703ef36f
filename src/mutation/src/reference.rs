//! References to Key Vault objects: one grammar for every content annotation.
//!
//! The short form is `[DEST=][VAULT/]NAME[@VERSION]`, separated by commas or line breaks; the long form a YAML list of short strings and maps.
//! Each reference is parsed on its own, so that all problems come at once.

mod group;
mod habits;
mod long;
mod select;
mod short;

use std::fmt;
use std::str::FromStr;

use keyvault_common::names::{
    ContainerName, EnvName, FileMode, FilePath, FilePattern, NameError, ObjectKind, ObjectName, ObjectVersion, VaultName, VaultUrl,
};
use keyvault_common::plan::{Encoding, MAX_ENTRIES, Selector};
use keyvault_common::property::PropertyPath;

pub use group::{GroupFormat, Member};
use long::containers_of;

/// Which annotation a reference is in; it decides which fields are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// `secrets`: a file each.
    Secrets,
    /// `certificates`: a folder each, or one file in other formats.
    Certificates,
    /// `keys`: a file each.
    Keys,
    /// `env`: an environment variable each.
    Env,
}

impl Grammar {
    /// The kind of object that the references name.
    #[must_use]
    pub fn kind(self) -> ObjectKind {
        match self {
            Grammar::Secrets | Grammar::Env => ObjectKind::Secret,
            Grammar::Certificates => ObjectKind::Certificate,
            Grammar::Keys => ObjectKind::Key,
        }
    }
}

/// One parsed reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As it stood in the annotation, for messages: `item 2 "stripe/api-key=stripe-key"`.
    pub label: String,
    /// What it names.
    pub target: Target,
    /// Where it goes; `None` means a file named like the object, or as a selection's pattern says.
    pub destination: Option<Destination>,
    /// The file's permission bits, if the reference sets them.
    pub mode: Option<FileMode>,
    /// How the stored text becomes bytes.
    pub encoding: Encoding,
    /// A part of a JSON or YAML value.
    pub property: Option<PropertyPath>,
    /// The output format, if the reference sets it.
    pub format: Option<Format>,
    /// The secret whose value is the password of a [`Format::Pfx`].
    pub password: Option<NamedObject>,
    /// Whether a missing object (404) is skipped.
    pub optional: bool,
    /// Whether a variable that the container sets itself may be replaced.
    pub overrides: bool,
    /// Which containers get it; `None` means those of the pod's `containers` annotation.
    pub containers: Option<Vec<ContainerName>>,
}

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One object.
    Object {
        /// The vault, if the reference names one.
        vault: Option<VaultLocator>,
        /// The object.
        name: ObjectName,
        /// The pinned version; `None` is the latest.
        version: Option<ObjectVersion>,
    },
    /// Every secret that matches.
    Select {
        /// The vault, if the reference names one.
        vault: Option<VaultLocator>,
        /// Which.
        selector: Selector,
        /// Where each goes.
        file: FilePattern,
    },
    /// Several secrets in one file.
    Group {
        /// How the file is written.
        format: GroupFormat,
        /// What it holds, in this order.
        members: Vec<Member>,
    },
}

impl Target {
    /// Whether it, or a part of it, lies in the default vault.
    #[must_use]
    pub fn needs_default_vault(&self) -> bool {
        match self {
            Target::Object { vault, .. } | Target::Select { vault, .. } => vault.is_none(),
            Target::Group { members, .. } => members.iter().any(|member| member.object.vault.is_none()),
        }
    }

    /// How many objects or selections it names.
    #[must_use]
    pub fn count(&self) -> usize {
        if let Target::Group { members, .. } = self { members.len() } else { 1 }
    }
}

/// An object beside the references, such as the secret that holds a password: `[VAULT/]NAME[@VERSION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedObject {
    /// The vault, if it is named; for a password, `None` is the vault of what it is for.
    pub vault: Option<VaultName>,
    /// The object.
    pub name: ObjectName,
    /// The pinned version; `None` is the latest.
    pub version: Option<ObjectVersion>,
}

impl FromStr for NamedObject {
    type Err = NameError;

    fn from_str(text: &str) -> Result<NamedObject, NameError> {
        let (source, version) = text.rsplit_once('@').map_or((text, None), |(source, version)| (source, Some(version)));
        let (vault, name) = source.split_once('/').map_or((None, source), |(vault, name)| (Some(vault), name));
        Ok(NamedObject { vault: vault.map(str::parse).transpose()?, name: name.parse()?, version: version.map(pinned).transpose()? })
    }
}

/// A version, with a word for what people write by habit.
fn pinned(text: &str) -> Result<ObjectVersion, NameError> {
    let refuse = |rule| Err(NameError::new("a Key Vault object version", text, rule));
    match text {
        "latest" | "current" => refuse("leave it out: without a version the latest is taken"),
        "azurekeyvault" => refuse("leave out @azurekeyvault: the name alone is enough here"),
        _ => text.parse(),
    }
}

/// The version of the long form.
struct Pinned(ObjectVersion);

impl FromStr for Pinned {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Pinned, NameError> {
        pinned(text).map(Pinned)
    }
}

/// A vault by name (in the configured cloud) or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultLocator {
    /// The first label of its host.
    Name(VaultName),
    /// Its whole address.
    Url(VaultUrl),
}

impl FromStr for VaultLocator {
    type Err = NameError;

    fn from_str(text: &str) -> Result<VaultLocator, NameError> {
        if text.contains("://") { text.parse().map(VaultLocator::Url) } else { text.parse().map(VaultLocator::Name) }
    }
}

/// Where a value goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file (or, for a certificate, a folder) below the mount path.
    File(FilePath),
    /// An environment variable.
    Env(EnvName),
}

/// The name of a variable that a container may be given.
struct FreeName(EnvName);

impl FromStr for FreeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<FreeName, NameError> {
        if text.starts_with("KEYVAULT_AGENT_") {
            const RULE: &str = "names that begin with KEYVAULT_AGENT_ belong to keyvault-injector; choose another name";
            return Err(NameError::new("a variable that a container can be given", text, RULE));
        }
        text.parse().map(FreeName)
    }
}

/// The output format of a certificate or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PEM: for certificates a folder of three files.
    Pem,
    /// One PEM file with key and chain.
    Bundle,
    /// PKCS#12.
    Pfx,
    /// A JSON Web Key.
    Jwk,
}

/// One thing wrong with one reference: which item, and the fix in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceProblem {
    /// As [`Reference::label`].
    pub label: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ReferenceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.label.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.label, self.message) }
    }
}

/// Parses a content annotation. The references that are right come back beside the problems of the others.
#[must_use]
pub fn parse(text: &str, grammar: Grammar) -> Parsed {
    let mut parsed = Parsed { grammar, references: Vec::new(), count: 0, problems: Vec::new(), problem_count: 0 };
    let body = text.trim();
    if body.is_empty() {
        parsed.problem("", "it names nothing: list at least one reference, or remove the annotation");
    } else if is_long(body) {
        long::parse(text, &mut parsed);
    } else {
        short::parse(text, &mut parsed);
    }
    parsed
}

/// YAML begins with a list, a map or a comment; a short reference can begin with none of these.
fn is_long(body: &str) -> bool {
    body.starts_with(['[', '{', '#'])
        || body.starts_with("- ")
        || body.starts_with("-\n")
        || body.lines().next().is_some_and(|line| line.ends_with(':') || line.contains(": "))
}

/// What one run of the parser has found.
#[derive(Debug)]
pub struct Parsed {
    grammar: Grammar,
    /// Those that are right; no more than a plan can hold.
    pub references: Vec<Reference>,
    /// How many objects and selections all that are right name.
    pub count: usize,
    /// The first problems.
    pub problems: Vec<ReferenceProblem>,
    /// How many there are.
    pub problem_count: usize,
}

/// Nobody reads more problems, and an annotation could have a hundred thousand.
const MAX_PROBLEMS: usize = 100;

impl Parsed {
    fn reference(&mut self, reference: Reference) {
        self.count += reference.target.count();
        if self.count <= MAX_ENTRIES {
            self.references.push(reference);
        }
    }

    fn problem(&mut self, label: &str, message: impl Into<String>) {
        self.problem_count += 1;
        if self.problem_count <= MAX_PROBLEMS {
            self.problems.push(ReferenceProblem { label: label.to_owned(), message: message.into() });
        }
    }

    /// Keeps a value, or its error as a problem of the item.
    fn keep<T, E: fmt::Display>(&mut self, label: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problem(label, error.to_string())).ok()
    }
}

#[cfg(test)]
mod tests;
