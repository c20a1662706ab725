const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 8;
const BUSY = new Set([429, 500, 502, 503, 504]);
const REPEATABLE_METHODS = new Set(["GET", "PUT", "DELETE"]);

/** What came of an attempt; without a status, no response. */
export interface Outcome {
  method: string;
  hasKey: boolean;
  status?: number;
  code?: string | undefined;
  retryAfterS?: number | undefined;
}

/** Whether the request acts once even if it is sent again, and might succeed. */
export function mayRepeat({ method, hasKey, status, code }: Outcome): boolean {
  if (status === 409) return code === "idempotency_key_in_use";
  const isRepeatable = REPEATABLE_METHODS.has(method) || hasKey;
  return status === 429 || (isRepeatable && (status === undefined || BUSY.has(status)));
}

/** Return how many seconds to wait before the attempt after this one (from 0). */
export function waitS(attempt: number, retryAfterS = 0): number {
  const backOff = (0.5 + Math.random() / 2) * Math.min(FIRST_WAIT_S * 2 ** attempt, LONGEST_WAIT_S);
  return Math.max(backOff, retryAfterS);
}

/** Return the wait that Retry-After asks for, in seconds or until a date. */
export function retryAfterS(response: Response): number | undefined {
  const value = response.headers.get("Retry-After") ?? "";
  if (/^\d+$/.test(value)) return Number(value);
  const until = Date.parse(value);
  return Number.isNaN(until) ? undefined : Math.max(0, (until - Date.now()) / 1000);
}
