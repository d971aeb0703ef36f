// Clients and credentials with nothing but documented options.

import { ClientSecretCredential } from "@azure/identity";
import { CertificateClient } from "@azure/keyvault-certificates";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";

import { AUTHORITY, OWNER, STRANGER, TENANT, VAULT } from "./harness.mjs";

export const atEmulator = { authorityHost: AUTHORITY, disableInstanceDiscovery: true };
const options = { disableChallengeResourceVerification: true };

export const owner = new ClientSecretCredential(TENANT, OWNER, "lab-client-secret", atEmulator);
export const stranger = new ClientSecretCredential(TENANT, STRANGER, "stranger-secret", atEmulator);

export const secrets = (credential = owner, more = {}) => new SecretClient(VAULT, credential, { ...options, ...more });
export const keys = (credential = owner, more = {}) => new KeyClient(VAULT, credential, { ...options, ...more });
export const certificates = (credential = owner, more = {}) => new CertificateClient(VAULT, credential, { ...options, ...more });
export const crypto = (key) => new CryptographyClient(key, owner, options);
