// dotenv, yaml, and Node.js itself: `read.mjs DIRECTORY`.
import { isDeepStrictEqual, parseEnv } from "node:util";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import dotenv from "dotenv";
import yaml from "yaml";

const directory = process.argv[2];
const group = (value) => ({ BEFORE: "before", KEY: value, AFTER: "after" });
let failed = false;

function check(reader, format, read, wanted = group) {
  const names = readdirSync(join(directory, format)).sort();
  for (const name of names) {
    const value = readFileSync(join(directory, "expected", name), "utf8");
    let found;
    try {
      found = read(readFileSync(join(directory, format, name), "utf8"));
    } catch (error) {
      found = error.message;
    }
    if (!isDeepStrictEqual(typeof found === "string" ? found : { ...found }, wanted(value))) {
      failed = true;
      console.log(`${reader}: ${format} ${name}: ${JSON.stringify(value).slice(0, 40)} was read as ${JSON.stringify(found).slice(0, 200)}`);
    }
  }
  console.log(`${reader}: ${format}: ${names.length} read`);
}

check("dotenv for Node.js", "dotenv", dotenv.parse);
check("Node.js parseEnv", "dotenv", parseEnv);
check("yaml for Node.js", "yaml", (text) => yaml.parse(text));
check("Node.js JSON", "json", JSON.parse);
check("Node.js decodeURIComponent", "url", decodeURIComponent, (value) => value);
process.exitCode = failed ? 1 : 0;
