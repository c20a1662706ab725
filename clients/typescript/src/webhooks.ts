/** An event of the service. */
export interface WebhookEvent {
  type: string;
  timestamp: string;
  data: Record<string, any>;
}

/** The request is not a webhook of the service, or too old: respond with 400, and do nothing else. */
export class WebhookError extends Error {
  override name = "WebhookError";
}

/**
 * Return the event in a webhook's body, once its signature is checked (Standard Webhooks). Throws WebhookError.
 *
 * `secrets`: the endpoint's (`whsec_…`), or several while one is replaced. `body`: as it was received, not parsed.
 * `toleranceS`: by how many seconds the webhook's time may differ from the clock here.
 */
export async function verifyWebhook(
  secrets: string | string[],
  headers: Headers | Record<string, string | string[] | undefined>,
  body: string | Uint8Array,
  toleranceS = 300,
): Promise<WebhookEvent> {
  const entries = headers instanceof Headers ? [...headers] : Object.entries(headers);
  const sent = new Map(entries.map(([name, value]) => [name.toLowerCase(), String(value)]));
  const id = sent.get("webhook-id");
  const timestamp = sent.get("webhook-timestamp") ?? "";
  const signatures = (sent.get("webhook-signature") ?? "").split(" ").filter((each) => each.startsWith("v1,"));
  if (!id || !/^\d+$/.test(timestamp) || signatures.length === 0)
    throw new WebhookError("a header is missing or malformed");
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > toleranceS)
    throw new WebhookError("the timestamp is too far from the clock");

  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const prefix = new TextEncoder().encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(prefix.length + bytes.length);
  signed.set(prefix);
  signed.set(bytes, prefix.length);
  for (const secret of [secrets].flat()) {
    const raw = decode(secret.replace(/^whsec_/, ""));
    const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of signatures)
      if (await crypto.subtle.verify("HMAC", key, tryToDecode(signature.slice(3)), signed))
        return JSON.parse(new TextDecoder().decode(bytes)) as WebhookEvent;
  }
  throw new WebhookError("no signature matches");
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function tryToDecode(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return decode(base64);
  } catch {
    return new Uint8Array();
  }
}
