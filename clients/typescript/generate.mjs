// Writes the types of the client, and its table of operations, from the API description: node generate.mjs
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";

const HERE = new URL(".", import.meta.url).pathname;
const FOLDER = `${HERE}src/generated`;
const DESCRIPTION = [`${HERE}openapi.json`, `${HERE}../../openapi.json`].find(existsSync);
const NEW_TOKENS = new Set(["SignedIn", "OperatorSignedIn", "NewToken", "TotpConfirmed", "TokenResponse"]);
const FORM = "application/x-www-form-urlencoded";

const { paths, components } = JSON.parse(readFileSync(DESCRIPTION, "utf8"));
const nameOf = (schema) => schema?.$ref?.split("/").pop();

function describe(path, method, item) {
  const spec = item[method];
  const parameters = [...(item.parameters ?? []), ...(spec.parameters ?? [])].map((parameter) =>
    parameter.$ref ? components.parameters[nameOf(parameter)] : parameter,
  );
  const parameter = (name) => parameters.find((each) => each.name === name);
  const media = Object.keys(spec.requestBody?.content ?? {});
  const successes = Object.entries(spec.responses).filter(([status]) => status.startsWith("2"));
  const results = successes.map(([, response]) => nameOf(response.content?.["application/json"]?.schema));
  const types = successes.flatMap(([, response]) => Object.keys(response.content ?? {}));
  const page = results.length === 1 && components.schemas[results[0]]?.properties;
  const isList = Boolean(page?.items && page.next_cursor && parameter("cursor"));
  return {
    method: method.toUpperCase(),
    path,
    ...(parameter("Idempotency-Key") && { takesKey: true }),
    ...(spec.security?.length === 0 && { isOpen: true }),
    ...(results.some((name) => NEW_TOKENS.has(name)) && { hasToken: true }),
    ...(media.length > 0 && media[0] !== "application/json" && { sends: media[0] === FORM ? "form" : "bytes" }),
    ...(types.some((type) => type !== "application/json") && { returnsBytes: true }),
    ...(isList && { limit: parameter("limit").schema.maximum ?? 100 }),
  };
}

const operations = {};
for (const [path, item] of Object.entries(paths))
  for (const method of ["get", "put", "post", "patch", "delete"])
    if (path.startsWith("/v1/") && item[method]) operations[item[method].operationId] = describe(path, method, item);

const problems = Object.entries(components.schemas).flatMap(([name, schema]) => {
  const codes = schema.allOf?.find((part) => part.properties?.code?.enum)?.properties.code.enum ?? [];
  return codes.map((code) => `  ${code}: components["schemas"]["${name}"];`);
});

mkdirSync(FOLDER, { recursive: true });
execFileSync(`${HERE}node_modules/.bin/openapi-typescript`, [DESCRIPTION, "-o", `${FOLDER}/api.ts`], { stdio: "inherit" });
writeFileSync(
  `${FOLDER}/operations.ts`,
  `// Generated from the API description by generate.mjs.
import type { Operation } from "../client.js";
import type { components } from "./api.js";

export const OPERATIONS = {
${Object.entries(operations).map(([name, operation]) => `  ${name}: ${JSON.stringify(operation)},`).join("\n")}
} as const satisfies Record<string, Operation>;

/** The document of each problem code. */
export interface Problems {
${problems.join("\n")}
}
`,
);
