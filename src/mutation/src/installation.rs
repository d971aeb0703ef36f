//! Names of the Kubernetes objects that an installation consists of: the manifests write them, the running webhook looks for them.

/// The namespace of an installation, unless the operator chooses another.
pub const NAMESPACE: &str = "keyvault-injector";

/// What the ServiceAccount, Deployment, Service, ConfigMap, Lease, ClusterRole and all others of which there is one are called.
pub const NAME: &str = "keyvault-injector";

/// The MutatingWebhookConfiguration. It sorts behind others: a webhook that adds our annotation is seen only if it is called before ours.
pub const REGISTRATION: &str = "zz-keyvault-injector";

/// The one webhook in the registration.
pub const WEBHOOK: &str = "inject.keyvault-injector.io";

/// The Secret with the CA and the serving certificate that replicas make and renew together.
pub const TLS_SECRET: &str = "keyvault-injector-tls";

/// The ValidatingAdmissionPolicy that lets our ServiceAccount change nothing of the registration but `caBundle`.
pub const GUARD: &str = "keyvault-injector-guard";

/// The ValidatingAdmissionPolicy that warns people who annotate where nothing is injected.
pub const WARNING: &str = "keyvault-injector-warning";

/// The label of all objects of an installation.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", NAME);

/// The annotation of a Namespace that the manifests create. Only a Namespace with it is ever deleted: labels such as [`PART_OF`] are set by others, too.
pub const CREATED_BY: (&str, &str) = ("installation.keyvault-injector.io/created-by", NAME);

/// The label that opts a namespace in, with its value.
pub const OPT_IN: (&str, &str) = ("keyvault-injector.io/injection", "enabled");

/// Where the API server posts reviews.
pub const REVIEW_PATH: &str = "/mutate";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::PREFIX;

    #[test]
    fn the_label_has_the_prefix_of_the_annotations() {
        assert!(OPT_IN.0.starts_with(PREFIX));
        assert!(!CREATED_BY.0.starts_with(PREFIX), "no default of the Namespace");
    }
}
