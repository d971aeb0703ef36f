//! The variables of a container: those that the kubelet reads come first, so that `$(NAME)` of others works.

use std::collections::HashSet;

use serde_json::Value;

use super::{Operations, container_path};
use crate::inject::delivery::is_ours;
use crate::inject::given::{FileVariable, Given, Wrapper};
use crate::pod::{EnvVar, Lazy};
use keyvault_common::plan::EXEC_VARIABLE;

/// What the names of our volumes begin with.
const OURS: &str = "keyvault-";

/// Brings the list to what it should be.
pub(super) fn set(given: &Given<'_>, operations: &mut Operations) {
    let env = given.consumer.container.env.as_ref();
    let is_given = !given.variables.is_empty() || given.wrapper.is_some();
    if !is_given && !env.is_some_and(|env| env.mentions(OURS) || env.mentions(EXEC_VARIABLE)) {
        return;
    }
    let there = env.and_then(Lazy::read);
    let list = container_path(given.consumer.place, &["env"]);
    let at = |index: usize| list.with_trailing_token(index);
    let wrapper = given.wrapper.as_ref().map(Wrapper::variable);
    let variables = there.as_deref().unwrap_or_default();

    let stands_first =
        variables.len() >= given.variables.len() && given.variables.iter().zip(variables).all(|(wanted, there)| is_same(wanted, there));
    let first = if stands_first { given.variables.len() } else { 0 };
    let names: HashSet<&str> = given.variables.iter().map(|wanted| wanted.name.as_str()).collect();
    let is_stale = |variable: &EnvVar<'_>| {
        // A variable that the pod's author set and lets us replace: the last one of a name would hold.
        let replaced = names.contains(variable.name.as_str());
        let wrapper_of_old = variable.name.as_str() == EXEC_VARIABLE && !wrapper.as_ref().is_some_and(|wanted| is_wrapper(wanted, variable));
        is_ours(variable) || replaced || wrapper_of_old
    };
    let (stale, left): (Vec<usize>, Vec<usize>) = (0..variables.len()).partition(|index| *index >= first && is_stale(&variables[*index]));
    for index in stale.iter().rev() {
        operations.remove(at(*index));
    }
    let missing = wrapper.clone().filter(|_| !left.iter().any(|index| variables[*index].name.as_str() == EXEC_VARIABLE));
    let front: Vec<Value> = if stands_first { Vec::new() } else { given.variables.iter().map(FileVariable::value).collect() };
    if there.is_none() {
        let all: Vec<Value> = front.into_iter().chain(missing).collect();
        if !all.is_empty() {
            operations.add(list, Value::Array(all));
        }
        return;
    }
    for (index, variable) in front.into_iter().enumerate() {
        operations.add(at(index), variable);
    }
    operations.append(list, true, missing.into_iter().collect());
}

fn is_same(wanted: &FileVariable, there: &EnvVar<'_>) -> bool {
    let same = |key: &crate::pod::FileKey<'_>| {
        let place = (key.volume_name.as_str(), key.path.as_str(), key.key.as_str());
        place == (wanted.volume.as_str(), super::super::given::ENVIRONMENT_FILE, wanted.name.as_str())
            && key.optional.unwrap_or(false) == wanted.optional
    };
    there.name.as_str() == wanted.name && there.file_key().is_some_and(same)
}

fn is_wrapper(wanted: &Value, there: &EnvVar<'_>) -> bool {
    wanted["value"].as_str() == there.value.as_ref().map(crate::pod::Text::as_str)
}
