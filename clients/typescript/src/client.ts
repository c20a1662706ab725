import { ApiError, NoResponseError, readProblem } from "./errors.js";
import { mayRepeat, waitS } from "./retries.js";
import type { operations } from "./generated/api.js";
import { OPERATIONS } from "./generated/operations.js";

/** An operation of the description: see generate.mjs. */
export interface Operation {
  method: string;
  path: string;
  takesKey?: true;
  isOpen?: true;
  hasToken?: true;
  sends?: "form" | "bytes";
  returnsBytes?: true;
  /** Of a list: the most items per page. */
  limit?: number;
}

type Table = typeof OPERATIONS;
export type Name = keyof Table & keyof operations;
export type ListName = { [N in Name]: Table[N] extends { limit: number } ? N : never }[Name];

type ParametersOf<N extends Name, Place extends "path" | "query"> = operations[N]["parameters"][Place];
type Successes<N extends Name> = operations[N]["responses"] extends infer All
  ? All[Extract<keyof All, 200 | 201 | 202 | 204>]
  : never;
type BodyOf<Response> = Response extends { content: infer Content }
  ? Content extends { "application/json": infer Json }
    ? Json | (Exclude<keyof Content, "application/json"> extends never ? never : ArrayBuffer)
    : ArrayBuffer
  : undefined;

/** What an operation returns: its JSON document, the bytes of anything else, or undefined. */
export type Result<N extends Name> = BodyOf<Successes<N>>;
/** The items of a list. */
export type Item<N extends ListName> = Result<N> extends { items: (infer T)[] } ? T : never;

type Path<N extends Name> = ParametersOf<N, "path"> extends object ? { path: ParametersOf<N, "path"> } : unknown;
type Query<N extends Name> =
  NonNullable<ParametersOf<N, "query">> extends never
    ? unknown
    : undefined extends ParametersOf<N, "query">
      ? { query?: ParametersOf<N, "query"> }
      : { query: ParametersOf<N, "query"> };
type Body<N extends Name> = Table[N] extends { sends: "bytes" }
  ? { body: BodyInit; contentType: string }
  : operations[N] extends { requestBody: { content: infer Content } }
    ? { body: Content[keyof Content] }
    : unknown;

interface Extras {
  /** Makes the request safe to retry. Default: a new one for each call that takes one. */
  idempotencyKey?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** The path, query and body of an operation, and what else a call may have. */
export type Arguments<N extends Name> = Path<N> & Query<N> & Body<N> & Extras;
type Rest<N extends Name> = Extras extends Arguments<N> ? [args?: Arguments<N>] : [args: Arguments<N>];
type Operations = { [N in Name]: (...args: Rest<N>) => Promise<Result<N>> };

export interface ClientOptions {
  /** Where the service is, without `/v1`; in a browser on the same origin: "". */
  baseUrl: string;
  /** A session's token or an API key. */
  token?: string;
  /** Returns a new token when the one in use has expired; the call is then sent again. */
  renewToken?: () => Promise<string>;
  /** Gets each new token, to be stored. */
  onToken?: (token: string) => void;
  /** How often a failed call is repeated, if that is safe. Default: 3. */
  maxRetries?: number;
  /** The longest wait in seconds: a response that asks for more is final. Default: 60. */
  maxWaitS?: number;
  /** How long an attempt may take, in seconds. Default: 30. */
  timeoutS?: number;
  /** `include` for a session in a cookie of another origin. */
  credentials?: RequestCredentials;
}

interface Call {
  path?: Record<string, string>;
  query?: Record<string, unknown>;
  body?: unknown;
  contentType?: string;
  idempotencyKey?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Calls the service: a method per operation of the description, and those below. */
export class Client {
  /** The token that is sent. */
  token: string | undefined;
  /** Of a session in a cookie; sent with whatever changes something. */
  csrfToken: string | undefined;
  readonly #options: ClientOptions;
  #renewal: Promise<string> | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.token = options.token;
  }

  /** Call an operation by its name. Throws ApiError and NoResponseError. */
  async call<N extends Name>(name: N, ...[args]: Rest<N>): Promise<Result<N>> {
    const operation: Operation = OPERATIONS[name];
    const { response, bytes } = await this.#send(operation, args ?? {});
    if (!bytes.byteLength) return undefined as Result<N>;
    if (response.headers.get("Content-Type")?.split(";")[0] !== "application/json") {
      if (operation.returnsBytes) return bytes as Result<N>;
      throw new ApiError(response, { detail: "The response is not JSON, so it is not the service's." });
    }
    const result = JSON.parse(new TextDecoder().decode(bytes));
    this.csrfToken = result?.csrf_token ?? this.csrfToken;
    const token = operation.hasToken && (result?.token ?? result?.access_token);
    if (token) this.#adopt(token);
    return result;
  }

  /** Iterate over the items of all pages of a list, which are fetched when needed. */
  async *iterate<N extends ListName>(name: N, ...[args]: Rest<N>): AsyncGenerator<Item<N>, void> {
    const given: Call = args ?? {};
    let cursor: string | null | undefined;
    do {
      const query = { limit: OPERATIONS[name].limit, ...given.query, cursor: cursor ?? undefined };
      const result: unknown = await this.call(name, ...([{ ...given, query }] as unknown as Rest<N>));
      const page = result as { items: Item<N>[]; next_cursor: string | null };
      yield* page.items;
      cursor = page.next_cursor;
    } while (cursor);
  }

  async #send(operation: Operation, args: Call): Promise<{ response: Response; bytes: ArrayBuffer }> {
    const { renewToken, maxRetries = 3, maxWaitS = 60, timeoutS = 30 } = this.#options;
    const key = args.idempotencyKey ?? (operation.takesKey && crypto.randomUUID());
    const { method } = operation;
    let mayRenew = renewToken !== undefined && !operation.isOpen;
    for (let attempt = 0; ; attempt++) {
      const token = this.token;
      const [url, init] = this.#build(operation, args, key || undefined);
      const timeout = AbortSignal.timeout(timeoutS * 1000);
      let failure: ApiError | NoResponseError;
      try {
        const signal = args.signal ? AbortSignal.any([args.signal, timeout]) : timeout;
        const response = await fetch(url, { ...init, signal });
        const bytes = await response.arrayBuffer();
        if (response.ok || response.status === 304) return { response, bytes };
        failure = new ApiError(response, readProblem(bytes));
      } catch (error) {
        if (args.signal?.aborted) throw error;
        failure = new NoResponseError("no response", { cause: error });
      }
      const refusal = failure instanceof ApiError ? failure : undefined;
      if (mayRenew && token && refusal?.code === "not_signed_in") {
        mayRenew = false;
        await this.#renew(token);
        attempt--;
        continue;
      }
      const wait = waitS(attempt, refusal?.retryAfterS);
      const outcome = { method, hasKey: Boolean(key), status: refusal?.status, code: refusal?.code };
      if (attempt >= maxRetries || wait > maxWaitS || !mayRepeat(outcome)) throw failure;
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    }
  }

  #build(operation: Operation, args: Call, key: string | undefined): [string, RequestInit] {
    const { baseUrl, credentials } = this.#options;
    const path = operation.path.replace(/{(\w+)}/g, (_, name) => encodeId(args.path?.[name]));
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(args.query ?? {}))
      if (value !== undefined && value !== null) query.set(name, String(value));
    const headers = new Headers(args.headers);
    if (this.token && !operation.isOpen) headers.set("Authorization", `Bearer ${this.token}`);
    if (this.csrfToken && operation.method !== "GET") headers.set("X-CSRF-Token", this.csrfToken);
    if (key) headers.set("Idempotency-Key", key);
    if (args.contentType) headers.set("Content-Type", args.contentType);
    let body = args.body as BodyInit | undefined;
    if (operation.sends === "form") body = new URLSearchParams(args.body as Record<string, string>);
    else if (operation.sends !== "bytes" && args.body !== undefined) {
      headers.set("Content-Type", "application/json");
      body = JSON.stringify(args.body);
    }
    const url = `${baseUrl}${path}${query.size ? `?${query}` : ""}`;
    return [url, { method: operation.method, headers, body, credentials }];
  }

  /** Replace an expired token. Calls that expire together share one renewal. */
  async #renew(expired: string): Promise<void> {
    if (this.token !== expired) return;
    this.#renewal ??= this.#options.renewToken!().finally(() => (this.#renewal = undefined));
    const token = await this.#renewal;
    if (this.token === expired) this.#adopt(token);
  }

  #adopt(token: string): void {
    this.token = token;
    this.#options.onToken?.(token);
  }
}

export interface Client extends Operations {}

/** Return an id for a path. One that would lead to another path is an error. */
function encodeId(value: string | undefined): string {
  if (!value || value === "." || value === "..") throw new RangeError(`${JSON.stringify(value)} is not an id`);
  return encodeURIComponent(value);
}

for (const name of Object.keys(OPERATIONS) as Name[])
  Object.defineProperty(Client.prototype, name, {
    value(this: Client, ...args: Rest<Name>) {
      return this.call(name, ...args);
    },
  });
