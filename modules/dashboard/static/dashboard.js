// Keeps a page live: receives its content, shows how old each source is, and goes to the next
// active manager when this one is gone. The pages can be read and used without it.
"use strict";
(() => {
  const SILENT_MS = 1600; // the server sends twice a second
  const STALE_S = 6;
  const ASK_MS = 120; // pause between two rounds of asking who leads
  const ANSWER_MS = 700;
  const ALONE_S = 3; // from then on the page goes where a standby redirects it
  const REFUSED_MS = 1000; // pause before a stream that was refused is asked for again
  const RELOAD_MS = 5000; // a page is at least so old when it loads itself again
  const body = document.body;
  const link = document.getElementById("link");
  const linkText = document.getElementById("link-text");
  const notices = document.getElementById("notices");

  // The origins that the content security policy of this page permits.
  const peers = new Set(body.dataset.peers.split(" ").filter(Boolean));
  let asked = peers; // those of them that are still there
  let sources = {};
  let ticket = "";
  let offset = Number(body.dataset.now) - Date.now() / 1000; // the manager's clock minus ours
  let heard = performance.now();
  let stream = null;
  let searching = false;
  let ticked = false; // whether the present stream has said anything

  // -- ages ---------------------------------------------------------------------------------

  const now = () => Date.now() / 1000 + offset;

  function ago(seconds) {
    if (seconds < 1.5) return "now";
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    for (let n = 0; n < units.length; n += 1) {
      const [size, name] = units[n];
      if (seconds < size && size > 1) continue;
      const count = Math.floor(seconds / size);
      const next = units[n + 1];
      const rest = next && count < 10 ? Math.floor((seconds - count * size) / next[0]) : 0;
      return rest ? `${count} ${name} ${rest} ${next[1]} ago` : `${count} ${name} ago`;
    }
    return "now";
  }

  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function refreshAges() {
    for (const node of document.querySelectorAll("time[data-ago]")) {
      if (node.dataset.ago) setText(node, ago(now() - Number(node.dataset.ago)));
    }
    for (const node of document.querySelectorAll("[data-source]")) {
      const known = sources[node.dataset.source];
      const age = node.querySelector("[data-source-age]");
      if (!known || !age) continue;
      const seconds = now() - known[0];
      setText(age, ago(seconds));
      const section = node.closest("section");
      if (section) section.classList.toggle("stale", seconds > Math.max(STALE_S, known[1]));
    }
  }

  // -- live content -------------------------------------------------------------------------

  function replaceMain(html) {
    const main = document.getElementById("main");
    Idiomorph.morph(main, html, {
      morphStyle: "innerHTML",
      ignoreActiveValue: true,
      callbacks: {
        beforeNodeMorphed: (old) => !(old.nodeType === 1 && keeps(old)),
        beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
      },
    });
    htmx.process(main);
    refreshAges();
  }

  // What a person is changing is left alone: a form in use, and what says so itself.
  const keeps = (node) => node.hasAttribute("data-keep") || node.dataset.changed === "yes";

  function connect() {
    if (stream) stream.close();
    heard = performance.now();
    const opened = new EventSource(`/live${location.pathname}${location.search}`);
    stream = opened;
    ticked = false;
    opened.addEventListener("tick", (event) => {
      if (opened !== stream) return;
      heard = performance.now();
      const tick = JSON.parse(event.data);
      offset = tick.now - Date.now() / 1000;
      sources = tick.sources;
      if (tick.ticket) ticket = tick.ticket;
      ticked = true;
      asked = new Set(tick.peers.filter((peer) => peers.has(peer)));
      if (tick.peers.some((peer) => !peers.has(peer))) reloadIfUnused();
      showLink(tick.current ? "on" : "lost", tick.current ? "live" : "etcd does not answer this manager");
      refreshAges();
    });
    opened.addEventListener("main", (event) => {
      if (opened === stream) replaceMain(JSON.parse(event.data));
    });
    // To sign in again, or to read that this page may not be seen any more.
    opened.addEventListener("gone", () => setTimeout(() => location.reload(), RELOAD_MS - performance.now()));
    opened.addEventListener("bye", () => search());
    opened.onerror = () => search();
  }

  // A manager that came later may lead next, and only a new page may ask it: the policy of this one
  // does not name it. Not while somebody works here, waits for an answer, or reads one.
  function reloadIfUnused() {
    const used = "form[data-changed], [data-keep] :focus, .htmx-request, #notices > *";
    const line = document.getElementById("line");
    const working = document.querySelector(used) || (line && line.value) || ran.length;
    if (!working && performance.now() > RELOAD_MS) location.reload();
  }

  function showLink(kind, text) {
    link.className = `link ${kind}`;
    setText(linkText, text);
    body.classList.toggle("lost", kind === "lost");
  }

  function notice(text, kind) {
    const shown = document.createElement("p");
    shown.className = `notice ${kind || ""}`;
    shown.textContent = text;
    notices.append(shown);
  }

  // -- the next active ------------------------------------------------------------------------

  async function where(origin) {
    try {
      const answer = await fetch(`${origin}/where`, {
        cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(ANSWER_MS),
      });
      return { ...(await answer.json()), origin };
    } catch {
      return { origin, serving: false };
    }
  }

  // Return the active's answer as soon as it is there, else that of a standby that names an active
  // which could not be asked. One that was asked and did not answer is no reason to go anywhere: a
  // standby names it until it knows of the next.
  async function whoLeads() {
    const answers = [location.origin, ...asked].map(where);
    const serving = answers.map(async (answer) => {
      if (!(await answer).serving) throw new Error("not serving");
      return answer;
    });
    try {
      return await Promise.any(serving);
    } catch {
      const known = new Set([location.origin, body.dataset.published, ...asked]);
      const named = ({ active }) => active && !known.has(active.replace(/\/+$/, ""));
      return (await Promise.all(answers)).find(named);
    }
  }

  async function search() {
    if (searching) return;
    searching = true;
    if (stream) stream.close();
    stream = null;
    const began = performance.now();
    showLink("lost", `mgr.${body.dataset.manager} does not answer`);
    while (true) {
      const found = await whoLeads();
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      if (found && found.serving && found.origin === location.origin
          && String(found.term) === body.dataset.term) {
        if (!ticked) await new Promise((resume) => setTimeout(resume, REFUSED_MS));
        searching = false;
        return connect();
      }
      if (found && found.serving) return goTo(found.origin, seconds, ticket);
      if (found && seconds > ALONE_S) return goTo(found.origin, seconds, "");
      showLink("lost", `no active manager found for ${seconds} s`);
      await new Promise((resume) => setTimeout(resume, ASK_MS));
    }
  }

  // With a ticket the session goes on there. A standby takes none: it redirects to the active.
  function goTo(origin, seconds, ticket) {
    const said = new URLSearchParams({ from: body.dataset.manager, after: seconds });
    const target = `${location.pathname}${location.search}`;
    if (!ticket || origin === location.origin) {
      location.replace(`${origin}${target}#${said}`);
      if (origin === location.origin) location.reload();
      return;
    }
    const form = document.createElement("form");
    form.method = "post";
    form.action = `${origin}/continue`;
    for (const [name, value] of Object.entries({ ticket, target, said: String(said) })) {
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = name;
      field.value = value;
      form.append(field);
    }
    body.append(form);
    form.submit();
  }

  function sayWhereFrom() {
    const said = new URLSearchParams(location.hash.slice(1));
    const from = said.get("from");
    if (!from) return;
    history.replaceState(null, "", `${location.pathname}${location.search}`);
    notice(from === body.dataset.manager
      ? `mgr.${from} leads again, after ${said.get("after")} s.`
      : `mgr.${body.dataset.manager} leads now. This page went on here from mgr.${from} after ${said.get("after")} s.`);
  }

  // -- forms and keys ---------------------------------------------------------------------------

  document.addEventListener("input", (event) => {
    const form = event.target.closest("form");
    if (form && form.closest("main")) form.dataset.changed = "yes";
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = event.target.closest("form");
    if (form) delete form.dataset.changed;
  });
  document.addEventListener("htmx:sendError", () => search());
  document.addEventListener("htmx:beforeSwap", (event) => {
    // A refusal is shown like any other answer.
    if (event.detail.xhr.status >= 400) event.detail.shouldSwap = true;
  });
  document.addEventListener("htmx:pushedIntoHistory", () => connect());
  document.addEventListener("change", (event) => {
    if (event.target.hasAttribute("data-submit")) event.target.form.requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    const search_field = document.querySelector("[data-search]");
    if (event.key === "/" && !typing && search_field) {
      event.preventDefault();
      search_field.focus();
    }
  });
  // -- the console: Tab takes the first command that fits, arrows go through what was run ----------

  const ran = [];
  let place = 0;

  document.addEventListener("keydown", (event) => {
    const line = event.target;
    if (line.id !== "line") return;
    const first = document.querySelector("#suggestions li[data-words]");
    if (event.key === "Tab" && !event.shiftKey && line.value && first && first.dataset.words.startsWith(line.value) && first.dataset.words !== line.value) {
      event.preventDefault();
      line.value = `${first.dataset.words} `;
      line.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (event.key === "Enter" && line.value) {
      ran.push(line.value);
      place = ran.length;
    } else if (event.key === "ArrowUp" && place > 0) {
      event.preventDefault();
      place -= 1;
      line.value = ran[place];
    } else if (event.key === "ArrowDown" && place < ran.length) {
      event.preventDefault();
      place += 1;
      line.value = ran[place] || "";
    }
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.id === "console" && event.detail.successful) event.detail.elt.line.value = "";
  });

  new MutationObserver(() => {
    for (const old of [...notices.children].filter((each) => !each.dataset.ends)) {
      old.dataset.ends = "yes";
      setTimeout(() => old.remove(), 8000);
    }
  }).observe(notices, { childList: true });

  setInterval(refreshAges, 1000);
  setInterval(() => {
    if (stream && performance.now() - heard > SILENT_MS) search();
  }, 200);
  sayWhereFrom();
  if (body.dataset.live) connect();
})();
