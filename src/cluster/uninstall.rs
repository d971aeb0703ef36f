//! Taking an installation out of a cluster in the order that blocks nobody: what calls us goes first, what answers goes later.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::time::{Instant, sleep};

use crate::installation::{GUARD, NAME, OPT_IN, PART_OF, TLS_SECRET, WARNING};

/// How long replicas are left alone once the registration is gone: other API servers learn of it by their own watch, mostly within a second, and
/// give a call 5 seconds. The replicas answer all of this time, and for their drain after it.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a deleted registration may still be read: only a finalizer of someone else's makes that last.
const GONE: Duration = Duration::from_secs(30);

/// What uninstalling has to say, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An object, as `KIND/NAME`, was deleted.
    Deleted(String),
    /// There was no such object.
    Absent(String),
    /// Nothing calls the webhook any more, as far as this API server knows; the others get this time.
    Settling(Duration),
    /// The namespace does not carry the label of an installation: what else is in it is not ours.
    Kept(String),
    /// These namespaces are still opted in; nothing was changed in them.
    OptedIn(Vec<String>),
}

/// Why an installation, or a part of it, is still there.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The API server refused.
    #[error("{object}: {reason}; whoever uninstalls needs the rights of a cluster administrator. What is listed as deleted is gone; run it again")]
    Forbidden {
        /// As `KIND/NAME`.
        object: String,
        /// The API server's words.
        reason: String,
    },
    /// The API server did not answer as it should.
    #[error("{object}: {error}. What is listed as deleted is gone; run it again")]
    Failed {
        /// As `KIND/NAME`.
        object: String,
        /// What went wrong.
        error: kube::Error,
    },
    /// The registration was deleted and did not go.
    #[error("{object} is still there after {GONE:?}: a finalizer holds it. Nothing else was touched, and the webhook still answers")]
    Held {
        /// As `KIND/NAME`.
        object: String,
    },
}

/// Removes the registration, waits until no API server calls any more, then removes the rest. What is not there is no error.
///
/// # Errors
/// The first object that stays, with the reason.
pub async fn uninstall(client: Client, namespace: &str, registration: &str, mut report: impl FnMut(Step)) -> Result<(), UninstallError> {
    let first = Part::of::<MutatingWebhookConfiguration>(&client, None, registration);
    report(first.delete().await?);
    first.gone().await?;
    report(Step::Settling(SETTLE));
    sleep(SETTLE).await;
    for part in rest(&client, namespace) {
        report(part.delete().await?);
    }
    report(delete_namespace(&client, namespace).await?);
    report(Step::OptedIn(opted_in(&client).await?));
    Ok(())
}

/// Everything but the registration and the namespace. Rights go before what replicas could make anew with them while they drain.
fn rest(client: &Client, namespace: &str) -> Vec<Part> {
    let inside = Some(namespace);
    vec![
        Part::of::<ValidatingAdmissionPolicyBinding>(client, None, GUARD),
        Part::of::<ValidatingAdmissionPolicyBinding>(client, None, WARNING),
        Part::of::<ValidatingAdmissionPolicy>(client, None, GUARD),
        Part::of::<ValidatingAdmissionPolicy>(client, None, WARNING),
        Part::of::<Deployment>(client, inside, NAME),
        Part::of::<PodDisruptionBudget>(client, inside, NAME),
        Part::of::<Service>(client, inside, NAME),
        Part::of::<NetworkPolicy>(client, inside, NAME),
        Part::of::<ConfigMap>(client, inside, NAME),
        Part::of::<ClusterRoleBinding>(client, None, NAME),
        Part::of::<ClusterRole>(client, None, NAME),
        Part::of::<RoleBinding>(client, inside, NAME),
        Part::of::<RoleBinding>(client, inside, TLS_SECRET),
        Part::of::<Role>(client, inside, NAME),
        Part::of::<Role>(client, inside, TLS_SECRET),
        Part::of::<ServiceAccount>(client, inside, NAME),
        Part::of::<Secret>(client, inside, TLS_SECRET),
        Part::of::<Lease>(client, inside, NAME),
    ]
}

/// One object of an installation.
struct Part {
    api: Api<DynamicObject>,
    name: String,
    /// As `KIND/NAME`.
    object: String,
}

impl Part {
    fn of<K: Resource<DynamicType = ()>>(client: &Client, namespace: Option<&str>, name: &str) -> Part {
        let resource = ApiResource::erase::<K>(&());
        let object = format!("{}/{name}", resource.kind.to_lowercase());
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        Part { api, name: name.to_owned(), object }
    }

    async fn delete(&self) -> Result<Step, UninstallError> {
        match self.api.delete(&self.name, &DeleteParams::background()).await {
            Ok(_) => Ok(Step::Deleted(self.object.clone())),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Step::Absent(self.object.clone())),
            Err(error) => Err(refused(&self.object, error)),
        }
    }

    async fn gone(&self) -> Result<(), UninstallError> {
        let started = Instant::now();
        while self.api.get_opt(&self.name).await.map_err(|error| refused(&self.object, error))?.is_some() {
            if started.elapsed() > GONE {
                return Err(UninstallError::Held { object: self.object.clone() });
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

fn refused(object: &str, error: kube::Error) -> UninstallError {
    let object = object.to_owned();
    if let kube::Error::Api(status) = &error
        && status.code == 403
    {
        return UninstallError::Forbidden { object, reason: status.message.clone() };
    }
    UninstallError::Failed { object, error }
}

async fn delete_namespace(client: &Client, name: &str) -> Result<Step, UninstallError> {
    let part = Part::of::<Namespace>(client, None, name);
    let found = part.api.get_opt(name).await.map_err(|error| refused(&part.object, error))?;
    let (label, value) = PART_OF;
    match found {
        Some(namespace) if namespace.labels().get(label).is_none_or(|found| found != value) => Ok(Step::Kept(part.object)),
        Some(_) => part.delete().await,
        None => Ok(Step::Absent(part.object)),
    }
}

async fn opted_in(client: &Client) -> Result<Vec<String>, UninstallError> {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let (label, value) = OPT_IN;
    let found = namespaces.list_metadata(&ListParams::default().labels(&format!("{label}={value}"))).await;
    Ok(found.map_err(|error| refused("namespaces", error))?.items.iter().map(ResourceExt::name_any).collect())
}
