// Keyboard habits, page title, tooltips and theme. Everything finds its element by elem_id or class; no value goes
// through here to the server except by clicking a button or typing into a field.
(() => {
  const webui = (window.webui ??= {});
  const TITLE = document.title;
  const THEME_KEY = "diffusers-webui-theme";

  const options = () => {
    const holder = document.querySelector("#page_options [data-options]");
    return holder ? JSON.parse(holder.dataset.options) : {};
  };
  const activeTab = () => {
    const panel = [...document.querySelectorAll('[role="tabpanel"][id^="tab_"]')].find((p) => p.offsetParent !== null);
    return panel ? panel.id.slice(4) : "";
  };
  const shown = (element) => element !== null && element.offsetParent !== null;
  const press = (id) => {
    const button = document.getElementById(id);
    if (!shown(button)) return false;
    button.click();
    return true;
  };

  // ---- generate, skip, interrupt ----
  document.addEventListener(
    "keydown",
    (event) => {
      const tab = activeTab();
      const command = event.ctrlKey || event.metaKey;
      if (event.key === "Enter" && command) {
        // While a job runs: stop it and start over, as people are used to.
        event.preventDefault();
        event.stopPropagation();
        document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
        setTimeout(() => {
          if (press(`${tab}_interrupt`)) press(`${tab}_queue`);
          else press(`${tab}_generate`);
        }, 60);
      } else if (event.key === "Enter" && event.altKey) {
        event.preventDefault();
        press(`${tab}_skip`);
      } else if (event.key === "Escape" && !overlayOpen()) {
        press(`${tab}_interrupt`);
      } else if (command && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        if (isPrompt(event.target)) {
          event.preventDefault();
          changeWeight(event.target, event.key === "ArrowUp" ? 1 : -1);
        }
      } else if (event.altKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
        if (isPrompt(event.target) && options().keyedit_move !== false) {
          event.preventDefault();
          moveItem(event.target, event.key === "ArrowLeft" ? -1 : 1);
        }
      }
    },
    true,
  );

  const overlayOpen = () =>
    document.fullscreenElement !== null ||
    document.querySelector('[role="combobox"][aria-expanded="true"], details[open] > dl, .gallery-container.fullscreen, dialog[open], .webui-menu') !==
      null;

  const isPrompt = (element) => element instanceof HTMLTextAreaElement && element.closest(".prompt-box") !== null;

  const setText = (area, text, start, end) => {
    const setter = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
    setter.call(area, text);
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.setSelectionRange(start, end);
  };

  // ---- (word:1.1) ----
  const changeWeight = (area, direction) => {
    const text = area.value;
    let [start, end] = [area.selectionStart, area.selectionEnd];
    const around = enclosing(text, start, end);
    if (around === null && start === end) [start, end] = wordAt(text, start);
    if (around === null && start === end) return;
    const open = around ? around.open : "(";
    const close = open === "<" ? ">" : ")";
    const body = around ? around.body : text.slice(start, end);
    const before = around ? around.weight : 1;
    const step = open === "<" ? (options().keyedit_precision_extra ?? 0.05) : (options().keyedit_precision_attention ?? 0.1);
    const weight = Math.round((before + direction * step) * 1000) / 1000;
    const [from, to] = around ? [around.from, around.to] : [start, end];
    const bare = open === "(" && weight === 1;
    const piece = bare ? body : `${open}${body}:${weight}${close}`;
    const offset = from + (bare ? 0 : 1);
    setText(area, text.slice(0, from) + piece + text.slice(to), offset, offset + body.length);
  };

  // The innermost "(body:weight)" or "<kind:name:weight>" that holds the selection.
  const enclosing = (text, start, end) => {
    const pattern = /\(([^()<>]*):(-?\d*\.?\d+)\)|<([^<>]*):(-?\d*\.?\d+)>/g;
    for (const match of text.matchAll(pattern)) {
      const [from, to] = [match.index, match.index + match[0].length];
      if (from <= start && end <= to) {
        const extra = match[3] !== undefined;
        return { from, to, open: extra ? "<" : "(", body: match[1] ?? match[3], weight: Number(match[2] ?? match[4]) };
      }
    }
    return null;
  };

  const wordAt = (text, position) => {
    const blanks = { Tab: "\t", "Carriage Return": "\r", "Line Feed": "\n" };
    const chosen = (options().keyedit_delimiters_whitespace ?? Object.keys(blanks)).map((name) => blanks[name]).join("");
    const stops = (options().keyedit_delimiters ?? ".,\\/!?%^*;:{}=`~() ") + chosen;
    let [start, end] = [position, position];
    while (start > 0 && !stops.includes(text[start - 1])) start--;
    while (end < text.length && !stops.includes(text[end])) end++;
    return [start, end];
  };

  // ---- moves "a, b, c" items under the cursor ----
  const moveItem = (area, direction) => {
    const items = area.value.split(",");
    let [index, passed] = [0, 0];
    while (index < items.length - 1 && passed + items[index].length < area.selectionStart) {
      passed += items[index].length + 1;
      index++;
    }
    const target = index + direction;
    if (target < 0 || target >= items.length) return;
    const words = items.map((item) => item.trim());
    [words[index], words[target]] = [words[target], words[index]];
    const text = words.join(", ");
    const start = words.slice(0, target).join(", ").length + (target > 0 ? 2 : 0);
    setText(area, text, start, start + words[target].length);
  };

  // ---- title, tooltips, copy, theme ----
  const showProgress = () => {
    const bar = document.querySelector('.progress [data-active="1"]');
    const wanted = options().show_progress_in_title !== false;
    const eta = bar?.dataset.eta ? ` ${bar.dataset.eta}` : "";
    webui.habits?.follow(bar);
    document.title = bar && wanted ? `[${bar.dataset.percent}%${eta}] ${TITLE}` : TITLE;
    // Gradio names these without saying what they are.
    for (const empty of document.querySelectorAll(".empty[aria-label]:not([role])")) empty.setAttribute("role", "img");
    for (const button of document.querySelectorAll("button.tool:not([title])")) button.title = button.textContent.trim();
  };
  const showFirstSettings = () => {
    const searched = document.querySelector("#settings_search :is(textarea, input)")?.value;
    if (document.querySelector(".settings-page") && !document.querySelector(".settings-page.shown") && !searched) {
      showSettings(0);
    }
  };
  setInterval(() => {
    showProgress();
    showFirstSettings();
  }, 300);

  document.addEventListener("click", (event) => {
    const copy = event.target.closest?.("button.copy");
    if (copy) {
      navigator.clipboard?.writeText(copy.dataset.copy).then(() => {
        const label = copy.textContent;
        copy.textContent = "✓";
        setTimeout(() => (copy.textContent = label), 1200);
      });
    }
    const generate = event.target.closest?.(".generate-box button.primary");
    if (generate) {
      // Seen at once; the server's answer takes a moment.
      generate.setAttribute("aria-busy", "true");
      setTimeout(() => generate.removeAttribute("aria-busy"), 1500);
    }
    if (event.target.closest?.("#theme_toggle")) {
      const dark = document.body.classList.toggle("dark");
      localStorage.setItem(THEME_KEY, dark ? "dark" : "light");
    }
  });
  // ---- settings: one page at a time, or every control that matches the search ----
  const showSettings = (number, query = "") => {
    const words = query.trim().toLowerCase();
    document.querySelectorAll(".settings-page").forEach((page) => {
      let any = page.id === `settings_page_${number}`;
      if (words) any = false;
      page.querySelectorAll('.block[id^="setting_"]').forEach((block) => {
        const found = !words || `${block.id.slice(8)} ${block.textContent}`.toLowerCase().includes(words);
        block.classList.toggle("unmatched", !found);
        any ||= Boolean(words) && found;
      });
      page.classList.toggle("shown", any);
    });
    document.querySelectorAll(".sections button").forEach((button) => {
      button.setAttribute("aria-current", String(!words && button.dataset.page === String(number)));
    });
  };
  document.addEventListener("input", (event) => {
    if (event.target.closest?.("#settings_search")) showSettings(0, event.target.value);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".sections button");
    if (button) showSettings(Number(button.dataset.page));
  });

  // Defaults of the options that can be seen: a page, or what a search found. Apply is what puts them in force.
  const defaults = (entries) =>
    entries.map(([key, value]) => (shown(document.getElementById(`setting_${key}`)) ? value : undefined));
  webui.settings = { defaults };

  webui.page = { options, activeTab, shown, overlayOpen };

  const remembered = localStorage.getItem(THEME_KEY);
  if (remembered && !new URLSearchParams(location.search).has("__theme")) {
    document.body.classList.toggle("dark", remembered === "dark");
  }
})();
