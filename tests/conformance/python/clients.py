"""Clients and credentials with nothing but documented options."""

from azure.identity import ClientSecretCredential
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient

from harness import AUTHORITY, OWNER, STRANGER, TENANT, VAULT

AT_EMULATOR = {"authority": AUTHORITY, "disable_instance_discovery": True}

owner = ClientSecretCredential(TENANT, OWNER, "lab-client-secret", **AT_EMULATOR)
stranger = ClientSecretCredential(TENANT, STRANGER, "stranger-secret", **AT_EMULATOR)


def secrets(credential=owner, **options):
    return SecretClient(VAULT, credential, verify_challenge_resource=False, **options)


def keys(credential=owner, **options):
    return KeyClient(VAULT, credential, verify_challenge_resource=False, **options)


def certificates(credential=owner, **options):
    return CertificateClient(VAULT, credential, verify_challenge_resource=False, **options)
