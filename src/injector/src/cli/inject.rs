//! `keyvault-injector inject`: what the webhook would do to a manifest, without a cluster.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::config::{LoadError, load, read};
use super::documents::{Document, Stream, StreamError, Target};
use super::limit_range;
use crate::webhook::{FixedDefaults, ManifestError};
use keyvault_mutation::config::Config;
use keyvault_mutation::inject::{Denial, Injection, inject};
use keyvault_mutation::nodes::{KubernetesVersion, NodeAnswers};
use keyvault_mutation::pod::PodView;

mod unreadable;

/// Exit code if there are warnings and `--fail-on-warnings`.
const WARNED: u8 = 4;
/// Exit code where a pod would be denied.
const DENIED: u8 = 3;
/// Exit code where the input cannot be used.
const UNUSABLE: u8 = 2;

/// Arguments of `inject`.
#[derive(Args, Debug)]
pub(super) struct InjectArgs {
    /// The manifests: YAML or JSON, one document or many; - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE|-")]
    file: PathBuf,
    /// The namespace of documents that name none
    #[arg(short, long, value_name = "NAME", default_value = "default", value_parser = namespace)]
    namespace: String,
    /// A file with Namespaces and ServiceAccounts, whose annotations are defaults; those among the manifests themselves count too
    #[arg(long, value_name = "FILE")]
    defaults_from: Vec<PathBuf>,
    /// The operator's YAML file [default: the built-in configuration]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The version of the nodes, which `features` of the configuration follow where they are auto [default: 1.36, with a note if that matters]
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<KubernetesVersion>,
    /// How the result is shown
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
    /// End with exit code 4, and without output, if there is a warning
    #[arg(long)]
    fail_on_warnings: bool,
}

/// `webhook --namespace` takes a file, so people give one here, too.
fn namespace(text: &str) -> Result<String, String> {
    super::namespace(text).map_err(|error| format!("{error}; a file with Namespaces and ServiceAccounts is given by --defaults-from"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The whole stream; untouched documents byte for byte
    Yaml,
    /// Every document as JSON
    Json,
    /// The JSON Patch of each pod or pod template
    Patch,
    /// A unified diff of each touched document
    Diff,
}

/// Why the input cannot be used.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error(transparent)]
    Config(#[from] LoadError),
    #[error("{file}: {error}")]
    Manifest { file: PathBuf, error: ManifestError },
    #[error("{file}: {error}")]
    Read { file: PathBuf, error: io::Error },
    #[error("{file}: {error}")]
    Stream { file: PathBuf, error: StreamError },
    #[error("--defaults-from takes a file with Namespaces and ServiceAccounts, and the file {0} does not exist; for the name of a namespace use -n")]
    NoDefaults(PathBuf),
    #[error("{}", .0.join("\nerror: "))]
    Pod(Vec<String>),
}

/// Exit code 0 for injected or untouched, 3 where a pod would be denied, 4 for warnings that are to fail, 2 for unusable input.
pub(super) fn run(args: &InjectArgs) -> ExitCode {
    let report = match process(args) {
        Ok(report) => report,
        Err(error) => {
            print(io::stderr(), &format!("error: {error}\n"));
            return ExitCode::from(UNUSABLE);
        }
    };
    print(io::stderr(), &report.messages);
    if report.denied {
        // Nothing on standard output: half a stream must not be applied.
        return ExitCode::from(DENIED);
    }
    if args.fail_on_warnings && report.warned {
        return ExitCode::from(WARNED);
    }
    print(io::stdout(), &report.text);
    ExitCode::SUCCESS
}

/// A closed pipe is the reader's business.
fn print(mut stream: impl Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

type Decision = Result<Injection, Denial>;

/// What is shown in the end.
struct Report {
    denied: bool,
    warned: bool,
    /// Whether it was said which version of Kubernetes is assumed.
    assumed: bool,
    /// Warnings and denials, for standard error.
    messages: String,
    text: String,
}

fn process(args: &InjectArgs) -> Result<Report, InputError> {
    let config = args.config.as_deref().map(load).transpose()?.unwrap_or_default();
    let text = input(&args.file)?;
    let mut stream = Stream::parse(&text).map_err(|error| InputError::Stream { file: args.file.clone(), error: explain(error, &text) })?;
    let defaults = defaults(&stream, args)?;
    let nodes = NodeAnswers::of_version(args.kubernetes_version.unwrap_or(KubernetesVersion::NEWEST));
    let before: Vec<Value> = stream.documents().iter().map(|document| document.value().clone()).collect();
    let mut report = Report { denied: false, warned: false, assumed: false, messages: String::new(), text: String::new() };
    let mut patches = Vec::new();
    for document in stream.documents_mut() {
        for target in document.targets() {
            let Some(pod) = document.value().pointer(&target.pointer).cloned() else { continue };
            let namespace = target.namespace.as_ref().unwrap_or(&args.namespace);
            let decide = |nodes: &NodeAnswers| decide(&pod, namespace, &defaults, nodes, &config);
            let decision = decide(&nodes).map_err(|reason| unreadable(&args.file, document, &target, &reason))?;
            if args.kubernetes_version.is_none() && !report.assumed && !is_same(&decision, &decide(&NodeAnswers::default())) {
                report.assume(KubernetesVersion::NEWEST);
            }
            report.note(&target, &decision);
            if let Ok(injection) = decision {
                let pod = patched(pod, &injection);
                report.warn(&target, &limit_range::breaches(objects(before.iter()), &args.namespace, namespace, &pod));
                document.replace(&target.pointer, pod);
                patches.push(json!({ "kind": target.kind, "name": target.name, "namespace": target.namespace, "pod": target.pointer, "patch": injection.patch }));
            }
        }
    }
    report.text = render(args.output, &stream, &before, &patches).map_err(|error| InputError::Stream { file: args.file.clone(), error })?;
    Ok(report)
}

fn input(file: &Path) -> Result<String, InputError> {
    let mut text = String::new();
    let result =
        if file == Path::new("-") { io::stdin().read_to_string(&mut text).map(drop) } else { std::fs::read_to_string(file).map(|read| text = read) };
    result.map(|()| text).map_err(|error| InputError::Read { file: file.to_owned(), error })
}

/// YAML reports what it makes of Helm's braces; their author needs to hear of Helm.
fn explain(error: StreamError, text: &str) -> StreamError {
    let mut lines = text.lines().skip(error.line.saturating_sub(2)).take(2);
    if lines.any(|line| line.contains("{{")) {
        let message = "{{ … }} is a template of Helm: render it first: helm template . | keyvault-injector inject -f -".to_owned();
        return StreamError { message, ..error };
    }
    error
}

fn unreadable(file: &Path, document: &Document, target: &Target, reason: &str) -> InputError {
    let subject = subject(target);
    let problems = unreadable::problems(document, &target.pointer, reason).into_iter();
    InputError::Pod(problems.map(|(line, problem)| format!("{}:{line}: {subject}: {problem}", file.display())).collect())
}

/// Namespaces and ServiceAccounts of the stream, then those of the files, which hold where both speak.
fn defaults(stream: &Stream, args: &InjectArgs) -> Result<FixedDefaults, InputError> {
    let mut defaults = FixedDefaults::in_namespace(&args.namespace);
    let source = |object: &Value| matches!(object["kind"].as_str(), Some("Namespace" | "ServiceAccount"));
    for object in objects(stream.documents().iter().map(Document::value)).filter(|object| source(object)) {
        // A broken one is not this command's to judge: kubectl will.
        let _ = defaults.add(&object.to_string());
    }
    for file in &args.defaults_from {
        if !file.exists() {
            return Err(InputError::NoDefaults(file.clone()));
        }
        let text = read(file)?;
        defaults.add(&text).map_err(|error| InputError::Manifest { file: file.clone(), error })?;
    }
    Ok(defaults)
}

/// The objects of documents, those in lists among them.
fn objects<'v>(documents: impl Iterator<Item = &'v Value>) -> impl Iterator<Item = &'v Value> {
    documents.flat_map(|value| std::iter::once(value).chain(value["items"].as_array().into_iter().flatten()))
}

/// Runs the core on a pod or template; `Err` says why it is none.
fn decide(pod: &Value, namespace: &str, defaults: &FixedDefaults, nodes: &NodeAnswers, config: &Config) -> Result<Decision, String> {
    let text = pod.to_string();
    let view: PodView<'_> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let found = defaults.get(namespace, view.service_account_name());
    Ok(inject(&view, &found.namespace, &found.account, nodes, config))
}

/// Whether a decision does not rest on what the nodes can do, given the one for nodes of which nothing is known.
fn is_same(decision: &Decision, without_nodes: &Result<Decision, String>) -> bool {
    match (decision, without_nodes) {
        (Ok(one), Ok(Ok(other))) => one.patch == other.patch,
        (Err(one), Ok(Err(other))) => one == other,
        _ => false,
    }
}

fn patched(mut pod: Value, injection: &Injection) -> Value {
    #[allow(clippy::expect_used)] // the core's patches apply: a property test holds that
    json_patch::patch(&mut pod, &injection.patch).expect("a patch of the core applies to the pod that it was made for");
    pod
}

fn subject(target: &Target) -> String {
    let namespace = target.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{} {namespace}{}", target.kind, called(target.name.as_deref(), target.generate_name.as_deref()))
}

/// What an object is called, if only by what its name will begin with.
fn called(name: Option<&str>, generate_name: Option<&str>) -> String {
    match (name, generate_name) {
        (Some(name), _) => name.to_owned(),
        (None, Some(begin)) => format!("{begin}… (generateName)"),
        (None, None) => "(without a name)".to_owned(),
    }
}

impl Report {
    fn assume(&mut self, version: KubernetesVersion) {
        if !std::mem::replace(&mut self.assumed, true) {
            let _ = writeln!(self.messages, "note: Kubernetes {version} is assumed on every node; name another version by --kubernetes-version");
        }
    }

    fn note(&mut self, target: &Target, decision: &Decision) {
        match decision {
            Ok(injection) => {
                self.warn(target, &injection.warnings);
                self.warn(target, &injection.namespace_problems);
            }
            Err(denial) => {
                self.denied = true;
                let _ = writeln!(self.messages, "denied: {}: {denial}", subject(target));
            }
        }
    }

    fn warn(&mut self, target: &Target, warnings: &[String]) {
        for warning in warnings {
            self.warned = true;
            let _ = writeln!(self.messages, "warning: {}: {warning}", subject(target));
        }
    }
}

// === output ===

fn render(output: Output, stream: &Stream, before: &[Value], patches: &[Value]) -> Result<String, StreamError> {
    match output {
        Output::Yaml => stream.render(),
        Output::Json => Ok(lines(stream.documents().iter().map(Document::value).filter(|value| !value.is_null()))),
        Output::Patch => Ok(lines(patches.iter())),
        Output::Diff => Ok(stream.documents().iter().zip(before).map(|(document, before)| diff(before, document.value(), "")).collect()),
    }
}

fn lines<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    values.map(|value| format!("{value:#}\n")).collect()
}

/// The same writer formats both sides, so that the diff shows only changes. Each object of a list gets its own diff.
fn diff(before: &Value, after: &Value, place: &str) -> String {
    if before == after {
        return String::new();
    }
    if let (Some("List"), Some(old), Some(new)) = (after["kind"].as_str(), before["items"].as_array(), after["items"].as_array()) {
        let items = old.iter().zip(new).enumerate();
        return items.map(|(index, (before, after))| diff(before, after, &format!("{place}List[{index}] "))).collect();
    }
    let yaml = |value: &Value| serde_saphyr::to_string(value).unwrap_or_else(|_| format!("{value:#}\n"));
    let metadata = &after["metadata"];
    let name = called(metadata["name"].as_str(), metadata["generateName"].as_str());
    let name = format!("{place}{} {name}", after["kind"].as_str().unwrap_or("object"));
    let (before, after) = (yaml(before), yaml(after));
    similar::TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).header(&name, &format!("{name}, injected")).to_string()
}
