//! `keyvault-injector manifests`: what an installation consists of. What follows from the code is written from it; the rest lies in `manifests/base`.

mod access;
mod policies;
mod registration;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::installation::{NAME, NAMESPACE, PART_OF};

/// The image that the files in `manifests/base` name: there is no registry that serves everybody.
const IMAGE: &str = concat!("registry.example/keyvault-injector:", env!("CARGO_PKG_VERSION"));

/// Arguments of `manifests`.
#[derive(Args, Debug)]
pub(super) struct ManifestsArgs {
    /// The image of the webhook and of the agent
    #[arg(long, value_name = "IMAGE", default_value = IMAGE, value_parser = image)]
    image: String,
    /// Where the webhook lives
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = super::namespace)]
    namespace: String,
    /// Write a kustomization into this folder, instead of one stream to standard output
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Exit code 0; 1 for a folder that cannot be written.
pub(super) fn run(args: &ManifestsArgs) -> ExitCode {
    let files = files(args);
    let Some(directory) = &args.directory else {
        // A closed pipe is the reader's business.
        let _ = io::stdout().write_all(stream(&files).as_bytes());
        return ExitCode::SUCCESS;
    };
    match write(directory, &files) {
        Ok(()) => ExitCode::SUCCESS,
        Err((file, error)) => {
            let _ = writeln!(io::stderr(), "error: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

/// What a YAML scalar of its own may be, without quotes.
fn image(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"./:@_-".contains(&byte);
    if text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(legal) && !text.ends_with(':') {
        Ok(text.to_owned())
    } else {
        Err("not an image: write REGISTRY/NAME:TAG or REGISTRY/NAME@DIGEST".to_owned())
    }
}

/// The files in the order in which they are applied: the registration last, when there is something to call.
fn files(args: &ManifestsArgs) -> Vec<(&'static str, String)> {
    let namespace = &args.namespace;
    let given = |text: &str| text.replace(IMAGE, &args.image).replace(&namespaced(NAMESPACE), &namespaced(namespace));
    vec![
        ("namespace.yaml", namespace_object(namespace)),
        ("rbac.yaml", access::rbac(namespace)),
        ("config.yaml", given(include_str!("../../../manifests/base/config.yaml"))),
        ("deployment.yaml", given(include_str!("../../../manifests/base/deployment.yaml"))),
        ("service.yaml", given(include_str!("../../../manifests/base/service.yaml"))),
        ("poddisruptionbudget.yaml", given(include_str!("../../../manifests/base/poddisruptionbudget.yaml"))),
        ("networkpolicy.yaml", given(include_str!("../../../manifests/base/networkpolicy.yaml"))),
        ("guard-policy.yaml", policies::guard(namespace)),
        ("warning-policy.yaml", policies::warning(namespace)),
        ("registration.yaml", registration::registration(namespace)),
    ]
}

fn namespaced(namespace: &str) -> String {
    format!("\n  namespace: {namespace}\n")
}

/// The labels of every object, as lines below `metadata`.
fn labels() -> String {
    let (part_of, whole) = PART_OF;
    format!("  labels:\n    app.kubernetes.io/name: {NAME}\n    {part_of}: {whole}")
}

fn namespace_object(namespace: &str) -> String {
    let labels = labels();
    format!(
        "# Never opted in itself: the webhook must start without being asked.
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
{labels}
    pod-security.kubernetes.io/enforce: restricted
"
    )
}

fn stream(files: &[(&str, String)]) -> String {
    files.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n")
}

fn kustomization(files: &[(&str, String)]) -> String {
    let resources: String = files.iter().map(|(name, _)| format!("  - {name}\n")).collect();
    format!("# kubectl apply -k\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}")
}

fn write(directory: &Path, files: &[(&str, String)]) -> Result<(), (PathBuf, io::Error)> {
    std::fs::create_dir_all(directory).map_err(|error| (directory.to_owned(), error))?;
    for (name, text) in files.iter().map(|(name, text)| (*name, text.clone())).chain([("kustomization.yaml", kustomization(files))]) {
        let file = directory.join(name);
        let write = std::fs::File::create(&file).and_then(|mut open| open.write_all(text.as_bytes()));
        write.map_err(|error| (file, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
