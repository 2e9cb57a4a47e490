// The prompts a tab was used with, newest first, to put one back. They stay in this browser.
(() => {
  const webui = (window.webui ??= {});
  const KEY = "webui-history:";
  const MOST = 50;
  const MOST_CHARACTERS = 20_000;

  const read = (tab) => {
    try {
      const entries = JSON.parse(localStorage.getItem(KEY + tab) ?? "[]");
      return Array.isArray(entries) ? entries.filter((entry) => typeof entry?.prompt === "string") : [];
    } catch {
      return [];
    }
  };
  const write = (tab, entries) => {
    try {
      localStorage.setItem(KEY + tab, JSON.stringify(entries));
    } catch (error) {
      console.warn("The prompt could not be kept in the history:", error);
    }
  };
  const add = (tab, prompt, negative) => {
    if (!(prompt + negative).trim() || prompt.length + negative.length > MOST_CHARACTERS) return;
    const others = read(tab).filter((entry) => entry.prompt !== prompt || (entry.negative ?? "") !== negative);
    write(tab, [{ prompt, negative, at: Date.now() }, ...others].slice(0, MOST));
  };

  const element = (kind, name, text = "") => {
    const made = document.createElement(kind);
    made.className = name;
    made.textContent = text;
    return made;
  };
  const line = (tab, entry, close) => {
    const button = element("button", "entry");
    button.type = "button";
    button.dataset.verbatim = "";
    button.append(element("span", "prompt", entry.prompt || "–"));
    if (entry.negative) button.append(element("span", "negative", entry.negative));
    const time = element("time", "", entry.at ? new Date(entry.at).toLocaleString() : "");
    button.append(time);
    button.addEventListener("click", () => {
      close();
      webui.undo.replace(tab, { [`${tab}_prompt`]: entry.prompt, [`${tab}_neg_prompt`]: entry.negative ?? "" });
    });
    const item = element("li", "");
    item.append(button);
    return item;
  };

  const open = (tab, button) => {
    const dialog = element("dialog", "prompt-history");
    const close = () => {
      dialog.close();
      dialog.remove();
      button.focus();
    };
    const title = webui.keep.word("history");
    dialog.setAttribute("aria-label", title);
    const head = element("header", "");
    const shut = element("button", "close", "×");
    shut.type = "button";
    shut.setAttribute("aria-label", webui.keep.word("close"));
    shut.addEventListener("click", close);
    head.append(element("h3", "", title), shut);
    dialog.append(head);
    const entries = read(tab);
    if (entries.length) {
      const list = element("ul", "");
      list.append(...entries.map((entry) => line(tab, entry, close)));
      const forget = element("button", "forget", webui.keep.word("clear_history"));
      forget.type = "button";
      forget.addEventListener("click", () => {
        write(tab, []);
        close();
      });
      dialog.append(list, forget);
    } else dialog.append(element("p", "empty-note", webui.keep.word("no_history")));
    dialog.addEventListener("click", (event) => event.target === dialog && close());
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      close();
    });
    dialog.addEventListener("keydown", (event) => {
      // Escape here closes the list; it must not interrupt a generation.
      if (event.key === "Escape") event.stopPropagation();
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const buttons = [...dialog.querySelectorAll("button.entry")];
      const place = buttons.indexOf(document.activeElement) + step;
      buttons[Math.min(Math.max(place, 0), buttons.length - 1)]?.focus();
    });
    webui.keep.place().append(dialog);
    dialog.showModal();
    dialog.querySelector("button.entry")?.focus();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.classList.contains("keep-history")) open(button.id.slice(0, -"_history".length), button);
    const generated = /^(\w+?)_(generate|queue)$/.exec(button.id);
    if (generated && webui.keep.rule(generated[1], `${generated[1]}_prompt`)) {
      const tab = generated[1];
      webui.keep.fresh(tab).then((values) => add(tab, values[`${tab}_prompt`] ?? "", values[`${tab}_neg_prompt`] ?? ""));
    }
  });

  webui.history = { read, add };
})();
