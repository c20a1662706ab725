// One stream: its heartbeats, its playback token, and how it ends.
import { api } from "./api.js";

// `now()` returns {position_s, duration_s, state} of the player. `onEnd(reason)` is called when the service ends the
// stream, `onAsk()` when it asks whether anybody is still watching, `onLimits(limits)` with how many screens play.
export function keepAlive(stream, { now, onEnd, onAsk, onLimits, onError }) {
  let grant = stream.grant,
    over = false,
    interactionAt = new Date();
  const send = async (state, options) => {
    if (over) return;
    over = ["stopped", "ended"].includes(state);
    const { position_s, duration_s } = now(),
      at = new Date();
    const body = {
      position_s,
      state,
      at: at.toISOString(),
      ...(Number.isFinite(duration_s) && duration_s >= 1 && { duration_s }),
      interaction_at: interactionAt.toISOString(),
    };
    try {
      const payload = await api("POST", `/playback/${stream.stream_id}/heartbeat`, body, { quiet: true, ...options });
      if (payload.grant) grant = payload.grant;
      onLimits(payload);
      if (payload.ask === "still_watching") onAsk();
    } catch (error) {
      if (over) return; // nobody is on this page any more
      if (error.code !== "stream_ended") return void onError(error);
      close();
      onEnd(error.reason);
    }
  };
  const timer = setInterval(() => send(now().state), stream.heartbeat.interval_s * 1000);
  const stop = () => send("stopped", { keepalive: true });
  const close = () => {
    over = true;
    clearInterval(timer);
    removeEventListener("pagehide", stop);
  };
  addEventListener("pagehide", stop);
  return {
    send,
    token: () => grant.token,
    noteInteraction: () => (interactionAt = new Date()),
    leave: () => {
      stop();
      close();
    },
    close,
  };
}
