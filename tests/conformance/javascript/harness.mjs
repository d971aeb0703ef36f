// Cases are functions with a name: `test` registers one, `run` runs them all and tells which failed.

import assert from "node:assert/strict";

export const { VAULT, AUTHORITY, FIXTURES, TOKEN_FILE } = process.env;
export const TENANT = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
export const OWNER = "11111111-1111-1111-1111-111111111111";
export const STRANGER = "22222222-2222-2222-2222-222222222222";

const cases = [];

export function test(name, body) {
  cases.push({ name, body });
}

// Fails unless the promise is refused with this status, code and text.
export async function refused(status, code, text, promise) {
  const error = await promise.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  if (error instanceof assert.AssertionError) throw error;
  assert.deepEqual([error.statusCode, error.code], [status, code], error.message);
  assert.ok(error.message.includes(text), `${JSON.stringify(text)} is not in ${JSON.stringify(error.message)}`);
  return error;
}

export async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

export async function run() {
  const start = Date.now();
  let failed = 0;
  for (const { name, body } of cases) {
    try {
      await body();
    } catch (error) {
      failed += 1;
      const place = /([a-z]+\.mjs:\d+)/.exec((error.stack ?? "").split("\n").filter((line) => !line.includes("harness")).join("\n"))?.[1];
      console.log(`FAILED javascript ${name}: ${String(error.message ?? error).replaceAll("\n", " ").slice(0, 600)} (${place})`);
    }
  }
  console.log(`javascript: ${cases.length} cases, ${failed} failed, ${((Date.now() - start) / 1000).toFixed(1)} s`);
  process.exit(failed ? 1 : 0);
}
