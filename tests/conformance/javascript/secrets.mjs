// SecretClient.

import assert from "node:assert/strict";

import * as clients from "./clients.mjs";
import { all, refused, test } from "./harness.mjs";

const client = clients.secrets();
const soon = { intervalInMs: 1 };

test("a secret is set and read", async () => {
  const made = await client.setSecret("plain", "value");
  const found = await client.getSecret("plain");
  assert.deepEqual([found.value, found.properties.id, found.properties.version.length], ["value", made.properties.id, 32]);
});

test("a secret keeps everything that it is given", async () => {
  // The client itself cuts times off at 32 bits.
  const [notBefore, expiresOn] = [new Date("2020-01-02T00:00:00Z"), new Date("2037-01-02T00:00:00Z")];
  await client.setSecret("full", "v", { contentType: "text/plain", tags: { a: "b" }, notBefore, expiresOn, enabled: true });
  const { properties } = await client.getSecret("full");
  assert.deepEqual([properties.contentType, properties.tags, properties.notBefore, properties.expiresOn], ["text/plain", { a: "b" }, notBefore, expiresOn]);
  assert.deepEqual([properties.recoveryLevel, properties.recoverableDays], ["Recoverable+Purgeable", 90]);
});

test("an empty value is a value", async () => {
  await client.setSecret("empty", "");
  assert.equal((await client.getSecret("empty")).value, "");
});

test("an old version stays readable", async () => {
  const first = await client.setSecret("versions", "one");
  await client.setSecret("versions", "two");
  assert.equal((await client.getSecret("versions", { version: first.properties.version })).value, "one");
  assert.equal((await client.getSecret("versions")).value, "two");
});

test("versions are listed", async () => {
  const made = [];
  for (const value of ["1", "2", "3"]) made.push((await client.setSecret("listed-versions", value)).properties.version);
  const found = await all(client.listPropertiesOfSecretVersions("listed-versions"));
  assert.deepEqual(found.map((item) => item.version).sort(), made.sort());
});

test("a list of many pages is whole", async () => {
  await Promise.all(Array.from({ length: 30 }, (_, index) => client.setSecret(`many-${index}`, "v")));
  const names = (await all(client.listPropertiesOfSecrets())).map((item) => item.name);
  assert.equal(names.filter((name) => name.startsWith("many-")).length, 30);
});

test("a list comes in pages of the size asked for", async () => {
  const pages = await all(client.listPropertiesOfSecrets().byPage({ maxPageSize: 7 }));
  assert.ok(pages.length > 3 && pages.slice(0, -1).every((page) => page.length === 7), `${pages.map((page) => page.length)}`);
});

test("an update changes what it names", async () => {
  const made = await client.setSecret("updated", "v", { contentType: "a", tags: { k: "1" } });
  const updated = await client.updateSecretProperties("updated", made.properties.version, { contentType: "b", enabled: false });
  assert.deepEqual([updated.contentType, updated.enabled, updated.tags], ["b", false, { k: "1" }]);
});

test("a disabled secret is not given", () =>
  refused(403, "Forbidden", "Operation get is not allowed on a disabled secret.", client.getSecret("old-token")));

test("a secret that is not there is said so", () =>
  refused(404, "SecretNotFound", "A secret with (name/id) nope was not found in this key vault.", client.getSecret("nope")));

test("a stranger reads nothing", () =>
  refused(403, "Forbidden", "Caller is not authorized to perform action on resource.", clients.secrets(clients.stranger).getSecret("plain")));

test("a secret is deleted, recovered, deleted and purged", async () => {
  await client.setSecret("mortal", "v");
  const deleted = await (await client.beginDeleteSecret("mortal", soon)).pollUntilDone();
  assert.ok(deleted.recoveryId.endsWith("/deletedsecrets/mortal"), deleted.recoveryId);
  await refused(404, "SecretNotFound", "mortal", client.getSecret("mortal"));
  await refused(409, "Conflict", "is currently in a deleted but recoverable state", client.setSecret("mortal", "w"));
  assert.equal((await (await client.beginRecoverDeletedSecret("mortal", soon)).pollUntilDone()).name, "mortal");
  assert.equal((await client.getSecret("mortal")).value, "v");
  await (await client.beginDeleteSecret("mortal", soon)).pollUntilDone();
  assert.ok((await all(client.listDeletedSecrets())).some((item) => item.name === "mortal"));
  await client.purgeDeletedSecret("mortal");
  await refused(404, "SecretNotFound", "Deleted Secret not found: mortal", client.getDeletedSecret("mortal"));
});

test("a backup brings all versions back", async () => {
  const first = await client.setSecret("saved", "one");
  await client.setSecret("saved", "two");
  const blob = await client.backupSecret("saved");
  await refused(409, "Conflict", "There was a conflict restoring the secret 'https://", client.restoreSecretBackup(blob));
  await (await client.beginDeleteSecret("saved", soon)).pollUntilDone();
  await client.purgeDeletedSecret("saved");
  await client.restoreSecretBackup(blob);
  assert.equal((await client.getSecret("saved")).value, "two");
  assert.equal((await client.getSecret("saved", { version: first.properties.version })).value, "one");
});

test("every documented version of the interface is served", async () => {
  for (const serviceVersion of ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"]) {
    assert.equal((await clients.secrets(clients.owner, { serviceVersion }).getSecret("plain")).value, "value");
  }
});
