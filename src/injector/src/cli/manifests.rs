//! `keyvault-injector manifests`: what an installation consists of. What follows from the code is written from it; the rest lies in `manifests/base`.

mod access;
mod directory;
mod policies;
mod registration;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use keyvault_common::names::Guid;
use keyvault_mutation::installation::{CREATED_BY, NAME, NAMESPACE, PART_OF};

/// The operator's file, the only one that people edit.
const CONFIG: &str = "config.yaml";

/// Where it says how to set a tenant for every app.
const NO_TENANT: &str = "
    # defaults:
    #   tenantId: aaaabbbb-1111-4222-8333-444455556666   # spares every app from naming it
";

/// The image that the files in `manifests/base` name: there is no registry that serves everybody.
const IMAGE: &str = concat!("registry.example/keyvault-injector:", env!("CARGO_PKG_VERSION"));

/// Arguments of `manifests`.
#[derive(Args, Debug)]
pub(super) struct ManifestsArgs {
    /// The image of the webhook and of the agent
    #[arg(long, value_name = "IMAGE", default_value = IMAGE, value_parser = image)]
    image: String,
    /// The Entra tenant of the apps' identities: with it, ServiceAccounts need no azure.workload.identity/tenant-id
    #[arg(long, value_name = "GUID")]
    tenant_id: Option<Guid>,
    /// The webhook's namespace
    #[arg(long, value_name = "NAME", default_value = NAMESPACE, value_parser = own_namespace)]
    namespace: String,
    /// Leave out the Namespace: it exists, and `uninstall` is to keep it
    #[arg(long)]
    no_namespace: bool,
    /// Write a kustomization into this folder, instead of one stream to standard output; an edited config.yaml stays
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Overwrite an edited config.yaml, too
    #[arg(long, requires = "directory")]
    force: bool,
}

/// Exit code 0; 1 for a folder that cannot be written.
pub(super) fn run(args: &ManifestsArgs) -> ExitCode {
    let files = files(args);
    let Some(directory) = &args.directory else {
        // A closed pipe is the reader's business.
        let _ = io::stdout().write_all(stream(&files).as_bytes());
        return ExitCode::SUCCESS;
    };
    // A line for each file as it is done: what a failure leaves is known.
    let report = |file: &Path, done: directory::Done| drop(writeln!(io::stdout(), "{}: {done}", file.display()));
    match directory::write(directory, &files, args.force, report) {
        Ok(()) => ExitCode::SUCCESS,
        Err((file, error)) => {
            let _ = writeln!(io::stderr(), "error: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

/// Namespaces that are there already, and hold what an installation must not touch.
fn own_namespace(text: &str) -> Result<String, String> {
    let name = super::namespace(text)?;
    if name == "default" || name.starts_with("kube-") {
        return Err(format!("the installation sets Pod Security restricted on its namespace: give it a dedicated one, such as {NAMESPACE}"));
    }
    Ok(name)
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
    let tenant = args.tenant_id.as_ref().map_or_else(|| NO_TENANT.to_owned(), |tenant| format!("\n    defaults:\n      tenantId: {tenant}\n"));
    let mut files = vec![
        ("namespace.yaml", namespace_object(namespace)),
        ("rbac.yaml", access::rbac(namespace)),
        (CONFIG, given(include_str!("../../../../manifests/base/config.yaml")).replace(NO_TENANT, &tenant)),
        ("deployment.yaml", given(include_str!("../../../../manifests/base/deployment.yaml"))),
        ("service.yaml", given(include_str!("../../../../manifests/base/service.yaml"))),
        ("poddisruptionbudget.yaml", given(include_str!("../../../../manifests/base/poddisruptionbudget.yaml"))),
        ("networkpolicy.yaml", given(include_str!("../../../../manifests/base/networkpolicy.yaml"))),
        ("guard-policy.yaml", policies::guard(namespace)),
        ("warning-policy.yaml", policies::warning(namespace)),
        ("registration.yaml", registration::registration(namespace)),
    ];
    if args.no_namespace {
        files.remove(0);
    }
    files
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
    let (labels, (created, by)) = (labels(), CREATED_BY);
    format!(
        "# Never opted in itself: the webhook must start without being asked.
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
{labels}
    pod-security.kubernetes.io/enforce: restricted
  annotations:
    {created}: {by}   # `uninstall` deletes no Namespace without it
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

#[cfg(test)]
mod tests;
