// Enhances the pages; every one of them works without it.
"use strict";

(() => {
  const page = document.body.dataset.page;

  // A form is sent once: a second click while the first is on its way does
  // nothing, and nothing else takes the page elsewhere meanwhile. A page that
  // comes back from the browser's cache starts afresh.
  const leaving = () => document.querySelector("form[data-sent]") !== null;
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent !== undefined) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "";
    form.querySelector("button")?.setAttribute("aria-busy", "true");
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.querySelector("button")?.removeAttribute("aria-busy");
    }
  });

  // Submits a form by itself, unless nobody is looking at the page yet: then
  // when somebody does. A page that was fetched ahead keeps its button.
  const auto = document.querySelector("form[data-auto]");
  if (auto) {
    const [navigation] = performance.getEntriesByType("navigation");
    const ahead = navigation?.deliveryType === "navigational-prefetch";
    const back = navigation?.type === "back_forward";
    if (document.prerendering) {
      document.addEventListener("prerenderingchange", () => auto.requestSubmit(), { once: true });
    } else if (!ahead && !back) {
      auto.requestSubmit();
    }
  }

  // A page with frames goes on when all of them have loaded: that is when the
  // page itself has. The slowest of them is not waited for for long.
  const onward = document.querySelector("a[data-auto]");
  if (onward) {
    const go = () => {
      clearTimeout(late);
      window.removeEventListener("load", go);
      location.replace(onward.href);
    };
    const late = setTimeout(go, 5000);
    window.addEventListener("load", go);
  }

  // Countdowns run on the clock, not on ticks: a sleeping tab stays right.
  const loaded = performance.now();
  const clocks = [...document.querySelectorAll("[data-countdown]")].map((element) => ({
    element,
    end: loaded + Number(element.dataset.seconds) * 1000,
  }));
  const done = {
    resend: (element) => {
      const form = element.closest("form");
      const button = form.querySelector("button");
      button.disabled = false;
      button.removeAttribute("aria-describedby"); // what is hidden describes it still
      element.closest("[data-until]").hidden = true;
      for (const status of form.querySelectorAll("[data-ready]")) status.textContent = status.dataset.ready; // for who does not see the button change
    },
    expires: () => leaving() || location.replace("/login?wait=" + encodeURIComponent(wait)),
  };
  for (const { element } of clocks) {
    if (element.dataset.countdown === "resend") element.closest("form").querySelector("button").disabled = true;
  }
  const tick = () => {
    const now = performance.now();
    for (const clock of [...clocks]) {
      const left = Math.max(0, Math.ceil((clock.end - now) / 1000));
      clock.element.textContent = Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0");
      if (left === 0) {
        clocks.splice(clocks.indexOf(clock), 1);
        done[clock.element.dataset.countdown]?.(clock.element);
      }
    }
    if (clocks.length > 0) setTimeout(tick, 1000 - ((performance.now() - loaded) % 1000));
  };

  // The waiting tab asks how things stand: every two seconds at first, less
  // often as time goes by or when no answer comes, not at all while hidden. What
  // became of the mail is told once; that it is slow is not worth what somebody
  // has begun to type.
  const { wait, shows } = document.querySelector("[data-wait]")?.dataset ?? {};
  const typing = () => [...document.querySelectorAll("main input")].some((field) => field.value !== field.defaultValue);
  if (page === "sent" && wait) {
    const here = () => new URL("/login?wait=" + encodeURIComponent(wait), location.href);
    let timer = 0;
    let failures = 0;
    let asking = false;
    const again = (ms) => {
      clearTimeout(timer);
      if (!document.hidden && !leaving()) timer = setTimeout(ask, ms);
    };
    const pause = () => {
      if (failures > 0) return Math.min(30000, 2000 * 2 ** failures);
      return performance.now() - loaded < 180000 ? 2000 : 5000;
    };
    const ask = async () => {
      if (asking || leaving()) return;
      asking = true;
      let next = 0;
      try {
        const answer = await fetch("/login/status?wait=" + encodeURIComponent(wait), {
          headers: { Accept: "application/json" },
          cache: "no-store",
        });
        if (answer.ok) {
          failures = 0;
          const { location: to, mail } = await answer.json();
          const news = mail && mail !== shows && !(mail === "delayed" && typing());
          const target = to ? new URL(to, location.href) : news && here();
          if (target && target.origin === location.origin && !leaving()) {
            location.replace(target.href);
            return;
          }
        } else {
          failures += 1;
          next = Number(answer.headers.get("Retry-After")) * 1000 || 0;
        }
      } catch {
        failures += 1;
      } finally {
        asking = false;
      }
      again(Math.max(next, pause()));
    };
    window.addEventListener("pageshow", (event) => event.persisted && again(2000));
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
    again(2000);
  }
  tick();

  // A pasted code keeps its digits only, and those of an Arabic, Persian or
  // Japanese keyboard become the ones that the code is shown in.
  const code = document.querySelector("input[name=code]");
  const ascii = (text) => text.normalize("NFKC").replace(/[\u0660-\u0669\u06f0-\u06f9]/g, (d) => d.charCodeAt(0) & 15);
  for (const kind of ["input", "change"]) {
    code?.addEventListener(kind, (event) => {
      if (event.isComposing) return; // half a character
      const digits = ascii(code.value).replace(/\D/g, "").slice(0, 6);
      if (digits !== code.value) code.value = digits;
    });
  }
})();
