// A double of Stripe.js for the browser tests: the Payment Element, setups, and the bank's window, all in frames of
// Stripe's hosts. It refuses what Stripe.js refuses. Written from the types of @stripe/stripe-js 10.2.1 (release endive,
// 2026-10) and https://docs.stripe.com/js, 2026-11.
(() => {
  const ELEMENTS_OPTIONS = ["mode", "currency", "amount", "setupFutureUsage", "allowedPaymentMethodTypes", "appearance", "locale", "clientSecret", "fonts", "loader"];
  const PAYMENT_OPTIONS = ["wallets", "layout", "defaultValues", "fields", "terms", "business"];
  const THEMES = ["stripe", "night", "flat"];
  function check(condition, message) { if (!condition) throw Object.assign(new Error(message), { name: "IntegrationError" }); }
  function checkOptions(options, known, call) {
    for (const name of Object.keys(options)) check(known.includes(name), `Unrecognized ${call} parameter: ${name}.`);
  }
  async function call(path, body, key) {
    const response = await fetch(`https://api.stripe.com/v1/${path}`, { method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "text/plain" }, body: JSON.stringify(body) });
    return response.json();
  }
  function frame(url, title, parent) {
    const element = document.createElement("iframe");
    element.src = url;
    element.title = title;
    parent.append(element);
    return element;
  }
  function nextMessage(source, type) {
    return new Promise((resolve) => addEventListener("message", function listen({ data, source: from }) {
      if (from !== source.contentWindow || data.type !== type) return;
      removeEventListener("message", listen);
      resolve(data);
    }));
  }
  async function openBank(intentId, key) {
    const bank = frame(`https://hooks.stripe.com/3d_secure_2/authenticate?intent=${intentId}`, "Bank", document.body);
    const { approved } = await nextMessage(bank, "authenticated");
    bank.remove();
    return call("authenticate", { intent: intentId, approved }, key);
  }

  class Element {
    constructor() { this.handlers = {}; this.number = ""; }
    on(name, handler) { (this.handlers[name] ??= []).push(handler); return this; }
    emit(name, data) { for (const handler of this.handlers[name] ?? []) handler(data); }
    mount(target) {
      const node = typeof target === "string" ? document.querySelector(target) : target;
      check(node?.isConnected, "The DOM element that you want to mount into does not exist in the page.");
      check(!this.frame, "This Element is already mounted.");
      this.frame = frame("https://js.stripe.com/elements-inner-payment.html", "Secure payment input frame", node);
      addEventListener("message", ({ data, source }) => {
        if (source !== this.frame.contentWindow) return;
        if (data.type === "ready") this.emit("ready");
        if (data.type === "change") this.number = data.number;
      });
    }
  }

  class Elements {
    constructor(options) {
      checkOptions(options, ELEMENTS_OPTIONS, "elements()");
      check(!(options.mode && options.clientSecret), "You cannot pass both `mode` and `clientSecret` to elements().");
      check(options.mode || options.clientSecret, "elements() needs a `mode` or a `clientSecret`.");
      check([undefined, "payment", "setup", "subscription"].includes(options.mode), "Invalid value for elements(): mode.");
      if (options.mode && options.mode !== "setup") check(Number.isInteger(options.amount) && options.currency, `elements() in mode ${options.mode} needs amount and currency.`);
      if (options.mode === "setup") check(options.amount === undefined, "elements() in mode setup takes no amount.");
      if (options.currency) check(/^[a-z]{3}$/.test(options.currency), "Invalid value for elements(): currency must be three lower-case letters.");
      if (options.appearance) {
        checkOptions(options.appearance, ["theme", "variables", "rules", "labels"], "appearance");
        check(THEMES.includes(options.appearance.theme), "Invalid value for appearance.theme.");
        for (const [name, value] of Object.entries(options.appearance.variables)) check(value && !value.includes("var("), `Invalid value for appearance.variables.${name}: ${value}`);
      }
      this.options = options;
    }
    create(type, options = {}) {
      check(type === "payment", `Unknown Element: ${type}.`);
      checkOptions(options, PAYMENT_OPTIONS, "create()");
      for (const wallet of Object.values(options.wallets ?? {})) check(["auto", "never"].includes(wallet), "Invalid value for wallets.");
      check(!this.element, "Can only create one Element of type payment.");
      return (this.element = new Element());
    }
    async submit() {
      check(this.element?.frame, "elements.submit() needs a mounted Payment Element.");
      if (!/^\d{16}$/.test(this.element.number)) return { error: { type: "validation_error", code: "incomplete_number", message: "Your card number is incomplete." } };
      this.submitted = true;
      return {};
    }
  }

  window.Stripe = function Stripe(key) {
    check(typeof key === "string" && key, "Missing value for Stripe(): apiKey should be a string.");
    check(!/^(sk|rk)_/.test(key), "You should not use your secret key with Stripe.js.");
    check(/^pk_(test|live)_\w+$/.test(key), `Invalid API Key provided: ${key}`);
    window.stripeCalls = [];
    return {
      elements(options = {}) { window.stripeCalls.push(["elements", options]); return new Elements(options); },
      async confirmSetup({ elements, clientSecret, confirmParams, redirect = "always", ...rest }) {
        window.stripeCalls.push(["confirmSetup", { clientSecret, confirmParams, redirect }]);
        checkOptions(rest, [], "confirmSetup()");
        check(elements instanceof Elements, "confirmSetup() needs `elements`.");
        check(/^seti_\w+_secret_\w+$/.test(clientSecret), `Invalid value for confirmSetup(): clientSecret ${clientSecret}`);
        check(["always", "if_required"].includes(redirect), "Invalid value for confirmSetup(): redirect.");
        check(/^https?:\/\//.test(confirmParams?.return_url), "confirmSetup() needs an absolute return_url.");
        check(elements.submitted, "You must call elements.submit() before stripe.confirmSetup().");
        elements.submitted = false;
        const intent = clientSecret.split("_secret_")[0];
        const { mode, currency, setupFutureUsage = "off_session", allowedPaymentMethodTypes } = elements.options;
        let result = await call("confirm", { intent, number: elements.element.number, mode, currency, setupFutureUsage, allowedPaymentMethodTypes }, key);
        if (result.setupIntent?.status === "requires_action") result = await openBank(intent, key);
        return result;
      },
      async handleNextAction({ clientSecret, ...rest }) {
        window.stripeCalls.push(["handleNextAction", { clientSecret }]);
        checkOptions(rest, [], "handleNextAction()");
        check(/^(pi|seti)_\w+_secret_\w+$/.test(clientSecret), `Invalid value for handleNextAction(): clientSecret ${clientSecret}`);
        return openBank(clientSecret.split("_secret_")[0], key);
      },
    };
  };
})();
