// Keeps what a person set on the page in this browser, and gives it back after a reload. See ui/keep.py.
//
// For other scripts:
//   await webui.store.get(key) / .set(key, value) / .remove(key)   the browser's database; values may hold Blobs
//   webui.keep.values(tab)            {elem_id: value} of a tab as last seen; await webui.keep.fresh(tab) for now
//   webui.keep.give(tab, {id: value}) puts values into the controls of a tab
//   webui.keep.onChange(listener)     listener(tab, values) after values of a tab changed
//   webui.say(text, action)           a short message; action {label, run} adds a button
(() => {
  const webui = (window.webui ??= {});
  const VERSION = 1;
  const PREFIX = "webui-kept:";
  const LAYOUT = "webui-layout";
  const READ_AFTER_MS = { typed: [250], pressed: [300, 1200, 4000], given: [100, 600] };
  const MOST_CHARACTERS = 1_000_000;
  const MOST_BYTES = 64 * 2 ** 20;

  // ---- the browser's database, for what is too large for localStorage ----
  let database;
  const opening = () =>
    (database ??= new Promise((resolve, reject) => {
      const request = indexedDB.open("webui-store", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("values");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    }));
  const transact = async (mode, action) => {
    try {
      const opened = await opening();
      return await new Promise((resolve, reject) => {
        const transaction = opened.transaction("values", mode);
        const request = action(transaction.objectStore("values"));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = transaction.onerror = () => reject(transaction.error);
      });
    } catch (error) {
      // Private windows may have no database, and a full disk refuses: only a reload forgets then.
      console.warn("The browser's database could not be used:", error);
      return undefined;
    }
  };
  webui.store = {
    get: (key) => transact("readonly", (all) => all.get(key)),
    set: (key, value) => transact("readwrite", (all) => all.put(value, key)),
    remove: (key) => transact("readwrite", (all) => all.delete(key)),
  };

  // ---- short messages ----
  webui.said = (text) => webui.words?.texts?.[text] ?? text;
  webui.say = (text, action = null, seconds = 10) => {
    let holder = document.getElementById("webui_messages");
    if (!holder) {
      holder = document.createElement("div");
      holder.id = "webui_messages";
      holder.setAttribute("role", "status");
      webui.keep.place().append(holder);
    }
    const message = document.createElement("div");
    message.append(Object.assign(document.createElement("p"), { textContent: text }));
    const button = (label, name, run) => {
      const made = Object.assign(document.createElement("button"), { type: "button", textContent: label, className: name });
      made.addEventListener("click", () => {
        message.remove();
        run?.();
      });
      message.append(made);
      return made;
    };
    if (action) button(action.label, "act", action.run);
    button("×", "close").setAttribute("aria-label", webui.keep.word("close"));
    holder.append(message);
    while (holder.children.length > 3) holder.firstChild.remove();
    setTimeout(() => message.remove(), seconds * 1000);
    return message;
  };

  // ---- what is declared, and what is known of it now ----
  let spec = { groups: {}, layout: [], words: {} };
  let ready = false;
  const now = {}; // tab → {id: value}
  const stored = {}; // tab → {id: value}: what localStorage holds
  const waiting = {}; // tab → functions that wait for its values
  const toGive = {}; // tab → {id: value}
  const timers = {}; // tab → kind of act → timers of the readings to come
  const listeners = [];

  const word = (key, parts = {}) => {
    const text = webui.said(spec.words[key] ?? key);
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in parts ? webui.said(String(parts[name])) : whole));
  };
  const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
  const isFile = (value) => typeof value === "object" && value !== null && typeof value.path === "string";
  const press = (id) => document.getElementById(id)?.click();
  const rulesOf = (tab) => spec.groups[tab] ?? [];
  const ruleOf = (tab, id) => rulesOf(tab).find((rule) => rule.id === id);

  // The sizes that the model asks for count as untouched.
  const native = () => Number(document.querySelector("#model_status [data-native]")?.dataset.native) || null;
  const isDefault = (rule, value) =>
    same(rule.default, value) || (/_(width|height)$/.test(rule.id) && rule.default === 512 && value === native());

  const valid = (rule, value) => {
    const listed = (each) => rule.choices === undefined || rule.choices.some((choice) => same(choice, each));
    switch (rule.kind) {
      case "number": {
        const [low, high] = rule.bounds ?? [];
        return Number.isFinite(value) && (low == null || value >= low) && (high == null || value <= high);
      }
      case "check":
        return typeof value === "boolean";
      case "text":
        return typeof value === "string";
      case "choice":
        return (["string", "number", "boolean"].includes(typeof value) || value === null) && listed(value);
      case "choices":
      case "chips":
        return Array.isArray(value) && value.every((each) => typeof each === "string" && listed(each));
      case "file":
        return isFile(value);
      case "files":
        return Array.isArray(value) && value.every(isFile);
      default:
        return false;
    }
  };

  // ---- localStorage ----
  const setAside = (tab, text) => {
    const name = `${PREFIX}${tab}:damaged`;
    try {
      localStorage.removeItem(PREFIX + tab);
      localStorage.setItem(name, text);
    } catch (error) {
      console.warn("The damaged values could not be set aside:", error);
    }
    webui.say(word("damaged", { tab, name }));
  };
  const load = (tab) => {
    const text = localStorage.getItem(PREFIX + tab);
    if (text === null) return {};
    try {
      const { version, values } = JSON.parse(text);
      if (version !== VERSION || typeof values !== "object" || values === null || Array.isArray(values)) throw 0;
      return values;
    } catch {
      setAside(tab, text);
      return {};
    }
  };
  let toldFull = false;
  const save = (tab) => {
    const text = JSON.stringify({ version: VERSION, values: stored[tab] });
    try {
      if (text.length > MOST_CHARACTERS) throw new Error("too much");
      localStorage.setItem(PREFIX + tab, text);
    } catch (error) {
      console.warn(`The values of ${tab} could not be kept:`, error);
      if (!toldFull) webui.say(word("full"));
      toldFull = true;
    }
  };

  // ---- pictures: the browser has its own copy, in case the server's is gone ----
  const pictureKey = (tab, id) => `picture:${tab}:${id}`;
  const keepPicture = async (tab, id, value) => {
    const files = [value].flat().filter(isFile);
    if (!files.length) return webui.store.remove(pictureKey(tab, id));
    const blobs = await Promise.all(
      files.map(async (file) => {
        const answer = file.url ? await fetch(file.url).catch(() => null) : null;
        const blob = answer?.ok ? await answer.blob() : null;
        return blob && blob.size <= MOST_BYTES ? blob : null;
      }),
    );
    return webui.store.set(pictureKey(tab, id), { paths: files.map((file) => file.path), blobs });
  };
  const addressOf = (path) => {
    const { root = "", api_prefix: api = "/gradio_api" } = window.gradio_config ?? {};
    return `${root}${api}/${path}`;
  };
  const sendAgain = async (file, blob) => {
    const body = new FormData();
    body.append("files", new File([blob], file.orig_name || "picture.png", { type: blob.type }));
    const answer = await fetch(addressOf("upload"), { method: "POST", body }).catch(() => null);
    const path = answer?.ok ? (await answer.json())[0] : null;
    return path ? { ...file, path, url: addressOf(`file=${path}`) } : null;
  };
  const available = async (file, blob) => {
    const answer = file.url ? await fetch(file.url, { method: "HEAD" }).catch(() => null) : null;
    if (answer?.ok) return file;
    return blob ? sendAgain(file, blob) : null;
  };
  const coming = new Set(); // ids of picture fields that are about to get their picture back
  const givePicture = async (tab, rule, value) => {
    coming.add(rule.id);
    const own = await webui.store.get(pictureKey(tab, rule.id));
    const found = await Promise.all(
      [value].flat().map((file) => available(file, own?.blobs[own.paths.indexOf(file.path)] ?? null)),
    );
    const there = found.filter(Boolean);
    coming.delete(rule.id);
    if (there.length < found.length) {
      webui.say(word("lost_picture", { field: rule.label }));
      delete stored[tab][rule.id];
      save(tab);
    }
    if (there.length) give(tab, { [rule.id]: rule.kind === "files" ? there : there[0] });
  };

  // ---- from the controls ----
  // What a tab holds now.
  const fresh = (tab) =>
    new Promise((resolve) => {
      (waiting[tab] ??= []).push(resolve);
      press(`keep_read_${tab}`);
    });
  // Gradio could tell of each change, but an event for each control doubles the time the page takes to open. So a
  // tab is read after what a person does in it: soon, and for what the server makes of it some time later too.
  const readLater = (tab, kind) => {
    if (!ready || !spec.groups[tab]) return;
    const mine = (timers[tab] ??= {});
    for (const timer of mine[kind] ?? []) clearTimeout(timer);
    // A button may have sent something to another tab and opened that.
    const read = () => [...new Set([tab, tabOf(null)])].filter((name) => spec.groups[name]).forEach(fresh);
    mine[kind] = READ_AFTER_MS[kind].map((wait) => setTimeout(read, wait));
  };
  // The tab that an element is in, or the one that is open.
  const tabOf = (target) => {
    const own = target instanceof Element ? target.closest('[role="tabpanel"][id^="tab_"]') : null;
    const panels = [...document.querySelectorAll('[role="tabpanel"][id^="tab_"]')];
    return (own ?? panels.find((panel) => panel.offsetParent))?.id.slice(4);
  };
  const acted = (kind) => (event) => {
    // A reading is a click too.
    if (event.target.closest?.("#keep_buttons")) return;
    readLater(tabOf(event.target), kind);
  };
  for (const name of ["input", "change", "focusout"]) document.addEventListener(name, acted("typed"), true);
  for (const name of ["click", "drop", "paste"]) document.addEventListener(name, acted("pressed"), true);
  document.addEventListener("keyup", (event) => event.key === "Enter" && acted("pressed")(event), true);

  const taken = (tab, all) => {
    const values = Object.fromEntries(rulesOf(tab).map((rule, place) => [rule.id, all[place]]));
    const before = now[tab];
    now[tab] = values;
    if (ready && !same(before, values)) {
      keepValues(tab, before ?? {}, values);
      for (const listener of listeners) listener(tab, values);
    }
    for (const resolve of (waiting[tab] ?? []).splice(0)) resolve(values);
  };
  const keepValues = (tab, before, values) => {
    const kept = {};
    for (const rule of rulesOf(tab)) {
      const value = values[rule.id];
      if (rule.kind === "drawing") continue; // canvas.js keeps its pictures itself
      if (coming.has(rule.id)) {
        kept[rule.id] = stored[tab][rule.id];
        continue;
      }
      if (!isDefault(rule, value) && valid(rule, value)) kept[rule.id] = value;
      if (rule.kind.startsWith("file") && !same(before[rule.id], value)) keepPicture(tab, rule.id, value);
    }
    stored[tab] = kept;
    save(tab);
    keepLayout();
  };

  // ---- into the controls ----
  const update = (rule, value) => {
    const changes = { __type__: "update", value };
    if (rule.shown && typeof value === "number") {
      const [low, high] = rule.shown;
      if (value < low) changes.minimum = value;
      if (value > high) changes.maximum = value;
    }
    if (rule.kind === "chips") Object.assign(changes, { choices: value.map((each) => [each, each]), visible: value.length > 0 });
    return changes;
  };
  const give = (tab, values) => {
    toGive[tab] = { ...toGive[tab], ...values };
    press(`keep_write_${tab}`);
    readLater(tab, "given");
  };
  const given = (tab) => {
    const values = toGive[tab] ?? {};
    delete toGive[tab];
    return rulesOf(tab).map((rule) => (rule.id in values ? update(rule, values[rule.id]) : undefined));
  };

  // ---- open tabs and groups ----
  const layoutNow = () => {
    const seen = JSON.parse(localStorage.getItem(LAYOUT) ?? "{}");
    for (const { id, kind } of spec.layout) {
      const root = document.getElementById(id);
      if (root === null) continue;
      if (kind === "tabs") {
        const chosen = root.querySelector('[role="tab"][aria-selected="true"]')?.dataset.tabId;
        if (chosen) seen[id] = chosen;
      } else seen[id] = root.querySelector("button.label-wrap")?.classList.contains("open") ?? false;
    }
    return seen;
  };
  const keepLayout = () => {
    if (!ready) return;
    try {
      localStorage.setItem(LAYOUT, JSON.stringify(layoutNow()));
    } catch (error) {
      console.warn("Which tabs are open could not be kept:", error);
      localStorage.removeItem(LAYOUT);
    }
  };
  const layoutUpdate = ({ id, kind }, seen) => {
    if (!(id in seen)) return undefined;
    return { __type__: "update", ...(kind === "tabs" ? { selected: String(seen[id]) } : { open: Boolean(seen[id]) }) };
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.('[role="tab"], button.label-wrap')) setTimeout(keepLayout, 150);
  });

  // ---- when the page opens ----
  const opened = (declared) => {
    spec = declared;
    const answer = [];
    for (const [tab, rules] of Object.entries(spec.groups)) {
      const kept = load(tab);
      stored[tab] = {};
      now[tab] = {};
      for (const rule of rules) {
        const value = kept[rule.id];
        const usable = value !== undefined && valid(rule, value);
        if (usable) stored[tab][rule.id] = value;
        const isPicture = rule.kind.startsWith("file");
        if (usable && isPicture) givePicture(tab, rule, value);
        now[tab][rule.id] = usable && !isPicture ? value : rule.default;
        answer.push(usable && !isPicture ? update(rule, value) : undefined);
      }
    }
    let seen = {};
    try {
      seen = JSON.parse(localStorage.getItem(LAYOUT) ?? "{}");
    } catch {
      localStorage.removeItem(LAYOUT);
    }
    ready = true;
    return [...answer, ...spec.layout.map((part) => layoutUpdate(part, seen))];
  };

  // A checkpoint's title gets its hash at the end once that is known.
  const withoutHash = (title) => title.replace(/ \[[0-9a-f]{8,}\]$/, "");
  const entryFor = (entries, value) =>
    entries.find((each) => each === value) ?? entries.find((each) => withoutHash(each) === withoutHash(value));

  // Names that were chosen and are gone: the default takes their place, and it is said.
  const listed = (text) => {
    const { lists = {}, defaults = {} } = text ? JSON.parse(text) : {};
    for (const [tab, rules] of Object.entries(spec.groups)) {
      for (const rule of rules) {
        if (rule.id in defaults) {
          rule.default = defaults[rule.id];
          if (!(rule.id in stored[tab])) give(tab, { [rule.id]: rule.default });
        }
        const entries = lists[rule.live];
        const value = stored[tab][rule.id];
        if (!entries || value === undefined) continue;
        const found = [value].flat().map((each) => (each === null || each === "None" ? each : entryFor(entries, each)));
        const gone = [value].flat().filter((_, place) => found[place] === undefined);
        const there = found.filter((each) => each !== undefined);
        const rest = Array.isArray(value) ? there : (there[0] ?? rule.default);
        if (!same(rest, value)) give(tab, { [rule.id]: rest });
        if (!gone.length) continue;
        const other = [rest].flat().join(", ") || "–";
        webui.say(word("gone_choice", { field: rule.label, value: gone.join(", "), other }));
      }
    }
  };

  const leave = () => {
    for (const tab of Object.keys(timers)) fresh(tab);
    keepLayout();
  };
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && leave());

  webui.keep = {
    opened,
    listed,
    taken,
    given,
    give,
    fresh,
    word,
    same,
    rules: rulesOf,
    rule: ruleOf,
    values: (tab) => now[tab] ?? {},
    // Where elements of ours go that belong to no component: the page's type and colours hold there.
    place: () => document.querySelector(".gradio-container") ?? document.body,
    onChange: (listener) => listeners.push(listener),
  };
})();
