//! `server.tls`: the word `selfManaged`, a map with it, or two files.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::texts::{CertificateName, Lifetime};
use crate::config::{SelfManaged, TlsSource};
use keyvault_common::yaml::Node;
use keyvault_common::yaml_fields::{Fields, Problems};

/// A CA must outlive the renewal of a leaf, the next CA's way into every `caBundle`, and the last leaf it signed.
const LEAVES_PER_CA: u32 = 3;

/// Reads `tls` of the section `server`. After a problem the result means nothing.
pub(super) fn source(server: &mut Fields<'_>, problems: &mut Problems) -> TlsSource {
    let ours = TlsSource::SelfManaged(SelfManaged::default());
    let Some(node) = server.take("tls") else { return ours };
    let path = server.path("tls");
    match node.text() {
        Some("selfManaged") => return ours,
        Some(_) => {
            problems.add(node, &path, "write selfManaged, or a map of selfManaged, or of certFile and keyFile");
            return ours;
        }
        None => {}
    }
    let Some(mut fields) = Fields::of(node, &path, problems) else { return ours };
    let settings = fields.take("selfManaged");
    let files = (fields.parse::<PathBuf>("certFile", problems), fields.parse::<PathBuf>("keyFile", problems));
    let settings_path = fields.path("selfManaged");
    fields.finish(problems);
    match (settings, files) {
        (Some(settings), (None, None)) => TlsSource::SelfManaged(self_managed(settings, &settings_path, problems)),
        (None, (Some(cert_file), Some(key_file))) => TlsSource::Files { cert_file, key_file },
        (Some(_), _) => {
            problems.add(node, &path, "selfManaged and files exclude each other: keep one");
            ours
        }
        (None, _) => {
            problems.add(node, &path, "certFile and keyFile are both needed");
            ours
        }
    }
}

fn self_managed(node: &Node, path: &str, problems: &mut Problems) -> SelfManaged {
    let built_in = SelfManaged::default();
    let Some(mut fields) = Fields::of(node, path, problems) else { return built_in };
    let mut lifetime = |key, built_in| fields.parse::<Lifetime>(key, problems).map_or(built_in, |lifetime| lifetime.0);
    let (leaf_lifetime, ca_lifetime) = (lifetime("leafLifetime", built_in.leaf_lifetime), lifetime("caLifetime", built_in.ca_lifetime));
    let names = fields.parse_list::<CertificateName>("names", problems).unwrap_or_default().into_iter().map(|name| name.0).collect();
    fields.finish(problems);
    if ca_lifetime < leaf_lifetime * LEAVES_PER_CA {
        let seconds = |lifetime: Duration| lifetime.as_secs();
        problems.add(
            node,
            path,
            format!(
                "caLifetime is {} seconds, less than {LEAVES_PER_CA} times leafLifetime ({} seconds): raise it, or lower leafLifetime",
                seconds(ca_lifetime),
                seconds(leaf_lifetime)
            ),
        );
    }
    SelfManaged { leaf_lifetime, ca_lifetime, names }
}
