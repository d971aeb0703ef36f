// Azure's clients for JavaScript, unmodified, against vault-emulator.

import { run } from "./harness.mjs";
import "./identity.mjs";
import "./secrets.mjs";
import "./keys.mjs";
import "./certificates.mjs";

await run();
