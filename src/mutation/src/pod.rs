//! Every field of a pod that we read, borrowed from the request. Unknown fields are skipped, never written back: patches are explicit.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::annotations::PREFIX;
use crate::quantity::Quantity;

mod container;
mod env;
mod few;
mod lazy;
mod windows;

pub use container::{Container, ContainerSecurity, Exec, VolumeMount};
pub use env::{EnvVar, FileKey};
pub use few::MAX_CONTAINERS;
pub use lazy::Lazy;
pub use windows::{Affinity, NodeLabels, Os};

/// A text borrowed from the request wherever it holds no escape. (`Option<Cow>` would always copy.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

/// A list entry that is read, and kept as it stood for the case that it is ours.
#[derive(Debug)]
pub struct Raw<'a, T> {
    /// The bytes of the request.
    pub raw: &'a RawValue,
    /// What we read of it.
    pub view: T,
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Raw<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw<'a, T>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let view = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
        Ok(Raw { raw, view })
    }
}

/// A pod as it is in an admission request.
#[derive(Debug, serde::Deserialize)]
pub struct PodView<'a> {
    /// Names, annotations, owners.
    #[serde(borrow, default)]
    pub metadata: Metadata<'a>,
    /// Containers, volumes, security.
    #[serde(borrow)]
    pub spec: Spec<'a>,
}

/// `metadata`
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    /// Empty where the API server has yet to make one.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// What the name will begin with.
    #[serde(borrow)]
    pub generate_name: Option<Text<'a>>,
    /// May be absent; the request's namespace is the one that holds.
    #[serde(borrow)]
    pub namespace: Option<Text<'a>>,
    /// `None` where there is no map to add to.
    #[serde(borrow)]
    pub annotations: Option<PodAnnotations<'a>>,
    /// `None` where there is no map to add to.
    #[serde(borrow)]
    pub labels: Option<PodLabels<'a>>,
    /// Who made the pod.
    #[serde(borrow)]
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
}

/// The one label that concerns us.
#[derive(Debug, Default, serde::Deserialize)]
pub struct PodLabels<'a> {
    /// Which identity AAD pod identity gives the pod.
    #[serde(borrow, rename = "aadpodidbinding")]
    pub pod_identity_binding: Option<Text<'a>>,
}

/// The label of [`PodLabels::pod_identity_binding`].
pub const POD_IDENTITY_LABEL: &str = "aadpodidbinding";

/// Who made the pod.
#[derive(Debug, serde::Deserialize)]
pub struct OwnerReference<'a> {
    /// `ReplicaSet`, `Job` …
    #[serde(borrow)]
    pub kind: Text<'a>,
    /// Its name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Whether this owner manages the pod.
    pub controller: Option<bool>,
}

/// The annotations that concern us.
#[derive(Debug, Default)]
pub struct PodAnnotations<'a> {
    /// Key without our prefix, value; in the order of the request.
    pub ours: Vec<(Text<'a>, Text<'a>)>,
    /// Whether the kubelet made this pod from a file of its node.
    pub mirror: bool,
    /// Whether the pod asks for an AKS identity binding.
    pub identity_binding: bool,
}

/// The annotation of a pod that the kubelet made from a file of its node.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Azure Workload Identity's own annotation of a pod that signs in through AKS's token proxy.
pub const IDENTITY_BINDING: &str = "azure.workload.identity/use-identity-binding";

impl<'de: 'a, 'a> Deserialize<'de> for PodAnnotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PodAnnotations<'a>, D::Error> {
        struct AnnotationsVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for AnnotationsVisitor<'a> {
            type Value = PodAnnotations<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut annotations = PodAnnotations::default();
                while let Some(key) = map.next_key::<Text<'a>>()? {
                    if let Some(name) = strip_prefix(key.0.clone()) {
                        annotations.ours.push((Text(name), map.next_value()?));
                    } else if key.as_str() == IDENTITY_BINDING {
                        annotations.identity_binding = map.next_value::<Text<'a>>()?.as_str() == "true";
                    } else {
                        annotations.mirror |= key.as_str() == MIRROR;
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(annotations)
            }
        }
        deserializer.deserialize_map(AnnotationsVisitor(PhantomData))
    }
}

fn strip_prefix(key: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match key {
        Cow::Borrowed(key) => key.strip_prefix(PREFIX).map(Cow::Borrowed),
        Cow::Owned(key) => key.strip_prefix(PREFIX).map(|name| Cow::Owned(name.to_owned())),
    }
}

/// `spec`
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    /// Empty means `default`.
    #[serde(borrow)]
    pub service_account_name: Option<Text<'a>>,
    /// Which system the pod needs.
    #[serde(borrow)]
    pub os: Option<Os<'a>>,
    /// When the kubelet starts containers again; absent means Always.
    #[serde(borrow)]
    pub restart_policy: Option<Text<'a>>,
    /// Labels that its node must have.
    #[serde(borrow)]
    pub node_selector: Option<NodeLabels<'a>>,
    /// Labels that its node must have, in the longer form.
    #[serde(borrow)]
    pub affinity: Option<Affinity<'a>>,
    /// What holds for all containers.
    pub security_context: Option<PodSecurity>,
    /// Pod-level amounts.
    pub resources: Option<ResourceView>,
    /// `None` where there is no list to add to.
    #[serde(borrow)]
    pub volumes: Option<Vec<Raw<'a, Named<'a>>>>,
    /// `None` where there is no list to add to.
    #[serde(borrow, default, deserialize_with = "few::few")]
    pub init_containers: Option<Vec<Raw<'a, Container<'a>>>>,
    /// At least one, which the API server asks for only later.
    #[serde(borrow, default, deserialize_with = "few::few_or_none")]
    pub containers: Vec<Container<'a>>,
}

/// Reads null as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Anything with a name.
#[derive(Debug, serde::Deserialize)]
pub struct Named<'a> {
    /// The name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
}

/// `spec.securityContext`
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// The UID of containers that set none.
    pub run_as_user: Option<i64>,
    /// The group that volumes belong to.
    pub fs_group: Option<i64>,
}

/// `resources`
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct ResourceView {
    /// What is reserved.
    pub requests: Option<AmountsView>,
    /// What is the most.
    pub limits: Option<AmountsView>,
}

/// One side of [`ResourceView`].
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct AmountsView {
    /// In cores.
    pub cpu: Option<AnyQuantity>,
    /// In bytes.
    pub memory: Option<AnyQuantity>,
    /// In bytes.
    #[serde(rename = "ephemeral-storage")]
    pub ephemeral_storage: Option<AnyQuantity>,
}

/// A quantity as manifests have it: text, or a bare number.
#[derive(Clone, Debug)]
pub struct AnyQuantity(pub Quantity);

impl<'de> Deserialize<'de> for AnyQuantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyQuantity, D::Error> {
        struct QuantityVisitor;
        impl Visitor<'_> for QuantityVisitor {
            type Value = AnyQuantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a resource quantity")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AnyQuantity, E> {
                text.parse().map(AnyQuantity).map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<AnyQuantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<AnyQuantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<AnyQuantity, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(QuantityVisitor)
    }
}

impl PodView<'_> {
    /// Our annotations as they are: key without prefix, value.
    pub fn our_annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.annotations.iter().flat_map(|annotations| &annotations.ours).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The ServiceAccount that the pod runs as.
    #[must_use]
    pub fn service_account_name(&self) -> &str {
        self.spec.service_account_name.as_ref().map(Text::as_str).filter(|name| !name.is_empty()).unwrap_or("default")
    }

    /// The controller that made the pod, as kind and name.
    #[must_use]
    pub fn owner(&self) -> Option<(&str, &str)> {
        let owners = self.metadata.owner_references.iter().flatten();
        owners.filter(|owner| owner.controller == Some(true)).map(|owner| (owner.kind.as_str(), owner.name.as_str())).next()
    }

    /// Init containers as they are.
    pub fn init_containers(&self) -> impl Iterator<Item = &Container<'_>> {
        self.spec.init_containers.iter().flatten().map(|container| &container.view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: &str) -> PodView<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn texts_are_borrowed_unless_they_hold_escapes() {
        let pod = pod(r#"{"metadata":{"name":"plain","namespace":"a\nb"},"spec":{}}"#);
        assert!(matches!(pod.metadata.name, Some(Text(Cow::Borrowed("plain")))));
        assert_eq!(pod.metadata.namespace.unwrap().as_str(), "a\nb");
    }

    #[test]
    fn null_and_absent_are_the_same() {
        let pod = pod(
            r#"{"metadata":{"annotations":null,"ownerReferences":null},"spec":{"volumes":null,"initContainers":null,"securityContext":null,"containers":[{"name":"a","volumeMounts":null,"resources":null}]}}"#,
        );
        assert!(pod.metadata.annotations.is_none() && pod.spec.volumes.is_none() && pod.spec.containers[0].volume_mounts.is_none());
        assert_eq!(pod.service_account_name(), "default");
    }

    #[test]
    fn only_our_annotations_are_kept() {
        let pod =
            pod(r#"{"metadata":{"annotations":{"a/b":"c","keyvault-injector.io/vau\u006ct":"v","kubernetes.io/config.mirror":"x"}},"spec":{}}"#);
        assert_eq!(pod.our_annotations().collect::<Vec<_>>(), [("vault", "v")]);
        assert!(pod.metadata.annotations.unwrap().mirror);
    }

    #[test]
    fn programs_are_read_when_somebody_asks() {
        let pod = pod(
            r#"{"spec":{"containers":[{"name":"a","command":["\u002fapp"],"livenessProbe":{"exec":{"command":["x"]}}},{"name":"b","command":["/app"],"args":7}]}}"#,
        );
        let [a, b] = pod.spec.containers.as_slice() else { panic!("two containers") };
        assert_eq!(a.command().unwrap()[0].as_str(), "/app");
        assert_eq!(a.programs().iter().map(|program| program.path.join("/")).collect::<Vec<_>>(), ["command", "livenessProbe/exec/command"]);
        assert_eq!((a.unreadable(), b.unreadable()), (None, Some("args")));
        assert_eq!((a.programs_mention("/app"), b.programs_mention("/app"), b.programs_mention("x")), (true, true, false));
    }

    #[test]
    fn more_containers_than_any_pod_has_are_not_kept() {
        let text = format!(r#"{{"spec":{{"containers":[{}{{}}]}}}}"#, "{},".repeat(999));
        assert_eq!(pod(&text).spec.containers.len(), MAX_CONTAINERS + 1);
    }

    #[test]
    fn quantities_are_texts_or_numbers() {
        let pod = pod(r#"{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":1,"memory":"1Gi"},"requests":{"cpu":0.5}}}]}}"#);
        let resources = pod.spec.containers[0].resources.clone().unwrap();
        assert_eq!(resources.limits.unwrap().cpu.unwrap().0, "1000m".parse().unwrap());
        assert_eq!(resources.requests.unwrap().cpu.unwrap().0, "500m".parse().unwrap());
    }
}
