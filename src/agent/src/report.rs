//! What each class of problem means to the world outside: a line for people, a number for programs.

use keyvault_client::Class;
use keyvault_common::plan::Identity;
use keyvault_delivery::fetch::Problem;

/// The command line or the plan cannot be used (`EX_USAGE`).
pub(super) const UNUSABLE: u8 = 64;

/// SIGTERM came before the files were written; what a shell says of a program that SIGTERM ends.
pub(super) const TOLD_TO_END: u8 = 143;

/// The exit code of a class; as in `sysexits.h` where that has a name for it.
pub(super) fn exit_code(class: Class) -> u8 {
    match class {
        Class::Format => 65,
        Class::NotFound => 66,
        Class::Disabled => 67,
        Class::Dns => 68,
        Class::Unavailable => 69,
        Class::Connect => 71,
        Class::Tls => 72,
        Class::Volume => 73,
        Class::Timeout => 74,
        Class::Throttled => 75,
        Class::Firewall => 76,
        Class::Rbac => 77,
        Class::Auth => 78,
    }
}

/// A class in half a sentence.
pub(super) fn meaning(class: Class) -> &'static str {
    match class {
        Class::Dns => "a name could not be resolved",
        Class::Connect => "no connection, or a broken one",
        Class::Tls => "a certificate is not trusted, or the TLS handshake failed",
        Class::Timeout => "no answer in time",
        Class::Auth => "no token, or one that the vault refuses",
        Class::Rbac => "the identity has no permission for the object",
        Class::Firewall => "the vault's network rules refuse the pod",
        Class::NotFound => "no such object or version",
        Class::Disabled => "the object is disabled",
        Class::Throttled => "the server refuses because of too many requests",
        Class::Unavailable => "the server cannot answer now",
        Class::Format => "an answer or a value is not what it should be",
        Class::Volume => "a file could not be written",
    }
}

/// What a person does about it.
fn next_step(class: Class, identity: &Identity) -> &'static str {
    match class {
        Class::Dns => "check the name, the cluster's DNS and, for a private endpoint, its DNS zone",
        Class::Connect => "check network policies, firewalls and proxies between pod and address",
        Class::Tls => "trust the CA in the injector's configuration, or remove what intercepts the connection",
        Class::Timeout => "check that the pod can reach the address, or raise the deadline",
        Class::Auth => sign_in_step(identity),
        Class::Rbac => {
            "give the identity the role Key Vault Secrets User (for certificates Key Vault Certificate User, for keys Key Vault Reader), or the permission get in the access policy"
        }
        Class::Firewall => "let the cluster's subnet or a private endpoint through the vault's network rules",
        Class::NotFound => "create it, correct name or version, or mark the reference optional",
        Class::Disabled => "enable it in the vault, or name another version",
        Class::Throttled => "start fewer pods at once, spread objects over vaults, or raise the deadline",
        Class::Unavailable => "try again, and if it lasts look at the state of Azure in the vault's region",
        Class::Format => {
            "compare the value with encoding, property and format in the annotation; if it is the answer, check what answers at that address"
        }
        Class::Volume => "check size and permissions of the volume and the size of the values",
    }
}

fn sign_in_step(identity: &Identity) -> &'static str {
    match identity {
        Identity::WorkloadIdentity { .. } => {
            "check client id and tenant id; the federated credential's issuer, subject and audience must match to the letter"
        }
        Identity::ServicePrincipal { .. } => "check client id, tenant id and the client secret or certificate in the service principal's Secret",
        Identity::ManagedIdentity { .. } => "check which identity is named, and that it is assigned to the node",
        Identity::PodIdentity { .. } => "check the AzureIdentityBinding for the pod's label, and that its identity is assigned to the node",
    }
}

/// One line per object, each reported once.
pub(super) fn lines(problems: &[Problem], identity: &Identity) -> Vec<String> {
    let mut lines = Vec::new();
    for Problem { object, failure } in problems {
        let step = failure.next_step.unwrap_or_else(|| next_step(failure.class, identity));
        // What the server says often ends in its own full stop.
        let line = format!("{} {object}: {}; {step}", failure.class, failure.to_string().trim_end_matches('.'));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_distinct_and_never_those_of_usage_or_panic() {
        let codes: std::collections::BTreeSet<u8> = Class::ALL.into_iter().map(exit_code).collect();
        assert_eq!(codes.len(), Class::ALL.len());
        assert!([UNUSABLE, TOLD_TO_END, 101].iter().all(|code| !codes.contains(code)));
    }

    fn identities() -> impl Iterator<Item = Identity> {
        let workload = r#"{"workloadIdentity":{"clientId":"0f1e2d3c-1111-4222-8333-444455556666","tenantId":"0f1e2d3c-1111-4222-8333-444455556666","tokenFile":"/t"}}"#;
        let others = [r#"{"servicePrincipal":{"directory":"/s"}}"#, r#"{"managedIdentity":{}}"#, r#"{"podIdentity":{}}"#];
        [workload].into_iter().chain(others).map(|text| serde_json::from_str(text).unwrap())
    }

    fn read(page: &str) -> String {
        std::fs::read_to_string(format!("{}/../../docs/errors/{page}.md", env!("CARGO_MANIFEST_DIR")))
            .unwrap_or_else(|error| panic!("{page}: {error}"))
    }

    #[test]
    fn every_class_has_its_page_and_there_is_no_other() {
        let overview = read("README");
        let mut wanted = std::collections::BTreeSet::from(["README.md".to_owned(), "plan.md".to_owned()]);
        for class in Class::ALL {
            let (page, code) = (read(&class.to_string()), exit_code(class));
            assert!(page.starts_with(&format!("# {class} (exit code {code})\n\n")), "{class}");
            assert!(page.contains(&format!("\n    {class} ")), "{class}: no line as it is printed");
            for identity in identities() {
                let step = next_step(class, &identity);
                let told = [format!("\nNext step: {step}.\n"), format!(": {step}.\n")];
                assert!(told.iter().any(|told| page.contains(told)), "{class}: {step}");
            }
            assert!(page.contains("\n## Causes, likeliest first\n\n1. **"), "{class}");
            assert!(overview.contains(&format!("\n| [`{class}`]({class}.md) | {code} | ")), "{class}");
            wanted.insert(format!("{class}.md"));
        }
        assert!(read("plan").starts_with(&format!("# plan (exit code {UNUSABLE})\n\n")));
        assert!(overview.contains(&format!("\n| [`plan`](plan.md) | {UNUSABLE} | ")));
        let pages = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors")).unwrap();
        let found = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(wanted, found);
    }
}
