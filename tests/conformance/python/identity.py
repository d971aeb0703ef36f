"""Every credential of azure-identity that works without a person."""

import contextlib
import os
import time

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

import clients
from clients import AT_EMULATOR
from harness import AUTHORITY, FIXTURES, OWNER, STRANGER, TENANT, case, equal, refused

CERTIFICATE = f"{FIXTURES}/pfx/kv-rsa-selfsigned.expected.pem"
OTHER_CERTIFICATE = f"{FIXTURES}/pfx/kv-rsa-chain3.expected.pem"
SCOPE = "https://vault.azure.net/.default"


def reads(credential):
    equal(clients.secrets(credential).get_secret("db-password").value, "correct horse battery staple")


def fails(credential, number):
    try:
        credential.get_token(SCOPE)
    except ClientAuthenticationError as error:
        assert f"AADSTS{number}" in str(error), error
        return
    raise AssertionError("there is a token")


@case
def a_client_secret_signs_in():
    reads(ClientSecretCredential(TENANT, OWNER, "lab-client-secret", **AT_EMULATOR))


@case
def a_wrong_client_secret_is_refused():
    fails(ClientSecretCredential(TENANT, OWNER, "guess", **AT_EMULATOR), 7000215)


@case
def an_unknown_application_is_refused():
    fails(ClientSecretCredential(TENANT, "99999999-0000-0000-0000-000000000000", "x", **AT_EMULATOR), 700016)


@case
def a_scope_that_is_no_resource_is_refused():
    credential = ClientSecretCredential(TENANT, OWNER, "lab-client-secret", **AT_EMULATOR)
    try:
        credential.get_token("https://nothing.example.test/.default")
    except ClientAuthenticationError as error:
        assert "AADSTS500011" in str(error), error
        return
    raise AssertionError("there is a token")


@case
def a_certificate_signs_in():
    reads(CertificateCredential(TENANT, OWNER, CERTIFICATE, **AT_EMULATOR))


@case
def a_certificate_signs_in_with_its_chain_in_the_assertion():
    reads(CertificateCredential(TENANT, OWNER, CERTIFICATE, send_certificate_chain=True, **AT_EMULATOR))


@case
def a_certificate_that_the_application_does_not_have_is_refused():
    fails(CertificateCredential(TENANT, OWNER, OTHER_CERTIFICATE, **AT_EMULATOR), 700027)


@case
def a_certificate_of_another_application_is_refused():
    fails(CertificateCredential(TENANT, STRANGER, CERTIFICATE, **AT_EMULATOR), 700027)


@case
def a_workload_identity_signs_in():
    reads(WorkloadIdentityCredential(tenant_id=TENANT, client_id=OWNER, token_file_path=os.environ["TOKEN_FILE"], **AT_EMULATOR))


@case
def a_workload_identity_without_federation_is_refused():
    fails(WorkloadIdentityCredential(tenant_id=TENANT, client_id=STRANGER, token_file_path=os.environ["TOKEN_FILE"], **AT_EMULATOR), 70025)


@case
def an_assertion_of_the_callers_own_signs_in():
    with open(os.environ["TOKEN_FILE"], encoding="ascii") as file:
        reads(ClientAssertionCredential(TENANT, OWNER, file.read, **AT_EMULATOR))


@case
def a_malformed_assertion_is_refused():
    fails(ClientAssertionCredential(TENANT, OWNER, lambda: "a.b.c", **AT_EMULATOR), 50027)


@case
def a_managed_identity_signs_in():
    reads(ManagedIdentityCredential())


@case
def a_managed_identity_is_found_by_its_client_id():
    reads(ManagedIdentityCredential(client_id="33333333-3333-3333-3333-333333333333"))


@case
def a_managed_identity_has_only_its_own_permissions():
    client = clients.secrets(ManagedIdentityCredential())
    refused(403, "Forbidden", "Action: 'Microsoft.KeyVault/vaults/secrets/setSecret/action'", client.set_secret, "x", "y")


@case
def a_token_lives_as_long_as_entra_says():
    token = ClientSecretCredential(TENANT, OWNER, "lab-client-secret", **AT_EMULATOR).get_token(SCOPE)
    assert 3500 < token.expires_on - time.time() <= 3600, token.expires_on


@contextlib.contextmanager
def environment(**variables):
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


APP_SERVICE = {"IDENTITY_ENDPOINT": os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] + "/msi/token", "IDENTITY_HEADER": "any"}
APPLICATION = {"AZURE_AUTHORITY_HOST": AUTHORITY, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": OWNER}


@case
def a_managed_identity_signs_in_as_on_app_service():
    with environment(**APP_SERVICE):
        reads(ManagedIdentityCredential())
        reads(ManagedIdentityCredential(client_id="33333333-3333-3333-3333-333333333333"))


@case
def the_default_credential_finds_a_client_secret():
    with environment(**APPLICATION, AZURE_CLIENT_SECRET="lab-client-secret", AZURE_TOKEN_CREDENTIALS="EnvironmentCredential"):
        reads(DefaultAzureCredential(disable_instance_discovery=True))


@case
def the_default_credential_finds_a_certificate():
    with environment(**APPLICATION, AZURE_CLIENT_CERTIFICATE_PATH=CERTIFICATE, AZURE_TOKEN_CREDENTIALS="EnvironmentCredential"):
        reads(DefaultAzureCredential(disable_instance_discovery=True))


@case
def the_default_credential_finds_a_workload_identity():
    token_file = os.environ["TOKEN_FILE"]
    with environment(**APPLICATION, AZURE_FEDERATED_TOKEN_FILE=token_file, AZURE_TOKEN_CREDENTIALS="WorkloadIdentityCredential"):
        reads(DefaultAzureCredential(disable_instance_discovery=True))


@case
def the_default_credential_finds_a_managed_identity_as_on_app_service():
    with environment(**APP_SERVICE, AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential"):
        reads(DefaultAzureCredential())


@case
def the_default_credential_finds_a_managed_identity_as_on_a_virtual_machine():
    with environment(AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential"):
        reads(DefaultAzureCredential())
