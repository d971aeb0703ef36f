//! Why a pod cannot be read. Nearly always a value that Kubernetes takes as text and YAML does not: quotes or a `|` are missing.

use serde_json::Value;

use super::super::documents::Document;

/// A value that must be text: where it is below the pod, what it is, and what of its kind must be text.
struct TextWanted {
    pointer: String,
    what: String,
    all: &'static str,
}

/// Each problem of the pod at `pod` with its line; the reader's own reason where no text is missing.
pub(super) fn problems(document: &Document, pod: &str, reason: &str) -> Vec<(usize, String)> {
    let Some(value) = document.value().pointer(pod) else { return Vec::new() };
    let wrong = wanted(value).into_iter().filter_map(|wanted| {
        let found = value.pointer(&wanted.pointer).filter(|found| !found.is_string() && !found.is_null())?;
        let written = document.written(&format!("{pod}{}", wanted.pointer));
        let (line, spelled) = written.unwrap_or((document.line(), None));
        Some((line, wanted.problem(found, &spelled.unwrap_or_else(|| found.to_string()))))
    });
    let problems: Vec<_> = wrong.collect();
    if problems.is_empty() {
        // The place in the text is that of JSON, which nobody sees.
        let reason = reason.split(" at line ").next().unwrap_or(reason);
        return vec![(document.line(), format!("it is not a readable pod: {reason}"))];
    }
    problems
}

impl TextWanted {
    fn problem(&self, found: &Value, spelled: &str) -> String {
        let TextWanted { pointer, what, all } = self;
        let key = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let block = |kind: &str| format!("{what} is a {kind}, and {all} are text: write \"{key}: |\" and indent the {kind} below it");
        let quoted = |kind: &str| format!("{what} is {spelled}, a {kind}, and {all} are text: write it in quotes: \"{spelled}\"");
        match found {
            Value::Array(_) => block("list"),
            Value::Object(_) => block("map"),
            Value::Bool(_) => quoted("boolean"),
            Value::Number(_) | Value::String(_) | Value::Null => quoted("number"),
        }
    }
}

fn wanted(pod: &Value) -> Vec<TextWanted> {
    let mut wanted = Vec::new();
    for (field, noun, all) in [("annotations", "annotation", "annotations"), ("labels", "label", "labels")] {
        for key in pod["metadata"][field].as_object().into_iter().flat_map(|map| map.keys()) {
            let pointer = format!("/metadata/{field}/{}", key.replace('~', "~0").replace('/', "~1"));
            wanted.push(TextWanted { pointer, what: format!("{noun} {key}"), all });
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            let name = container["name"].as_str().unwrap_or_default();
            for (variable, entry) in container["env"].as_array().into_iter().flatten().enumerate() {
                let what = format!("container {name}: variable {}", entry["name"].as_str().unwrap_or_default());
                wanted.push(TextWanted { pointer: format!("/spec/{list}/{index}/env/{variable}/value"), what, all: "variables" });
            }
        }
    }
    wanted
}
