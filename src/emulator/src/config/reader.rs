//! What all parts of the file are read with.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use keyvault_common::names::Guid;
use keyvault_common::yaml::Node;
use keyvault_common::yaml_fields::{Fields, Problems, parse_node};

/// Reads maps and lists, and gathers what is wrong with them. A `None` of its functions is always also a problem.
pub(super) struct Reader<'d> {
    base_dir: &'d Path,
    pub(super) problems: Problems,
}

/// A map that is being read: its place, and its fields.
pub(super) struct Map<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
    pub(super) fields: Fields<'n>,
}

impl Reader<'_> {
    pub(super) fn new(base_dir: &Path) -> Reader<'_> {
        Reader { base_dir, problems: Problems::default() }
    }

    /// A map; keys that `read` does not take are problems.
    pub(super) fn map<T>(&mut self, node: &Node, path: &str, read: fn(&mut Self, &mut Map<'_>) -> Option<T>) -> Option<T> {
        let mut map = Map { node, path: path.to_owned(), fields: Fields::of(node, path, &mut self.problems)? };
        let value = read(self, &mut map);
        map.fields.finish(&mut self.problems);
        value
    }

    /// The maps of an optional list.
    pub(super) fn each<T>(&mut self, map: &mut Map<'_>, key: &'static str, read: fn(&mut Self, &mut Map<'_>) -> Option<T>) -> Vec<T> {
        let (items, path) = (map.fields.list(key, &mut self.problems).unwrap_or_default(), map.fields.path(key));
        items.iter().enumerate().filter_map(|(index, item)| self.map(item, &format!("{path}[{index}]"), read)).collect()
    }

    /// The maps of a list that holds at least one.
    pub(super) fn some<T>(&mut self, map: &mut Map<'_>, key: &'static str, read: fn(&mut Self, &mut Map<'_>) -> Option<T>) -> Option<Vec<T>> {
        let before = self.problems.0.len();
        let items = self.each(map, key, read);
        if items.is_empty() && self.problems.0.len() == before {
            self.problems.add(map.node, &map.path, format!("{key} is missing: at least one is needed"));
        }
        (!items.is_empty()).then_some(items)
    }

    /// A field that must be there.
    pub(super) fn required<'n>(&mut self, map: &mut Map<'n>, key: &'static str) -> Option<&'n Node> {
        let node = map.fields.take(key);
        if node.is_none() {
            self.problems.add(map.node, &map.path, format!("{key} is missing"));
        }
        node
    }

    /// A field that must be there, as text and parsed.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, map: &mut Map<'_>, key: &'static str) -> Option<T> {
        let node = self.required(map, key)?;
        parse_node(node, &map.fields.path(key), &mut self.problems)
    }

    /// A GUID that must be there.
    pub(super) fn guid(&mut self, map: &mut Map<'_>, key: &'static str) -> Option<Guid> {
        self.parsed(map, key).map(|LowerGuid(guid)| guid)
    }

    /// The content of a file.
    pub(super) fn file(&mut self, node: &Node, path: &str) -> Option<Vec<u8>> {
        let file = self.path(node, path)?;
        match std::fs::read(&file) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.problems.add(node, path, format!("{}: {error}", file.display()));
                None
            }
        }
    }

    /// A path, relative ones below the folder of the configuration.
    pub(super) fn path(&mut self, node: &Node, path: &str) -> Option<PathBuf> {
        parse_node::<PathBuf>(node, path, &mut self.problems).map(|file| self.base_dir.join(file))
    }

    /// Refuses a name that stands in a list twice; Azure compares names without regard to case.
    pub(super) fn distinct<'a>(&mut self, map: &Map<'_>, key: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for twice in names.filter(|name| !seen.insert(name.to_ascii_lowercase())) {
            self.problems.add(map.node, &map.fields.path(key), format!("{twice} appears here twice"));
        }
    }
}

/// A GUID in lower case, as Entra writes it.
pub(super) struct LowerGuid(pub(super) Guid);

impl FromStr for LowerGuid {
    type Err = <Guid as FromStr>::Err;

    fn from_str(text: &str) -> Result<LowerGuid, Self::Err> {
        text.to_ascii_lowercase().parse().map(LowerGuid)
    }
}
