//! A stream of manifests: every document kept to the byte, the pods in each, and only what was changed written anew.
//!
//! Values are read as `kubectl` reads them, by YAML 1.1 (`0440` is 288, `yes` is true), and written so that readers of both versions agree.

use std::borrow::Cow;

use serde_json::Value;

use crate::yaml::{Kind, Node};

mod text;

use text::{BOM, head, split, tail};

/// The documents of one file, in order.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    documents: Vec<Document>,
}

/// One document with everything around it: markers, comments, blank lines.
#[derive(Clone, Debug)]
pub(super) struct Document {
    source: String,
    line: usize,
    format: Format,
    value: Value,
    changed: bool,
}

/// A pod, or a template of pods, in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// JSON pointer to the value that has `metadata` and `spec` of the pod.
    pub(super) pointer: String,
    /// Kind of the object that holds it, `Pod` for a pod itself.
    pub(super) kind: String,
    /// The object's name.
    pub(super) name: Option<String>,
    /// What its name will begin with, if it has none yet.
    pub(super) generate_name: Option<String>,
    /// The object's namespace.
    pub(super) namespace: Option<String>,
}

/// Why a text is not a stream of manifests, or cannot be written as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(super) struct StreamError {
    /// 1-based line of the whole text.
    pub(super) line: usize,
    /// Reason, in words.
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Yaml,
    Json,
}

impl Stream {
    /// Reads YAML documents, or JSON documents one after the other.
    ///
    /// # Errors
    /// The first document that is not YAML: line and reason.
    pub(super) fn parse(text: &str) -> Result<Stream, StreamError> {
        if let Some(documents) = json_documents(text) {
            return Ok(Stream { documents });
        }
        let documents = split(text).into_iter().map(|(line, source)| Document::from_yaml(source, line)).collect::<Result<_, _>>()?;
        Ok(Stream { documents })
    }

    /// The documents, in order. Empty ones (comments only) have the value null.
    #[must_use]
    pub(super) fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The documents, to be changed.
    pub(super) fn documents_mut(&mut self) -> &mut [Document] {
        &mut self.documents
    }

    /// The whole text: unchanged documents byte for byte.
    ///
    /// # Errors
    /// A changed document that YAML cannot express.
    pub(super) fn render(&self) -> Result<String, StreamError> {
        self.documents.iter().map(Document::render).collect()
    }
}

impl Document {
    fn from_yaml(source: &str, line: usize) -> Result<Document, StreamError> {
        let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
        let text = source.strip_prefix(BOM).unwrap_or(source);
        let value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let inner = error.location().map_or(0, |place| place.line() as usize - 1);
            let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            // The place in the text is that of the document, not of the stream.
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
            StreamError { line: line + inner, message }
        })?;
        Ok(Document { source: source.to_owned(), line, format: Format::Yaml, value, changed: false })
    }

    /// The object that the document holds; null in an empty one.
    #[must_use]
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// 1-based line where the document, with what stands before it, begins.
    #[must_use]
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Where a value stands, as the 1-based line of its key, and how a scalar is spelled there. `None` where anchors or tags make that unclear.
    #[must_use]
    pub(super) fn written(&self, pointer: &str) -> Option<(usize, Option<String>)> {
        let root = Node::parse(self.source.trim_start_matches(BOM)).ok()?;
        let (mut node, mut line) = (&root, root.line);
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            (line, node) = match &node.kind {
                Kind::Map(entries) => entries.iter().find(|(key, _)| key.text() == Some(step.as_str())).map(|(key, value)| (key.line, value))?,
                Kind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item.line, item))?,
                Kind::Scalar { .. } => return None,
            };
        }
        Some((self.line + line - 1, node.text().map(str::to_owned)))
    }

    /// The pods and pod templates in it.
    #[must_use]
    pub(super) fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        find(&self.value, "", &mut targets);
        targets
    }

    /// Puts a value where the pointer points, and returns the one that stood there; `None`, and no change, where nothing did.
    pub(super) fn replace(&mut self, pointer: &str, value: Value) -> Option<Value> {
        let place = self.value.pointer_mut(pointer)?;
        self.changed |= *place != value;
        Some(std::mem::replace(place, value))
    }

    /// The document's text with its markers and surroundings.
    ///
    /// # Errors
    /// A changed document that YAML cannot express.
    pub(super) fn render(&self) -> Result<Cow<'_, str>, StreamError> {
        if !self.changed {
            return Ok(Cow::Borrowed(&self.source));
        }
        let (head, tail) = self.surroundings();
        let body = self.body().map_err(|message| StreamError { line: self.line, message })?;
        let text = format!("{head}{body}{tail}");
        Ok(Cow::Owned(if self.source.contains("\r\n") { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text }))
    }

    fn body(&self) -> Result<String, String> {
        match self.format {
            Format::Json => serde_json::to_string_pretty(&self.value).map_err(|error| error.to_string()),
            Format::Yaml => {
                // A long line stays one line: folded text is hard to compare.
                let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
                serde_saphyr::to_string_with_options(&self.value, options).map_err(|error| error.to_string())
            }
        }
    }

    /// What stands before and after the content and outlives a change of it.
    fn surroundings(&self) -> (String, &str) {
        match self.format {
            Format::Json => {
                let tail = &self.source[self.source.trim_end().len()..];
                let content = self.source.trim_start_matches(BOM).trim_start();
                (self.source[..self.source.len() - content.len()].to_owned(), tail)
            }
            Format::Yaml => (head(&self.source), tail(&self.source)),
        }
    }
}

/// JSON documents one after the other; `None` where the text is anything else.
fn json_documents(text: &str) -> Option<Vec<Document>> {
    let content = text.strip_prefix(BOM).unwrap_or(text);
    let offset = text.len() - content.len();
    let mut values = serde_json::Deserializer::from_str(content).into_iter::<Value>();
    let mut documents = Vec::new();
    let (mut start, mut line) = (0, 1);
    while let Some(value) = values.next() {
        let value = value.ok().filter(Value::is_object)?;
        let rest = &content[values.byte_offset()..];
        let end = if rest.trim().is_empty() { text.len() } else { offset + values.byte_offset() };
        let source = text[start..end].to_owned();
        start = end;
        let lines = source.matches('\n').count();
        documents.push(Document { source, line, format: Format::Json, value, changed: false });
        line += lines;
    }
    (!documents.is_empty()).then_some(documents)
}

/// Where the kinds that make pods keep them. Only Kubernetes' own groups: other people's `Job` may look different.
fn find(value: &Value, pointer: &str, targets: &mut Vec<Target>) {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let group = text("/apiVersion").unwrap_or_default().rsplit_once('/').map_or("", |(group, _)| group);
    let kind = text("/kind").unwrap_or_default();
    let place = match (group, kind) {
        ("", "List") => {
            for (index, item) in value.get("items").and_then(Value::as_array).into_iter().flatten().enumerate() {
                find(item, &format!("{pointer}/items/{index}"), targets);
            }
            return;
        }
        ("", "Pod") => "",
        ("", "ReplicationController") | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => "/spec/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return,
    };
    if value.pointer(place).is_some_and(Value::is_object) {
        targets.push(Target {
            pointer: format!("{pointer}{place}"),
            kind: kind.to_owned(),
            name: text("/metadata/name").map(str::to_owned),
            generate_name: text("/metadata/generateName").map(str::to_owned),
            namespace: text("/metadata/namespace").map(str::to_owned),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: pay}\nspec:\n  template:\n    spec: {}\n";

    fn rendered_with(text: &str, pointer: &str, value: Value) -> String {
        let mut stream = Stream::parse(text).unwrap();
        let document = stream.documents_mut().iter_mut().find(|document| document.value().pointer(pointer).is_some()).unwrap();
        document.replace(pointer, value).unwrap();
        stream.render().unwrap()
    }

    #[test]
    fn an_untouched_stream_is_the_same_to_the_byte() {
        for (text, documents) in [
            ("", 1),
            ("# only a comment\n", 1),
            ("---\n---\n", 2),
            ("a: 1", 1),
            ("# licence\n---\na: 1\n--- # second\nb: 2\n", 2),
            ("%YAML 1.1\n# why\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n...\n", 2),
            ("a: 1\n...\n# after\n", 2),
            ("\u{feff}a: 1\r\n---\r\nb: |\r\n  --- not a marker\r\n  # text\r\n", 2),
            ("a: |\n  text\n  ---\n  ----\nb: 1\n", 1),
            ("--- {a: 1}\n---\t[b]\n---\n", 3),
            (" {\"a\": 1}\n", 1),
            ("{\"a\": 1}{\"b\": 2}\r\n{\"c\": 3}\n\n", 3),
            ("{a: 1}\n---\n{\"b\": 2}\n", 2),
        ] {
            let stream = Stream::parse(text).unwrap();
            assert_eq!(stream.documents().len(), documents, "{text:?}");
            assert_eq!(stream.render().unwrap(), text);
        }
    }

    #[test]
    fn a_document_knows_the_line_it_starts_on() {
        let stream = Stream::parse("# one\na: 1\n---\nb: 2\n...\nc: 3\n").unwrap();
        assert_eq!(stream.documents().iter().map(Document::line).collect::<Vec<_>>(), [1, 3, 6]);
        let stream = Stream::parse("{\n\"a\": 1}\n{}").unwrap();
        assert_eq!(stream.documents().iter().map(Document::line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn every_kind_that_makes_pods_is_found_and_nothing_else() {
        for (api_version, kind, pointer) in [
            ("v1", "Pod", Some("")),
            ("v1", "ReplicationController", Some("/spec/template")),
            ("apps/v1", "Deployment", Some("/spec/template")),
            ("apps/v1", "StatefulSet", Some("/spec/template")),
            ("apps/v1", "DaemonSet", Some("/spec/template")),
            ("apps/v1", "ReplicaSet", Some("/spec/template")),
            ("batch/v1", "Job", Some("/spec/template")),
            ("batch/v1", "CronJob", Some("/spec/jobTemplate/spec/template")),
            ("batch.volcano.sh/v1alpha1", "Job", None),
            ("v1", "ConfigMap", None),
            ("", "Pod", Some("")),
        ] {
            let value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "n"}, "spec": {"template": {}, "jobTemplate": {"spec": {"template": {}}}}});
            let stream = Stream::parse(&value.to_string()).unwrap();
            let expected = pointer.map(|pointer| Target {
                pointer: pointer.into(),
                kind: kind.into(),
                name: Some("n".into()),
                generate_name: None,
                namespace: None,
            });
            assert_eq!(stream.documents()[0].targets(), Vec::from_iter(expected), "{kind}");
        }
        assert_eq!(Stream::parse("apiVersion: apps/v1\nkind: Deployment\nspec:\n").unwrap().documents()[0].targets(), []);
    }

    #[test]
    fn lists_in_lists_are_searched() {
        let stream = Stream::parse(&format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n- apiVersion: v1\n  kind: List\n  items:\n  - {}",
            DEPLOYMENT.replace('\n', "\n    ")
        ));
        let target = Target {
            pointer: "/items/1/items/0/spec/template".into(),
            kind: "Deployment".into(),
            name: Some("api".into()),
            generate_name: None,
            namespace: Some("pay".into()),
        };
        assert_eq!(stream.unwrap().documents()[0].targets(), [target]);
    }

    #[test]
    fn a_change_leaves_the_other_documents_and_what_surrounds_its_own() {
        let text = format!("# licence\n---\n# Source: chart\n{DEPLOYMENT}...\n---\nmode:   0440 # kept\n");
        assert_eq!(
            rendered_with(&text, "/spec/template/spec", json!({"a": ["x", {"b": "1\n2\n"}]})),
            "# licence\n---\n# Source: chart\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\n  namespace: pay\nspec:\n  template:\n    spec:\n      \
             a:\n      - x\n      - b: |\n          1\n          2\n...\n---\nmode:   0440 # kept\n"
        );
        assert_eq!(rendered_with("\u{feff}a: 1\r\nb: 2\r\n", "/a", json!([3])), "\u{feff}a:\r\n- 3\r\nb: 2\r\n");
        assert_eq!(rendered_with("--- {a: 1}\n---\nb: 1", "/a", json!(2)), "---\na: 2\n---\nb: 1");
        assert_eq!(rendered_with(" {\"a\":1}\n{\"b\":1}\n", "/a", json!(2)), " {\n  \"a\": 2\n}\n{\"b\":1}\n");
    }

    #[test]
    fn a_value_put_back_unchanged_changes_no_byte() {
        let mut stream = Stream::parse("b:   1 # why\n").unwrap();
        assert_eq!(stream.documents_mut()[0].replace("/b", json!(1)), Some(json!(1)));
        assert_eq!(stream.documents_mut()[0].replace("/c/d", json!(1)), None);
        assert_eq!(stream.render().unwrap(), "b:   1 # why\n");
    }

    #[test]
    fn text_that_another_reader_would_take_for_something_else_is_quoted() {
        for text in [
            "0440",
            "yes",
            "No",
            "on",
            "y",
            "1e3",
            "null",
            "~",
            "",
            "2026-01-01",
            "true",
            "0x1f",
            "1_000",
            ".5",
            "1:30",
            "- a",
            "a: b",
            "# c",
            "*x",
            "&x",
            "!x",
            "%x",
            "<<",
            " x",
        ] {
            assert_eq!(rendered_with("a: b", "/a", json!(text)), format!("a: {text:?}\n"));
            assert_eq!(rendered_with("a: b", "", json!({text: 1})), format!("{text:?}: 1\n"));
        }
    }

    #[test]
    fn values_are_read_as_kubectl_reads_them() {
        let stream = Stream::parse("a: 0440\nb: yes\nc: 1e3\nd: 2026-01-01\ne: ~\nf: '0440'\ng: &x {h: 1}\ni: {<<: *x, j: 2}\n1: k\n").unwrap();
        let expected =
            json!({"a": 288, "b": true, "c": 1000.0, "d": "2026-01-01", "e": null, "f": "0440", "g": {"h": 1}, "i": {"h": 1, "j": 2}, "1": "k"});
        assert_eq!(stream.documents()[0].value(), &expected);
    }

    #[test]
    fn an_error_names_the_line_of_the_whole_text_and_the_reason() {
        for (text, error) in [
            ("a: 1\n---\nb: {\n", "line 3: unclosed bracket '{'"),
            ("# c\n---\na: 1\na: 2\n", "line 4: duplicate mapping key: a not allowed here"),
            ("a: .nan\n", "line 1: value `.nan` is not a finite number"),
            ("a:\n\t- 1\n", "line 2: tabs disallowed within this context (block indentation)"),
            ("a: *b\n", "line 1: reference to unknown value"),
            ("{\"a\": 1,\n \"b\" 2}", "line 2: invalid trailing content after double-quoted scalar"),
        ] {
            assert_eq!(Stream::parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_lost_or_makes_it_panic(parts in proptest::collection::vec("(---|\\.\\.\\.|#|%|\\{|a|: |- |\u{feff}|\r\n|\n|\"| |1)", 0..40)) {
            let text = parts.concat();
            for (line, piece) in split(&text) {
                let offset = piece.as_ptr() as usize - text.as_ptr() as usize;
                proptest::prop_assert_eq!(text[..offset].matches('\n').count() + 1, line);
            }
            if let Ok(stream) = Stream::parse(&text) {
                proptest::prop_assert_eq!(stream.render().unwrap(), text);
            }
        }

        #[test]
        fn any_text_survives_being_written(key in ".*", text in "(\\PC|[\n\r\t :#'\"|>-]){0,60}", crlf in proptest::bool::ANY) {
            let value = json!({"x": [{"y": text, key.as_str(): text}], key.as_str(): null, "z": text});
            let source = if crlf { "# c\r\n---\r\na: b\r\n...\r\n" } else { "# c\n---\na: b\n...\n" };
            let written = rendered_with(source, "", value.clone());
            let back = Stream::parse(&written).unwrap();
            proptest::prop_assert_eq!(back.documents()[0].value(), &value, "{}", written);
        }
    }
}
