//! Who can ask for tokens: applications and managed identities.

use crate::crypto::pem;
use crate::crypto::x509::Certificate;
use crate::entra::jwks::Jwks;
use keyvault_common::names::Guid;
use keyvault_common::secret::SecretValue;
use keyvault_common::yaml_fields::parse_node;

use super::reader::{LowerGuid, Map, Reader};

/// A directory.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: Guid,
    pub(crate) applications: Vec<Application>,
}

/// An application and its service principal.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) client_id: Guid,
    pub(crate) object_id: Guid,
    pub(crate) secrets: Vec<SecretValue>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) federated: Vec<FederatedCredential>,
}

/// Whose tokens an application takes in place of a secret. Entra compares all three texts byte by byte.
#[derive(Debug)]
pub(crate) struct FederatedCredential {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) keys: Jwks,
}

/// An identity that the metadata endpoint hands out.
#[derive(Debug)]
pub(crate) struct ManagedIdentity {
    pub(crate) client_id: Guid,
    pub(crate) object_id: Guid,
    pub(crate) resource_id: Option<String>,
    pub(crate) system_assigned: bool,
}

impl Reader<'_> {
    pub(super) fn tenant(&mut self, map: &mut Map<'_>) -> Option<Tenant> {
        let id = self.guid(map, "id");
        let applications = self.each(map, "applications", Reader::application);
        Some(Tenant { id: id?, applications })
    }

    fn application(&mut self, map: &mut Map<'_>) -> Option<Application> {
        let client_id = self.guid(map, "clientId");
        let object_id = self.object_id(map);
        let secrets: Vec<String> = map.fields.parse_list("secrets", &mut self.problems).unwrap_or_default();
        let federated = self.each(map, "federatedCredentials", Reader::federated_credential);
        let certificates = self.application_certificates(map);
        let client_id = client_id?;
        let object_id = object_id.unwrap_or_else(|| client_id.clone());
        Some(Application { client_id, object_id, secrets: secrets.into_iter().map(SecretValue::from).collect(), certificates, federated })
    }

    /// The first certificate of each file; a private key beside it is not looked at.
    fn application_certificates(&mut self, map: &mut Map<'_>) -> Vec<Certificate> {
        let (items, path) = (map.fields.list("certificateFiles", &mut self.problems).unwrap_or_default(), map.fields.path("certificateFiles"));
        let mut certificates = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(bytes) = self.file(node, &path) else { continue };
            let blocks = pem::read(&String::from_utf8_lossy(&bytes)).unwrap_or_default();
            let first = blocks.iter().find(|block| block.label == "CERTIFICATE").and_then(|block| Certificate::parse(&block.content).ok());
            match first {
                Some(certificate) => certificates.push(certificate),
                None => self.problems.add(node, &path, "there is no certificate in PEM in it"),
            }
        }
        certificates
    }

    fn federated_credential(&mut self, map: &mut Map<'_>) -> Option<FederatedCredential> {
        let [issuer, subject, audience] = ["issuer", "subject", "audience"].map(|key| self.parsed(map, key));
        let keys = self.jwks(map);
        Some(FederatedCredential { issuer: issuer?, subject: subject?, audience: audience?, keys: keys? })
    }

    fn jwks(&mut self, map: &mut Map<'_>) -> Option<Jwks> {
        let node = self.required(map, "jwksFile")?;
        let path = map.fields.path("jwksFile");
        let bytes = self.file(node, &path)?;
        match Jwks::parse(&bytes) {
            Ok(keys) => Some(keys),
            Err(error) => {
                self.problems.add(node, &path, error.to_string());
                None
            }
        }
    }

    pub(super) fn managed_identity(&mut self, map: &mut Map<'_>) -> Option<ManagedIdentity> {
        let client_id = self.guid(map, "clientId");
        let object_id = self.object_id(map);
        let resource_id = map.fields.parse("resourceId", &mut self.problems);
        let system_assigned = map.fields.bool("systemAssigned", &mut self.problems).unwrap_or(false);
        let client_id = client_id?;
        Some(ManagedIdentity { object_id: object_id.unwrap_or_else(|| client_id.clone()), client_id, resource_id, system_assigned })
    }

    /// The client id stands in for one that is not given.
    fn object_id(&mut self, map: &mut Map<'_>) -> Option<Guid> {
        let node = map.fields.take("objectId")?;
        parse_node(node, &map.fields.path("objectId"), &mut self.problems).map(|LowerGuid(guid)| guid)
    }
}
