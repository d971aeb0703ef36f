//! A stream of manifests: every document kept to the byte, the pods in each, and only what was changed written again.
//!
//! Values are read as `kubectl` reads them, by YAML 1.1 (`0440` is 288, `yes` is true), and written so that readers of both versions agree.

use std::borrow::Cow;

use serde_json::Value;

use keyvault_common::yaml::{Kind, Node};

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

    /// 1-based line where the document, with what comes before it, begins.
    #[must_use]
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Where a value is, as the 1-based line of its key, and how a scalar is spelled there. `None` where anchors or tags make that unclear.
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

    /// What comes before and after the content and outlives a change of it.
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
mod tests;
