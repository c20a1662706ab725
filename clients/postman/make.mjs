// Makes streamsvc.postman_collection.json from the API description: node make.mjs [openapi.json]
//
// Requests stand in folders by area, with the examples of the description as bodies. They use the collection's variables:
// `baseUrl`, and `token`, which signing up and signing in set. Each call that takes an idempotency key gets a new one.
import { readFileSync, writeFileSync } from "node:fs";
import converter from "openapi-to-postmanv2";

const HERE = new URL(".", import.meta.url).pathname;
const DESCRIPTION = process.argv[2] ?? `${HERE}../../openapi.json`;
const OPTIONS = {
  folderStrategy: "Tags",
  parametersResolution: "Example",
  requestNameSource: "Fallback",
  alwaysInheritAuthentication: true,
  includeAuthInfoInExample: false,
  enableOptionalParameters: false,
};
const KEEP_TOKEN = [
  "if (pm.response.headers.get('Content-Type')?.startsWith('application/json')) {",
  "  const { token } = pm.response.json();",
  "  if (token?.startsWith('sst_')) pm.collectionVariables.set('token', token);",
  "}",
];

function convert(description) {
  return new Promise((resolve, reject) =>
    converter.convertV2({ type: "string", data: description }, OPTIONS, (error, result) =>
      error || !result.result ? reject(error ?? new Error(result.reason)) : resolve(result.output[0].data),
    ),
  );
}

function prepare(items) {
  for (const item of items) {
    if (item.item) prepare(item.item);
    else {
      delete item.response; // the examples of all errors: most of the collection's size
      for (const header of item.request.header ?? [])
        if (header.key === "Idempotency-Key") Object.assign(header, { value: "{{$guid}}", disabled: false });
    }
  }
}

const collection = await convert(readFileSync(DESCRIPTION, "utf8"));
prepare(collection.item);
collection.auth = { type: "bearer", bearer: [{ key: "token", value: "{{token}}", type: "string" }] };
collection.variable = [
  { key: "baseUrl", value: "http://127.0.0.1:8000" },
  { key: "token", value: "" },
];
collection.event = [{ listen: "test", script: { type: "text/javascript", exec: KEEP_TOKEN } }];
const file = "streamsvc.postman_collection.json";
writeFileSync(file, JSON.stringify(collection, null, 1));
console.log(`${file}: ${collection.item.length} folders`);
