// Every credential of @azure/identity that works without a person.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import {
  ClientAssertionCredential,
  ClientCertificateCredential,
  ClientSecretCredential,
  DefaultAzureCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";

import { atEmulator, secrets } from "./clients.mjs";
import { AUTHORITY, FIXTURES, OWNER, STRANGER, TENANT, TOKEN_FILE, refused, test } from "./harness.mjs";

const CERTIFICATE = `${FIXTURES}/pfx/kv-rsa-selfsigned.expected.pem`;
const OTHER_CERTIFICATE = `${FIXTURES}/pfx/kv-rsa-chain3.expected.pem`;
const SCOPE = "https://vault.azure.net/.default";

async function reads(credential) {
  assert.equal((await secrets(credential).getSecret("db-password")).value, "correct horse battery staple");
}

async function fails(credential, number) {
  await assert.rejects(credential.getToken(SCOPE), new RegExp(`AADSTS${number}`));
}

test("a client secret signs in", () => reads(new ClientSecretCredential(TENANT, OWNER, "lab-client-secret", atEmulator)));

test("a wrong client secret is refused", () => fails(new ClientSecretCredential(TENANT, OWNER, "guess", atEmulator), 7000215));

test("an unknown application is refused", () =>
  fails(new ClientSecretCredential(TENANT, "99999999-0000-0000-0000-000000000000", "x", atEmulator), 700016));

test("a certificate signs in", () =>
  reads(new ClientCertificateCredential(TENANT, OWNER, { certificatePath: CERTIFICATE }, atEmulator)));

test("a certificate signs in with its chain in the assertion", () =>
  reads(new ClientCertificateCredential(TENANT, OWNER, { certificatePath: CERTIFICATE }, { ...atEmulator, sendCertificateChain: true })));

test("a certificate that the application does not have is refused", () =>
  fails(new ClientCertificateCredential(TENANT, OWNER, { certificatePath: OTHER_CERTIFICATE }, atEmulator), 700027));

test("a workload identity signs in", () =>
  reads(new WorkloadIdentityCredential({ tenantId: TENANT, clientId: OWNER, tokenFilePath: TOKEN_FILE, ...atEmulator })));

test("a workload identity without federation is refused", () =>
  fails(new WorkloadIdentityCredential({ tenantId: TENANT, clientId: STRANGER, tokenFilePath: TOKEN_FILE, ...atEmulator }), 70025));

test("an assertion of the caller's own signs in", () =>
  reads(new ClientAssertionCredential(TENANT, OWNER, () => readFile(TOKEN_FILE, "ascii"), atEmulator)));

test("a managed identity signs in", () => reads(new ManagedIdentityCredential()));

test("a managed identity is found by its client id", () =>
  reads(new ManagedIdentityCredential({ clientId: "33333333-3333-3333-3333-333333333333" })));

test("a managed identity has only its own permissions", () =>
  refused(403, "Forbidden", "Action: 'Microsoft.KeyVault/vaults/secrets/setSecret/action'", secrets(new ManagedIdentityCredential()).setSecret("x", "y")));

// Sets variables of the environment for one sign-in.
async function environment(variables, body) {
  Object.assign(process.env, variables);
  try {
    await body();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}

const appService = () => ({ IDENTITY_ENDPOINT: `${process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST}/msi/token`, IDENTITY_HEADER: "any" });

test("a managed identity signs in as on App Service", () => environment(appService(), () => reads(new ManagedIdentityCredential())));

test("the default credential finds a client secret", () => {
  const application = { AZURE_AUTHORITY_HOST: AUTHORITY, AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: OWNER, AZURE_CLIENT_SECRET: "lab-client-secret" };
  return environment({ ...application, AZURE_TOKEN_CREDENTIALS: "EnvironmentCredential" }, () => reads(new DefaultAzureCredential({ disableInstanceDiscovery: true })));
});

test("the default credential finds a managed identity", () =>
  environment({ ...appService(), AZURE_TOKEN_CREDENTIALS: "ManagedIdentityCredential" }, () => reads(new DefaultAzureCredential())));
