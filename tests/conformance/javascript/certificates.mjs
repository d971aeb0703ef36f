// CertificateClient, and the key and the secret that every certificate has beside it.

import assert from "node:assert/strict";
import nodeCrypto, { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import tls from "node:tls";

import * as clients from "./clients.mjs";
import { FIXTURES, all, refused, test } from "./harness.mjs";

const client = clients.certificates();
const [secrets, keys] = [clients.secrets(), clients.keys()];
const soon = { intervalInMs: 1 };
const ec = { issuerName: "Self", subject: "CN=web", keyType: "EC", keyCurveName: "P-256" };

async function create(name, policy = {}, options = {}) {
  const poller = await client.beginCreateCertificate(name, { ...ec, ...policy }, { ...soon, ...options });
  return poller.pollUntilDone();
}

const fixture = (name) => readFile(`${FIXTURES}/pfx/${name}`);
const cer = (certificate) => Buffer.from(certificate.cer);

test("a self-signed certificate is made", async () => {
  const made = await create("made");
  const parsed = new X509Certificate(cer(made));
  assert.ok(parsed.verify(parsed.publicKey));
  assert.deepEqual([parsed.subject, made.name, made.properties.enabled], ["CN=web", "made", true]);
  assert.equal(Buffer.from(made.properties.x509Thumbprint).toString("hex"), parsed.fingerprint.replaceAll(":", "").toLowerCase());
});

test("its policy has Key Vault's defaults", async () => {
  const { policy } = await create("defaults", { keyType: undefined, keyCurveName: undefined });
  assert.deepEqual([policy.keyType, policy.keySize, policy.exportable, policy.reuseKey], ["RSA", 2048, true, false]);
  assert.deepEqual([policy.contentType, policy.validityInMonths, policy.issuerName], ["application/x-pkcs12", 12, "Self"]);
  assert.deepEqual(policy.lifetimeActions, [{ action: "AutoRenew", lifetimePercentage: 80, daysBeforeExpiry: undefined }]);
});

test("it has the names that the policy asks for", async () => {
  const made = await create("named", { subject: "CN=web, O=Contoso", subjectAlternativeNames: { dnsNames: ["a.example.test", "b.example.test"] } });
  const parsed = new X509Certificate(cer(made));
  assert.equal(parsed.subjectAltName, "DNS:a.example.test, DNS:b.example.test");
  assert.deepEqual(made.policy.subjectAlternativeNames.dnsNames, ["a.example.test", "b.example.test"]);
});

test("its secret is a PKCS#12 file that TLS takes", async () => {
  for (const [name, policy] of [["pfx-ec", {}], ["pfx-rsa", { keyType: "RSA", keyCurveName: undefined }]]) {
    await create(name, policy);
    const secret = await secrets.getSecret(name);
    assert.equal(secret.properties.contentType, "application/x-pkcs12");
    tls.createSecureContext({ pfx: Buffer.from(secret.value, "base64"), passphrase: "" });
  }
});

test("its secret is PEM where the policy says so", async () => {
  const made = await create("pem", { contentType: "application/x-pem-file" });
  const { value } = await secrets.getSecret("pem");
  assert.ok(new X509Certificate(value).checkPrivateKey(nodeCrypto.createPrivateKey(value)));
  assert.deepEqual(new X509Certificate(value).raw, cer(made));
});

test("a key that is not exportable stays in the vault", async () => {
  await create("kept", { exportable: false, contentType: "application/x-pem-file" });
  assert.ok(!(await secrets.getSecret("kept")).value.includes("PRIVATE KEY"));
});

test("secret and key have its version and are managed", async () => {
  const made = await create("linked");
  const [secret, key] = [await secrets.getSecret("linked"), await keys.getKey("linked")];
  assert.deepEqual([secret.properties.id, key.id], [made.secretId, made.keyId]);
  assert.deepEqual([secret.properties.version, key.properties.managed], [made.properties.version, true]);
});

test("its key signs", async () => {
  const made = await create("signer");
  const digest = nodeCrypto.createHash("sha256").update("message").digest();
  const { result } = await clients.crypto(made.keyId).sign("ES256", digest);
  const key = { key: new X509Certificate(cer(made)).publicKey, dsaEncoding: "ieee-p1363" };
  assert.ok(nodeCrypto.verify("sha256", Buffer.from("message"), key, result));
});

test("a poller tells of the operation", async () => {
  await client.beginCreateCertificate("waiting", { ...ec, issuerName: "Unknown" }, soon);
  const waiting = (await client.getCertificateOperation("waiting", soon)).getOperationState().certificateOperation;
  assert.deepEqual([waiting.status, waiting.issuerName, waiting.csr.length > 100], ["inProgress", "Unknown", true]);
  await create("polled");
  const done = (await client.getCertificateOperation("polled", soon)).getOperationState().certificateOperation;
  assert.deepEqual([done.status, done.issuerName], ["completed", "Self"]);
});

test("PKCS#12 is imported", async () => {
  const made = await client.importCertificate("imported", Buffer.from(String(await fixture("kv-rsa-selfsigned.b64")), "base64"));
  assert.deepEqual([made.policy.subject, made.policy.issuerName, made.policy.keyType], ["CN=self.example.test", "Unknown", "RSA"]);
});

test("PEM is imported with its chain", async () => {
  const pem = await fixture("kv-ec-chain3.expected.pem");
  await client.importCertificate("imported-pem", pem, { policy: { contentType: "application/x-pem-file" } });
  assert.equal((await secrets.getSecret("imported-pem")).value, String(pem));
});

test("what cannot be imported is refused", () =>
  refused(400, "BadParameter", "can not be read", client.importCertificate("bad", Buffer.from("no certificate"))));

test("a certificate is updated", async () => {
  const made = await create("updated-certificate");
  const changed = await client.updateCertificateProperties("updated-certificate", made.properties.version, { enabled: false, tags: { a: "b" } });
  assert.deepEqual([changed.properties.enabled, changed.properties.tags], [false, { a: "b" }]);
  await refused(403, "Forbidden", "disabled secret", secrets.getSecret("updated-certificate"));
});

test("a policy is updated", async () => {
  await create("with-policy");
  const policy = await client.getCertificatePolicy("with-policy");
  await client.updateCertificatePolicy("with-policy", { ...policy, validityInMonths: 6 });
  const changed = await client.getCertificatePolicy("with-policy");
  assert.deepEqual([changed.validityInMonths, changed.subject], [6, "CN=web"]);
});

test("versions are listed, and old ones stay", async () => {
  const first = await create("renewed");
  await create("renewed");
  assert.equal((await all(client.listPropertiesOfCertificateVersions("renewed"))).length, 2);
  assert.deepEqual(cer(await client.getCertificateVersion("renewed", first.properties.version)), cer(first));
});

test("certificates are listed", async () => {
  const names = (await all(client.listPropertiesOfCertificates())).map((item) => item.name);
  assert.ok(["made", "seeded-certificate", "chained-certificate"].every((name) => names.includes(name)), `${names}`);
});

test("a certificate that is not there is said so", () =>
  refused(404, "CertificateNotFound", "A certificate with (name/id) nope was not found in this key vault.", client.getCertificate("nope")));

test("a certificate is deleted, recovered, deleted and purged", async () => {
  const made = await create("mortal-certificate");
  await (await client.beginDeleteCertificate("mortal-certificate", soon)).pollUntilDone();
  await refused(404, "SecretNotFound", "mortal-certificate", secrets.getSecret("mortal-certificate"));
  const recovered = await (await client.beginRecoverDeletedCertificate("mortal-certificate", soon)).pollUntilDone();
  assert.equal(recovered.id, made.id);
  await (await client.beginDeleteCertificate("mortal-certificate", soon)).pollUntilDone();
  assert.ok((await all(client.listDeletedCertificates())).some((item) => item.name === "mortal-certificate"));
  await client.purgeDeletedCertificate("mortal-certificate");
  await refused(404, "CertificateNotFound", "Deleted Certificate not found", client.getDeletedCertificate("mortal-certificate"));
});

test("a backup brings certificate and secret back", async () => {
  const made = await create("saved-certificate");
  const { value } = await secrets.getSecret("saved-certificate");
  const blob = await client.backupCertificate("saved-certificate");
  await (await client.beginDeleteCertificate("saved-certificate", soon)).pollUntilDone();
  await client.purgeDeletedCertificate("saved-certificate");
  assert.equal((await client.restoreCertificateBackup(blob)).id, made.id);
  assert.equal((await secrets.getSecret("saved-certificate")).value, value);
});

test("a request that waits is cancelled and deleted", async () => {
  const poller = await client.beginCreateCertificate("cancelled", { ...ec, issuerName: "Unknown" }, soon);
  await refused(409, "Forbidden", "status is inProgress.", client.beginCreateCertificate("cancelled", ec, soon));
  await poller.cancelOperation();
  assert.equal((await client.getCertificateOperation("cancelled", soon)).getOperationState().certificateOperation.status, "cancelled");
  await client.deleteCertificateOperation("cancelled");
  await refused(404, "PendingCertificateNotFound", "cancelled", client.getCertificateOperation("cancelled", soon));
});

test("contacts are kept", async () => {
  await client.setContacts([{ email: "a@example.test", name: "A" }]);
  assert.equal((await client.getContacts())[0].email, "a@example.test");
  await client.deleteContacts();
  await refused(404, "CertificateContactsNotFound", "", client.getContacts());
});

test("issuers are kept", async () => {
  await client.createIssuer("issuer", "Test", { accountId: "account" });
  assert.equal((await client.getIssuer("issuer")).provider, "Test");
  assert.equal((await client.updateIssuer("issuer", { accountId: "other" })).accountId, "other");
  assert.deepEqual((await all(client.listPropertiesOfIssuers())).map((item) => item.provider), ["Test"]);
  await client.deleteIssuer("issuer");
  await refused(404, "CertificateIssuerNotFound", "", client.getIssuer("issuer"));
});
