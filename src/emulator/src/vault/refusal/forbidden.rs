//! A 403 and what it says of caller, action and vault.

use crate::config::RefusalWords;

use super::{Action, Forbidden, Why};

impl Why {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Why::Permission { words: RefusalWords::Rbac, .. } => "ForbiddenByRbac",
            Why::Permission { words: RefusalWords::Policy, .. } => "ForbiddenByPolicy",
            Why::Permission { words: RefusalWords::Denied, .. } => "AccessDenied",
            Why::Firewall { .. } => "ForbiddenByFirewall",
            Why::Connection => "ForbiddenByConnection",
        }
    }
}

impl Forbidden {
    pub(super) fn message(&self) -> String {
        let Forbidden { caller, issuer, vault, .. } = self;
        match &self.why {
            Why::Permission { words: RefusalWords::Rbac, action: Action { kind, rbac, object, .. } } => format!(
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed \
                 recently, please observe propagation time.\r\nCaller: {caller};iss={issuer}\r\nAction: 'Microsoft.KeyVault/vaults/{}/{rbac}'\r\nResource: \
                 '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/emulator/providers/microsoft.keyvault/vaults/{vault}{object}'\r\n\
                 Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: {vault};location=westus2\r\n",
                kind.collection()
            ),
            Why::Permission { words: RefusalWords::Policy | RefusalWords::Denied, action: Action { kind, verb, .. } } => format!(
                "The user, group or application '{caller};numgroups=0;iss={issuer}' does not have {} {verb} permission on key vault \
                 '{vault};location=westus2'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
                kind.collection()
            ),
            Why::Firewall { address } => format!(
                "Client address is not authorized and caller is not a trusted service.\r\nClient address: {address}\r\nCaller: \
                 {caller};iss={issuer}\r\nVault: {vault};location=westus2"
            ),
            Why::Connection => format!(
                "Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: \
                 {caller};iss={issuer}\r\nVault: {vault};location=westus2"
            ),
        }
    }
}
