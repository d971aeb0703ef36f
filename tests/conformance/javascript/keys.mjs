// KeyClient and CryptographyClient, checked with Node's own cryptography.

import assert from "node:assert/strict";
import nodeCrypto from "node:crypto";

import * as clients from "./clients.mjs";
import { all, refused, test } from "./harness.mjs";

const client = clients.keys();
const soon = { intervalInMs: 1 };
const message = Buffer.from("message");
const digest = (bits) => nodeCrypto.createHash(`sha${bits}`).update(message).digest();
const text = (bytes) => Buffer.from(bytes).toString("base64url");
const rsa = await client.createRsaKey("rsa", { keySize: 2048 });

function publicKey({ key }) {
  const jwk = key.kty === "RSA" ? { kty: "RSA", n: text(key.n), e: text(key.e) } : { kty: "EC", crv: key.crv, x: text(key.x), y: text(key.y) };
  return nodeCrypto.createPublicKey({ key: jwk, format: "jwk" });
}

test("an RSA key is made and read", async () => {
  const found = await client.getKey("rsa");
  assert.deepEqual([found.keyType, found.key.n.length, found.key.d, found.id], ["RSA", 256, undefined, rsa.id]);
  assert.deepEqual([...found.keyOperations].sort(), ["decrypt", "encrypt", "sign", "unwrapKey", "verify", "wrapKey"]);
});

test("keys on every curve are made", async () => {
  for (const [curve, size] of [["P-256", 32], ["P-384", 48], ["P-521", 66]]) {
    const { key } = await client.createEcKey(`ec-${curve}`, { curve });
    assert.deepEqual([key.crv, key.x.length, key.y.length], [curve, size, size]);
  }
});

test("a key is made by its type alone", async () => {
  assert.equal((await client.createKey("typed", "EC")).key.crv, "P-256");
});

test("a key keeps everything that it is given", async () => {
  const expiresOn = new Date("2037-01-02T00:00:00Z");
  await client.createEcKey("full-key", { keyOps: ["verify"], tags: { a: "b" }, expiresOn, enabled: false });
  const { properties, keyOperations } = await client.getKey("full-key");
  assert.deepEqual([keyOperations, properties.tags, properties.expiresOn, properties.enabled], [["verify"], { a: "b" }, expiresOn, false]);
});

test("a key is updated", async () => {
  const made = await client.createEcKey("updated-key");
  const found = await client.updateKeyProperties("updated-key", made.properties.version, { keyOps: ["sign"], tags: { k: "v" } });
  assert.deepEqual([found.keyOperations, found.properties.tags], [["sign"], { k: "v" }]);
});

test("keys and their versions are listed", async () => {
  await client.createEcKey("listed-key");
  await client.createEcKey("listed-key");
  assert.equal((await all(client.listPropertiesOfKeyVersions("listed-key"))).length, 2);
  const pages = await all(client.listPropertiesOfKeys().byPage({ maxPageSize: 3 }));
  assert.ok(pages.length > 1 && pages.flat().some((item) => item.name === "listed-key"));
});

test("a key that is not there is said so", () =>
  refused(404, "KeyNotFound", "A key with (name/id) nope was not found in this key vault.", client.getKey("nope")));

test("a key of an impossible size is refused", () => refused(400, "BadParameter", "key_size", client.createRsaKey("small", { keySize: 1024 })));

test("a key is deleted, recovered, deleted and purged", async () => {
  const made = await client.createEcKey("mortal-key");
  await (await client.beginDeleteKey("mortal-key", soon)).pollUntilDone();
  await refused(404, "KeyNotFound", "mortal-key", client.getKey("mortal-key"));
  assert.equal((await (await client.beginRecoverDeletedKey("mortal-key", soon)).pollUntilDone()).id, made.id);
  await (await client.beginDeleteKey("mortal-key", soon)).pollUntilDone();
  assert.ok((await all(client.listDeletedKeys())).some((item) => item.name === "mortal-key"));
  await client.purgeDeletedKey("mortal-key");
  await refused(404, "KeyNotFound", "Deleted Key not found: mortal-key", client.getDeletedKey("mortal-key"));
});

test("a backup brings the private key back", async () => {
  const made = await client.createEcKey("saved-key");
  const blob = await client.backupKey("saved-key");
  await (await client.beginDeleteKey("saved-key", soon)).pollUntilDone();
  await client.purgeDeletedKey("saved-key");
  const restored = await client.restoreKeyBackup(blob);
  const { result } = await clients.crypto(restored).sign("ES256", digest(256));
  assert.ok(nodeCrypto.verify("sha256", message, { key: publicKey(made), dsaEncoding: "ieee-p1363" }, result));
});

test("what is encrypted is decrypted", async () => {
  for (const algorithm of ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]) {
    const { result: ciphertext } = await clients.crypto(rsa).encrypt({ algorithm, plaintext: message });
    assert.deepEqual(Buffer.from((await clients.crypto(rsa).decrypt({ algorithm, ciphertext })).result), message, algorithm);
  }
});

test("what Node encrypts is decrypted", async () => {
  const ciphertext = nodeCrypto.publicEncrypt({ key: publicKey(rsa), oaepHash: "sha256" }, message);
  assert.deepEqual(Buffer.from((await clients.crypto(rsa).decrypt({ algorithm: "RSA-OAEP-256", ciphertext })).result), message);
});

test("a wrapped key is unwrapped", async () => {
  for (const algorithm of ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]) {
    const { result } = await clients.crypto(rsa).wrapKey(algorithm, message);
    assert.deepEqual(Buffer.from((await clients.crypto(rsa).unwrapKey(algorithm, result)).result), message, algorithm);
  }
});

test("what is not encrypted with the key is refused", () =>
  refused(400, "BadParameter", "not encrypted with this key", clients.crypto(rsa).decrypt({ algorithm: "RSA-OAEP", ciphertext: Buffer.alloc(256, 1) })));

test("RSA signatures are good for Node", async () => {
  for (const bits of [256, 384, 512]) {
    const rs = (await clients.crypto(rsa).sign(`RS${bits}`, digest(bits))).result;
    assert.ok(nodeCrypto.verify(`sha${bits}`, message, publicKey(rsa), rs), `RS${bits}`);
    const ps = (await clients.crypto(rsa).sign(`PS${bits}`, digest(bits))).result;
    const key = { key: publicKey(rsa), padding: nodeCrypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: bits / 8 };
    assert.ok(nodeCrypto.verify(`sha${bits}`, message, key, ps), `PS${bits}`);
  }
});

test("EC signatures are good for Node", async () => {
  for (const [bits, curve] of [[256, "P-256"], [384, "P-384"], [512, "P-521"]]) {
    const made = await client.createEcKey(`signing-${bits}`, { curve });
    const { result } = await clients.crypto(made).sign(`ES${bits}`, digest(bits));
    assert.ok(nodeCrypto.verify(`sha${bits}`, message, { key: publicKey(made), dsaEncoding: "ieee-p1363" }, result), curve);
  }
});

test("signatures are verified", async () => {
  const made = await client.createEcKey("verifying");
  for (const [key, algorithm] of [[rsa, "RS256"], [rsa, "PS256"], [made, "ES256"]]) {
    const { result } = await clients.crypto(key).signData(algorithm, message);
    assert.ok((await clients.crypto(key).verify(algorithm, digest(256), result)).result, algorithm);
    assert.equal((await clients.crypto(key).verify(algorithm, digest(256).fill(7), result)).result, false, algorithm);
  }
});

test("a key is used by its address alone", async () => {
  const { result } = await clients.crypto(rsa.id).sign("RS256", digest(256));
  assert.ok(nodeCrypto.verify("sha256", message, publicKey(rsa), result));
});

test("an imported key signs", async () => {
  const own = nodeCrypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { x, y, d } = own.privateKey.export({ format: "jwk" });
  const bytes = (number) => new Uint8Array(Buffer.from(number, "base64url"));
  const made = await client.importKey("imported-key", { kty: "EC", crv: "P-256", x: bytes(x), y: bytes(y), d: bytes(d) });
  const { result } = await clients.crypto(made).sign("ES256", digest(256));
  assert.ok(nodeCrypto.verify("sha256", message, { key: own.publicKey, dsaEncoding: "ieee-p1363" }, result));
});

test("a key is rotated", async () => {
  const first = await client.createEcKey("rotated");
  const second = await client.rotateKey("rotated");
  assert.notEqual(first.id, second.id);
  assert.equal((await client.getKey("rotated")).id, second.id);
});

test("a rotation policy is kept", async () => {
  await client.createEcKey("policy-key");
  await client.updateKeyRotationPolicy("policy-key", { expiresIn: "P90D", lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P2M" }] });
  const found = await client.getKeyRotationPolicy("policy-key");
  assert.deepEqual([found.expiresIn, found.lifetimeActions[0].timeAfterCreate], ["P90D", "P2M"]);
});
