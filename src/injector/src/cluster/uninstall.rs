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

use keyvault_mutation::installation::{CREATED_BY, GUARD, NAME, OPT_IN, PART_OF, TLS_SECRET, WARNING};

mod contents;

/// How long replicas are left alone once the registration is gone: other API servers learn of it by their own watch, mostly within a second, and
/// give a call 5 seconds. The replicas answer all of this time, and for their drain after it.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a deleted registration may still be read: only a finalizer of someone else's makes that last.
const GONE: Duration = Duration::from_secs(30);

/// How long the namespace may take to end. Replicas that have not seen that the registration is gone drain for two minutes.
const ENDED: Duration = Duration::from_secs(150);

/// What uninstalling has to say, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An object, as `KIND/NAME`, was deleted.
    Deleted(String),
    /// There was no such object.
    Absent(String),
    /// Nothing calls the webhook any more, as far as this API server knows; the others get this time.
    Settling(Duration),
    /// An object stays.
    Kept(Kept),
    /// The namespace, as `KIND/NAME`, was deleted and has not ended yet.
    Ending(String, Duration),
    /// These namespaces are still opted in; nothing was changed in them.
    OptedIn(Vec<String>),
}

/// An object, as `KIND/NAME`, that stays, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// It bears one of our names and not our label.
    #[error("{0} stays: it does not carry the label {label}={value} of an installation", label = PART_OF.0, value = PART_OF.1)]
    Foreign(String),
    /// A Namespace that the manifests did not create.
    #[error("{0} stays: it does not carry the annotation {key}, so the manifests did not create it", key = CREATED_BY.0)]
    NotCreated(String),
    /// A Namespace with objects of others.
    #[error("{0} stays: it also holds {others}", others = contents::some_of(.1))]
    Inhabited(String, Vec<String>),
    /// A Namespace whose objects cannot be listed.
    #[error("{0} stays: what it holds cannot be listed: {1}")]
    Unlisted(String, String),
}

/// Why an installation, or a part of it, is still there.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The API server refused.
    #[error("{object}: {reason}; to uninstall takes the rights of a cluster administrator. What is listed as deleted is gone; run it again")]
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

/// An installation as the cluster has it.
pub struct Installed {
    client: Client,
    namespace: String,
    registration: Part,
    rest: Vec<Part>,
    /// What uninstalling would delete, as `KIND/NAME`, in this order.
    pub removed: Vec<String>,
    /// What it would leave.
    pub kept: Vec<Kept>,
}

impl Installed {
    /// Looks what is there. Nothing is changed.
    ///
    /// # Errors
    /// The first object that cannot be read, with the reason.
    pub async fn find(client: Client, namespace: &str, registration: &str) -> Result<Installed, UninstallError> {
        let registration = Part::of::<MutatingWebhookConfiguration>(&client, None, registration);
        let rest = rest(&client, namespace);
        let mut found = Installed { client, namespace: namespace.to_owned(), registration, rest, removed: Vec::new(), kept: Vec::new() };
        let mut presences = Vec::new();
        for part in std::iter::once(&mut found.registration).chain(&mut found.rest) {
            part.look().await?;
            presences.push((part.object.clone(), part.presence));
        }
        for (object, presence) in presences {
            found.note(object, presence);
        }
        match found.look_at_namespace().await? {
            Fate::Absent => {}
            Fate::Deleted => found.removed.push(found.namespace().object),
            Fate::Kept(kept) => found.kept.push(kept),
        }
        Ok(found)
    }

    fn note(&mut self, object: String, presence: Presence) {
        match presence {
            Presence::Ours => self.removed.push(object),
            Presence::Foreign => self.kept.push(Kept::Foreign(object)),
            Presence::Absent => {}
        }
    }

    /// Removes the registration, waits until no API server calls any more, then removes the rest, and waits for the end of the namespace: nothing can be
    /// created in one that ends. An object that does not exist is skipped.
    ///
    /// # Errors
    /// The first object that stays against our will, with the reason.
    pub async fn uninstall(self, mut report: impl FnMut(Step)) -> Result<(), UninstallError> {
        report(self.registration.delete().await?);
        self.registration.gone().await?;
        report(Step::Settling(SETTLE));
        sleep(SETTLE).await;
        for part in &self.rest {
            report(part.delete().await?);
        }
        match self.look_at_namespace().await? {
            Fate::Absent => report(Step::Absent(self.namespace().object)),
            Fate::Deleted => {
                let namespace = Part { presence: Presence::Ours, ..self.namespace() };
                report(namespace.delete().await?);
                if !namespace.is_gone_within(ENDED).await? {
                    report(Step::Ending(namespace.object, ENDED));
                }
            }
            Fate::Kept(kept) => report(Step::Kept(kept)),
        }
        report(Step::OptedIn(opted_in(&self.client).await?));
        Ok(())
    }

    fn namespace(&self) -> Part {
        Part::of::<Namespace>(&self.client, None, &self.namespace)
    }

    /// What becomes of the namespace, as it is now.
    async fn look_at_namespace(&self) -> Result<Fate, UninstallError> {
        let part = self.namespace();
        let Some(found) = part.get().await? else { return Ok(Fate::Absent) };
        let (key, value) = CREATED_BY;
        if found.annotations().get(key).is_none_or(|text| text != value) {
            return Ok(Fate::Kept(Kept::NotCreated(part.object)));
        }
        let ours = self.rest.iter().filter(|part| part.presence != Presence::Foreign).map(|part| part.object.as_str()).collect();
        Ok(match contents::of_others(&self.client, &self.namespace, &ours).await {
            Ok(others) if others.is_empty() => Fate::Deleted,
            Ok(others) => Fate::Kept(Kept::Inhabited(part.object, others)),
            Err(error) => Fate::Kept(Kept::Unlisted(part.object, error.to_string())),
        })
    }
}

/// What becomes of a namespace.
enum Fate {
    Absent,
    Deleted,
    Kept(Kept),
}

/// Everything but the registration and the namespace. Rights go before what replicas could make again with them while they drain.
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
        Part::of::<Secret>(client, inside, TLS_SECRET).made_by_replicas(),
        Part::of::<Lease>(client, inside, NAME).made_by_replicas(),
    ]
}

/// Whether an object is there, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Ours,
    Foreign,
    Absent,
}

/// One object of an installation.
struct Part {
    api: Api<DynamicObject>,
    name: String,
    /// As `KIND/NAME`.
    object: String,
    /// Whether a running replica makes it, under another name and without labels, at any time.
    of_replicas: bool,
    presence: Presence,
}

impl Part {
    fn of<K: Resource<DynamicType = ()>>(client: &Client, namespace: Option<&str>, name: &str) -> Part {
        let resource = ApiResource::erase::<K>(&());
        let object = format!("{}/{name}", resource.kind.to_lowercase());
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        Part { api, name: name.to_owned(), object, of_replicas: false, presence: Presence::Absent }
    }

    fn made_by_replicas(self) -> Part {
        Part { of_replicas: true, ..self }
    }

    async fn get(&self) -> Result<Option<PartialObjectMeta<DynamicObject>>, UninstallError> {
        self.api.get_metadata_opt(&self.name).await.map_err(|error| refused(&self.object, error))
    }

    async fn look(&mut self) -> Result<(), UninstallError> {
        let (label, value) = PART_OF;
        self.presence = match self.get().await? {
            None => Presence::Absent,
            Some(found) if self.of_replicas || found.labels().get(label).is_some_and(|text| text == value) => Presence::Ours,
            Some(_) => Presence::Foreign,
        };
        Ok(())
    }

    async fn delete(&self) -> Result<Step, UninstallError> {
        match self.presence {
            Presence::Foreign => return Ok(Step::Kept(Kept::Foreign(self.object.clone()))),
            Presence::Absent if !self.of_replicas => return Ok(Step::Absent(self.object.clone())),
            Presence::Ours | Presence::Absent => {}
        }
        match self.api.delete(&self.name, &DeleteParams::background()).await {
            Ok(_) => Ok(Step::Deleted(self.object.clone())),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Step::Absent(self.object.clone())),
            Err(error) => Err(refused(&self.object, error)),
        }
    }

    async fn gone(&self) -> Result<(), UninstallError> {
        if self.presence == Presence::Foreign || self.is_gone_within(GONE).await? {
            return Ok(());
        }
        Err(UninstallError::Held { object: self.object.clone() })
    }

    async fn is_gone_within(&self, limit: Duration) -> Result<bool, UninstallError> {
        let started = Instant::now();
        while self.get().await?.is_some() {
            if started.elapsed() > limit {
                return Ok(false);
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(true)
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

async fn opted_in(client: &Client) -> Result<Vec<String>, UninstallError> {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let (label, value) = OPT_IN;
    let found = namespaces.list_metadata(&ListParams::default().labels(&format!("{label}={value}"))).await;
    Ok(found.map_err(|error| refused("namespaces", error))?.items.iter().map(ResourceExt::name_any).collect())
}
