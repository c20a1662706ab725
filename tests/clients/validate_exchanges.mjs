// Validates recorded exchanges against the API description: node validate_exchanges.mjs openapi.json FOLDER
// FOLDER has the files that tests/worlds/described_client.py writes.
import { createReadStream, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [descriptionFile, folder] = process.argv.slice(2);
const description = JSON.parse(readFileSync(descriptionFile, "utf8"));
const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema({ $id: "description", ...description });
ajv.addSchema({ $id: "selected", ...withoutRequired(description) });

// `fields` leaves members out, also required ones, and then more than one kind of a list's items may match.
function withoutRequired(node) {
  if (Array.isArray(node)) return node.map(withoutRequired);
  if (node === null || typeof node !== "object") return node;
  const kept = Object.entries(node).filter(([key, value]) => !(key === "required" && Array.isArray(value)));
  return Object.fromEntries(kept.map(([key, value]) => [key === "oneOf" ? "anyOf" : key, withoutRequired(value)]));
}

const operations = new Map();
for (const item of Object.values(description.paths))
  for (const operation of Object.values(item)) if (operation.operationId) operations.set(operation.operationId, operation);

for (const name of Object.keys(description.components.schemas))
  ajv.compile({ $ref: `description#/components/schemas/${name}` });

const validators = new Map();
function validatorOf(content, key, selects) {
  if (!validators.has(key)) {
    const [schema, id] = selects ? [withoutRequired(content.schema), "selected"] : [content.schema, "description"];
    const text = JSON.stringify(schema).replaceAll('"#/components/', `"${id}#/components/`);
    validators.set(key, ajv.compile(JSON.parse(text)));
  }
  return validators.get(key);
}

function describedResponse(operation, status) {
  const response = operation.responses[status] ?? operation.responses.default;
  return response.$ref ? description.components.responses[response.$ref.split("/").pop()] : response;
}

let checked = 0;
const failures = new Map();
function check(content, key, value, selects = false) {
  if (!content?.schema) return;
  const validate = validatorOf(content, selects ? `${key} with fields` : key, selects);
  checked += 1;
  if (!validate(value)) failures.set(key, { errors: ajv.errorsText(validate.errors), value });
}

for (const name of readdirSync(folder))
  for await (const line of createInterface({ input: createReadStream(join(folder, name)) })) {
    const exchange = JSON.parse(line.replaceAll("NaN","null").replaceAll("Infinity","null"));
    const operation = operations.get(exchange.operation);
    const described = describedResponse(operation, exchange.status);
    const selects = exchange.status === 200 && "fields" in exchange.parameters;
    if (exchange.response !== null)
      check(described.content?.[exchange.type], `${exchange.operation} ${exchange.status} ${exchange.type}`, exchange.response, selects);
    if (exchange.request !== null && exchange.status < 300)
      check(operation.requestBody?.content?.["application/json"], `${exchange.operation} request`, exchange.request);
  }

for (const [key, { errors, value }] of failures)
  console.log(`${key}: ${errors.slice(0, 500)}\n  ${JSON.stringify(value).slice(0, 500)}`);
console.log(`AJV: ${checked} bodies of ${validators.size} kinds validated, ${failures.size} kinds with a mismatch`);
process.exit(failures.size || !checked ? 1 : 0);
