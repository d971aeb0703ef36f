//! Who can ask for tokens: applications and managed identities.

use crate::emulator::entra::jwks::Jwks;
use crate::names::Guid;
use crate::secret::SecretValue;
use crate::yaml_fields::{Field, FieldError, Fields};

use super::{Reader, secret};

/// A directory.
#[derive(Debug)]
pub(in crate::emulator) struct Tenant {
    pub(in crate::emulator) id: Guid,
    pub(in crate::emulator) applications: Vec<Application>,
}

/// An application and its service principal.
#[derive(Debug)]
pub(in crate::emulator) struct Application {
    pub(in crate::emulator) client_id: Guid,
    pub(in crate::emulator) object_id: Guid,
    pub(in crate::emulator) secrets: Vec<SecretValue>,
    pub(in crate::emulator) federated: Vec<FederatedCredential>,
}

/// Whose tokens an application takes in place of a secret. Entra compares all three texts byte by byte.
#[derive(Debug)]
pub(in crate::emulator) struct FederatedCredential {
    pub(in crate::emulator) issuer: String,
    pub(in crate::emulator) subject: String,
    pub(in crate::emulator) audience: String,
    pub(in crate::emulator) keys: Jwks,
}

/// An identity that the metadata endpoint hands out.
#[derive(Debug)]
pub(in crate::emulator) struct ManagedIdentity {
    pub(in crate::emulator) client_id: Guid,
    pub(in crate::emulator) object_id: Guid,
    pub(in crate::emulator) resource_id: Option<String>,
    pub(in crate::emulator) system_assigned: bool,
}

impl Reader<'_> {
    pub(super) fn tenant(&mut self, fields: &mut Fields<'_>) -> Result<Tenant, FieldError> {
        Ok(Tenant { id: guid(&fields.required("id")?)?, applications: self.items(fields.take("applications"), Self::application)? })
    }

    fn application(&mut self, fields: &mut Fields<'_>) -> Result<Application, FieldError> {
        let client_id = guid(&fields.required("clientId")?)?;
        let object_id = object_id(fields, &client_id)?;
        let secrets = fields.take("secrets").map_or(Ok(Vec::new()), |list| list.list())?;
        let secrets = secrets.iter().map(secret).collect::<Result<_, _>>()?;
        let federated = self.items(fields.take("federatedCredentials"), Self::federated_credential)?;
        self.not_served(fields, "certificateFiles");
        Ok(Application { client_id, object_id, secrets, federated })
    }

    fn federated_credential(&mut self, fields: &mut Fields<'_>) -> Result<FederatedCredential, FieldError> {
        let file = fields.required("jwksFile")?;
        Ok(FederatedCredential {
            issuer: fields.required("issuer")?.text()?.to_owned(),
            subject: fields.required("subject")?.text()?.to_owned(),
            audience: fields.required("audience")?.text()?.to_owned(),
            keys: Jwks::parse(&self.file(&file)?).map_err(|error| file.error(error))?,
        })
    }

    pub(super) fn managed_identity(&mut self, fields: &mut Fields<'_>) -> Result<ManagedIdentity, FieldError> {
        let client_id = guid(&fields.required("clientId")?)?;
        Ok(ManagedIdentity {
            object_id: object_id(fields, &client_id)?,
            client_id,
            resource_id: fields.take("resourceId").map(|field| field.text().map(str::to_owned)).transpose()?,
            system_assigned: fields.take("systemAssigned").map_or(Ok(false), |field| field.bool())?,
        })
    }
}

/// A GUID in lower case, as Entra writes it.
pub(super) fn guid(field: &Field<'_>) -> Result<Guid, FieldError> {
    field.text()?.to_ascii_lowercase().parse().map_err(|error| field.error(error))
}

/// The object id, or the client id where none is given.
fn object_id(fields: &mut Fields<'_>, client_id: &Guid) -> Result<Guid, FieldError> {
    fields.take("objectId").map_or(Ok(client_id.clone()), |field| guid(&field))
}
