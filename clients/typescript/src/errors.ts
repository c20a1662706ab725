import { retryAfterS } from "./retries.js";
import type { Problems } from "./generated/operations.js";

/** The service refused the call, or something in front of it did. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  /** The stable code of the problem; undefined if the response is not the service's. */
  readonly code: string | undefined;
  readonly detail: string;
  readonly requestId: string | undefined;
  /** The sentences for each invalid field. */
  readonly errors: Record<string, string[]>;
  /** How long to wait, in seconds, if the response says so. */
  readonly retryAfterS: number | undefined;

  constructor(
    response: Response,
    /** The problem document. */
    readonly problem: Record<string, any>,
  ) {
    const code = problem.code ?? problem.error;
    const detail = problem.detail ?? problem.error_description ?? response.statusText;
    super(`${response.status} ${code ?? ""}: ${detail} (${response.headers.get("X-Request-Id")})`);
    this.status = response.status;
    this.code = code;
    this.detail = detail;
    this.requestId = response.headers.get("X-Request-Id") ?? undefined;
    this.errors = problem.errors ?? {};
    this.retryAfterS = retryAfterS(response);
  }

  /** Whether an error is the refusal with this code, whose `problem` then has its members. */
  static is<Code extends keyof Problems>(error: unknown, code: Code): error is ApiError & { problem: Problems[Code] } {
    return error instanceof ApiError && error.code === code;
  }
}

/** No response was received; `cause` says why. The request may have had an effect unless it has a key. */
export class NoResponseError extends Error {
  override name = "NoResponseError";
}

/** Return the problem document of a response, or the error of OAuth; empty for anything else. */
export function readProblem(bytes: ArrayBuffer): Record<string, any> {
  try {
    const problem = JSON.parse(new TextDecoder().decode(bytes));
    return problem && typeof problem === "object" ? problem : {};
  } catch {
    return {};
  }
}
