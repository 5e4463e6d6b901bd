// The inbox: a list that refreshes itself and one open message. Nothing of a message is ever inserted as HTML here.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const state = { channel: "", search: "", open: 0, view: "mail", dark: false, images: true, width: "600", earlier: [] };
  let shown = "";
  let newest = [];

  const make = (tag, cls, text) => {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const read = async (path) => {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };
  const instant = (seconds) => new Date(seconds * 1000);
  const short = (seconds) => {
    const at = instant(seconds);
    const today = new Date().toDateString() === at.toDateString();
    return today
      ? at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })
      : at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  };
  const long = (seconds) =>
    instant(seconds).toLocaleString("en-GB", {
      day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
    });
  const wrong = ["bounce", "dropped", "spamreport", "undelivered", "failed"];
  const tone = (seen) => (wrong.includes(seen) ? "bad" : seen === "delivered" ? "good" : "");

  const row = (one) => {
    const item = make("li");
    const button = make("button");
    button.type = "button";
    button.dataset.no = one.no;
    if (one.no === state.open) button.setAttribute("aria-current", "true");
    const badge = make("span", "badge " + one.provider, one.provider === "twilio" ? "SMS" : one.to.slice(0, 1).toUpperCase());
    badge.setAttribute("aria-hidden", "true");
    button.append(
      badge, make("span", "who", one.to), make("span", "when", short(one.at)), make("span", "subject", one.title),
      make("span", "from", "from " + one.sender),
    );
    item.append(button);
    return item;
  };

  const asking = () => "/sandbox/messages?q=" + encodeURIComponent(state.search) + "&provider=" + state.channel;
  const again = () => {
    state.earlier = [];
    shown = "x";
    return refresh();
  };
  const draw = () => {
    const all = [...newest, ...state.earlier];
    $("list").replaceChildren(...all.map(row));
    if (!all.length && (state.search || state.channel)) $("list").append(make("li", "none", "No message matches."));
  };

  const refresh = async () => {
    let page;
    try {
      page = await read(asking());
    } catch {
      $("count").textContent = "The sandbox does not answer; trying again";
      shown = "";
      return;
    }
    const now = JSON.stringify(page);
    if (now === shown) return;
    const first = shown === "";
    shown = now;
    newest = page.messages;
    const lowest = newest.length ? newest[newest.length - 1].no : 0;
    state.earlier = state.earlier.filter((one) => one.no < lowest);
    $("count").textContent = page.total.toLocaleString("en-GB") + (page.total === 1 ? " message" : " messages");
    $("more").hidden = newest.length < 60 && !state.earlier.length;
    $("empty").querySelector("h2").textContent = page.total ? "No message is open" : "Nothing here yet";
    draw();
    if (state.open) {
      await open(state.open, false);
    } else if (first && newest.length && matchMedia("(min-width: 761px)").matches) {
      await open(newest[0].no, false);
    }
  };

  const linked = (text) => {
    const parts = [];
    let last = 0;
    for (const found of text.matchAll(/https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)]/g)) {
      parts.push(text.slice(last, found.index));
      const link = make("a", "", found[0]);
      link.href = found[0];
      link.target = "_blank";
      link.rel = "noreferrer";
      parts.push(link);
      last = found.index + found[0].length;
    }
    return [...parts, text.slice(last)];
  };

  const facts = (one) => {
    const from = one.words.from_name ? one.words.from_name + " <" + one.sender + ">" : one.sender;
    const told = [["From", from], ["To", one.to], ["Sent", long(one.at)]];
    if (one.message) told.push(["Message", one.message]);
    $("facts").replaceChildren(...told.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
    $("seen").replaceChildren(...one.seen.map((seen) => make("span", tone(seen), seen)));
  };

  const bubble = (one, no) => {
    const item = make("li", one.no === no ? "current" : "");
    const body = make("div", "bubble");
    body.append(...linked(one.text));
    const parts = one.segments === 1 ? "1 segment" : one.segments + " segments";
    item.append(body, make("p", "small", long(one.at) + " · " + parts));
    return item;
  };

  const present = (one) => {
    const text = one.provider === "twilio";
    $("empty").hidden = true;
    $("message").hidden = false;
    $("title").textContent = text ? "Text to " + one.to : one.title || "(no subject)";
    facts(one);
    $("tools").hidden = text;
    $("phone").hidden = !text;
    if (text) {
      for (const id of ["mail", "text", "headers"]) $(id).hidden = true;
      $("caller").textContent = one.sender;
      $("bubbles").replaceChildren(...one.words.thread.map((each) => bubble(each, one.no)));
      const counted = make("p", "small", one.words.encoding + ", " + one.words.units + " units");
      const current = $("bubbles").querySelector(".current");
      if (current) current.append(counted);
      return;
    }
    const view = one.words.has_html ? state.view : state.view === "headers" ? "headers" : "text";
    for (const id of ["mail", "text", "headers"]) $(id).hidden = id !== view;
    $("options").hidden = view !== "mail";
    for (const tab of $("tabs").children) tab.setAttribute("aria-selected", String(tab.dataset.view === view));
    const where = "/sandbox/messages/" + one.no + "/html?scheme=" + (state.dark ? "dark" : "light") + (state.images ? "" : "&images=off");
    if (view === "mail" && $("mail").getAttribute("src") !== where) $("mail").src = where;
    $("mail").className = "w" + state.width + (state.dark ? " night" : "");
    $("text").replaceChildren(...linked(one.words.text || "This message has no plain text."));
    const headers = { From: one.sender, To: one.to, Subject: one.title, "Reply-To": one.words.reply_to, ...one.words.headers, "X-Message-Id": one.id };
    $("headers").tBodies[0].replaceChildren(...Object.entries(headers).filter(([, value]) => value).map(([name, value]) => {
      const line = make("tr");
      const heading = make("th", "", name);
      heading.scope = "row";
      line.append(heading, make("td", "", value));
      return line;
    }));
  };

  const open = async (no, focus) => {
    let one;
    try {
      one = await read("/sandbox/messages/" + no);
    } catch {
      close();
      return;
    }
    state.open = no;
    history.replaceState(null, "", "#" + no);
    present(one);
    for (const button of $("list").querySelectorAll("button")) {
      if (Number(button.dataset.no) === no) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    if (focus) {
      document.body.classList.add("reading");
      $("reader").focus({ preventScroll: true });
    }
  };
  const close = () => {
    const was = state.open;
    state.open = 0;
    history.replaceState(null, "", location.pathname);
    document.body.classList.remove("reading");
    $("message").hidden = true;
    $("empty").hidden = false;
    $("list").querySelector('[data-no="' + was + '"]')?.focus();
  };
  const press = (chosen) => {
    for (const button of chosen.parentElement.children) button.setAttribute("aria-pressed", String(button === chosen));
  };

  $("list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) open(Number(button.dataset.no), true);
  });
  $("back").addEventListener("click", close);
  $("more").addEventListener("click", async () => {
    const all = [...newest, ...state.earlier];
    const page = await read(asking() + "&before=" + all[all.length - 1].no);
    state.earlier.push(...page.messages);
    $("more").hidden = page.messages.length < 60;
    draw();
  });
  let typing;
  $("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      state.search = event.target.value.trim();
      again();
    }, 150);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.channel !== undefined) {
      press(button);
      state.channel = button.dataset.channel;
      again();
    } else if (button.dataset.view) {
      state.view = button.dataset.view;
      open(state.open, false);
    } else if (button.dataset.width) {
      press(button);
      state.width = button.dataset.width;
      open(state.open, false);
    } else if (button.id === "dark" || button.id === "images") {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      if (button.id === "dark") state.dark = on;
      else state.images = !on;
      open(state.open, false);
    }
  });

  const asked = Number(location.hash.slice(1));
  refresh().then(() => asked && open(asked, true));
  setInterval(() => document.hidden || refresh(), 2000);
})();
