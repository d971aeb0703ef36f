//! The command of a container behind `keyvault-agent exec`.

use serde_json::{Value, json};

use crate::pod::Text;

/// Where a wrapped container finds what it needs of ours.
pub(super) const DIRECTORY: &str = "/keyvault-injector";
/// Where a wrapped container finds the agent's program.
pub(super) const PROGRAM_DIRECTORY: &str = "/keyvault-injector/bin";
/// Where it finds the values of its variables.
pub(super) const ENVIRONMENT_DIRECTORY: &str = "/keyvault-injector/env";

/// A word of every command that is wrapped.
pub(super) const WRAPPER: &str = "keyvault-agent";
const PROGRAM: &str = "/keyvault-injector/bin/keyvault-agent";
/// Asks the wrapper to stay as the program's parent.
const SUPERVISE: &str = "--supervise";

/// What the pod's author wrote: a command without the wrapper of an earlier pass.
pub(super) fn unwrapped<'c, 't>(command: &'c [Text<'t>]) -> &'c [Text<'t>] {
    let words: Vec<&str> = command.iter().take(4).map(Text::as_str).collect();
    match words.as_slice() {
        [PROGRAM, "exec", "--", ..] => &command[3..],
        [PROGRAM, "exec", SUPERVISE, "--"] => &command[4..],
        _ => command,
    }
}

/// The command with the wrapper before it.
pub(super) fn wrapped(command: &[Text<'_>], supervised: bool) -> Value {
    let wrapper = [PROGRAM, "exec"].into_iter().chain(supervised.then_some(SUPERVISE)).chain(["--"]);
    json!(wrapper.chain(unwrapped(command).iter().map(Text::as_str)).collect::<Vec<_>>())
}

/// The names in `$(NAME)` that the kubelet replaces. `$$` is a dollar sign.
pub(super) fn expanded(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            rest = after.strip_prefix('$').unwrap_or(after);
            if rest.len() < after.len() {
                continue;
            }
            if let Some(open) = after.strip_prefix('(') {
                // Without a bracket that closes there is no further name, either.
                let (name, tail) = open.split_once(')')?;
                rest = tail;
                return Some(name);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&'static str]) -> Vec<Text<'static>> {
        words.iter().map(|word| Text((*word).into())).collect()
    }

    #[test]
    fn wrapping_twice_is_wrapping_once() {
        for supervised in [false, true] {
            let once = wrapped(&texts(&["/app", "--", "x"]), supervised);
            let words: Vec<Text<'_>> = once.as_array().unwrap().iter().map(|word| Text(word.as_str().unwrap().into())).collect();
            assert_eq!(wrapped(&words, supervised), once);
            assert_eq!(unwrapped(&words), texts(&["/app", "--", "x"]));
        }
        assert_eq!(unwrapped(&texts(&["/keyvault-injector/bin/keyvault-agent", "exec"])).len(), 2);
    }

    #[test]
    fn finds_the_names_that_the_kubelet_replaces() {
        let names = |text| expanded(text).collect::<Vec<_>>();
        assert_eq!(names("--url=$(A)/$(B)"), ["A", "B"]);
        assert_eq!(names("$$(A) $$$(B) $ $(C"), ["B"]);
        assert_eq!(names("$(A$(B)"), ["A$(B"]);
        assert!(names("$A ${B} cost: 5$").is_empty());
    }
}
