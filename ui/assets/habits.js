// Generate forever, size presets, files dropped on the prompts, the sound, a screen that stays awake, and the options
// that only change how the page looks. See ui/habits.py.
(() => {
  const webui = (window.webui ??= {});
  let spec = { words: {}, ratios: [], sound: "", empty: {} };
  const word = (key) => webui.said(spec.words[key] ?? key);
  const options = () => webui.page.options();
  const isVisible = (button) => button !== null && !button.classList.contains("hidden") && !button.classList.contains("hide");

  // ---- options that change how the page looks ----
  let applied = "";
  const narrow = matchMedia("(max-width: 768px)");
  const CLASSES = {
    disable_token_counters: "no-token-counters",
    do_not_show_images: "no-pictures",
  };
  const CLASSES_OFF = {
    dimensions_and_batch_together: "batch-below",
    hires_fix_show_prompts: "no-hires-prompts",
    hires_fix_show_sampler: "no-hires-sampler",
    show_progressbar: "no-progress-bar",
  };
  const applyOptions = () => {
    const now = options();
    const isNarrow = narrow.matches;
    const text = JSON.stringify([now, isNarrow]);
    if (text === applied) return;
    applied = text;
    const { classList, style } = document.body;
    for (const [key, name] of Object.entries(CLASSES)) classList.toggle(name, now[key] === true);
    for (const [key, name] of Object.entries(CLASSES_OFF)) classList.toggle(name, now[key] === false);
    classList.toggle("narrow", isNarrow);
    classList.toggle("compact-prompts", now.compact_prompt_box === true && !isNarrow);
    const height = String(now.gallery_height ?? "").trim();
    if (CSS.supports("height", height)) style.setProperty("--gallery-height", height);
    else style.removeProperty("--gallery-height");
    style.setProperty("--viewer-icons", now.sd_webui_modal_lightbox_icon_opacity ?? 1);
    style.setProperty("--viewer-bar", now.sd_webui_modal_lightbox_toolbar_opacity ?? 0.9);
  };

  // A value given to a hires field that is not shown would act unseen: its group opens then.
  const SECOND_PASS = { sampler: ["hr_checkpoint", "hr_sampler", "hr_scheduler", "hr_cfg_scale"], prompts: ["hires_prompt", "hires_neg_prompt"] };
  const showUsed = (tab, values) => {
    const group = document.getElementById(`${tab}_hires_more`);
    if (!group) return;
    const used = (id) => {
      const rule = webui.keep.rule(tab, id);
      return rule !== undefined && values[id] !== undefined && !webui.keep.same(values[id] ?? "", rule.default ?? "");
    };
    for (const [name, ids] of Object.entries(SECOND_PASS)) group.classList.toggle(`uses-${name}`, ids.some(used));
  };

  // ---- while a job runs: the screen stays awake; afterwards a sound ----
  let lock = null;
  let running = false;
  const keepAwake = async (wanted) => {
    if (!wanted) {
      await lock?.release().catch(() => {});
      lock = null;
    } else if (!lock && document.visibilityState === "visible" && navigator.wakeLock) {
      // A browser may refuse, on low battery for instance; nothing is lost then.
      lock = await navigator.wakeLock.request("screen").catch(() => null);
      lock?.addEventListener("release", () => (lock = null));
    }
  };
  document.addEventListener("visibilitychange", () => {
    if (running) keepAwake(options().prevent_screen_sleep_during_generation !== false);
  });

  const chime = (volume) => {
    const context = new AudioContext();
    [659.25, 880].forEach((frequency, number) => {
      const [tone, gain, start] = [context.createOscillator(), context.createGain(), context.currentTime + number * 0.14];
      tone.frequency.value = frequency;
      gain.gain.setValueAtTime(0, start);
      gain.gain.linearRampToValueAtTime(0.25 * volume, start + 0.02);
      gain.gain.exponentialRampToValueAtTime(0.0001, start + 0.6);
      tone.connect(gain).connect(context.destination);
      tone.start(start);
      tone.stop(start + 0.62);
    });
    setTimeout(() => context.close(), 1500);
  };
  let ownSound = null; // the user's file as an address, "" where there is none
  const notify = async () => {
    const now = options();
    if (now.notification_audio === false) return;
    const volume = (now.notification_volume ?? 100) / 100;
    document.dispatchEvent(new CustomEvent("webui-notify", { detail: { volume } }));
    if (ownSound === null) {
      const answer = await fetch(`.${spec.sound}`).catch(() => null);
      ownSound = answer?.status === 200 ? URL.createObjectURL(await answer.blob()) : "";
    }
    if (!ownSound) return chime(volume);
    const sound = new Audio(ownSound);
    sound.volume = volume;
    // Refused until the page was clicked once.
    sound.play().catch(() => {});
  };

  // Called several times a second with the bar of the job that runs, if one does.
  const follow = (bar) => {
    applyOptions();
    dress();
    document.body.style.setProperty("--job-progress", bar ? `${bar.dataset.percent}%` : "0%");
    document.body.classList.toggle("job-runs", Boolean(bar));
    if (Boolean(bar) === running) return;
    running = Boolean(bar);
    keepAwake(running && options().prevent_screen_sleep_during_generation !== false);
    if (!running && !document.querySelector(".run-log .error")) notify();
  };

  // ---- Generate forever ----
  const forever = {}; // tab → {since: time of the last press, ran: whether its job was seen}
  const POLL_MS = 500;
  const PATIENCE_MS = 15_000;
  const showForever = (tab) => {
    const button = document.getElementById(`${tab}_forever`);
    button?.setAttribute("aria-pressed", String(tab in forever));
    button?.classList.toggle("pressed", tab in forever);
  };
  const setForever = (tab, wanted) => {
    if (wanted) forever[tab] = { since: 0, ran: false };
    else delete forever[tab];
    showForever(tab);
  };
  const hasError = (tab) =>
    document.querySelector(`#html_log_${tab} .error`) !== null || document.querySelector(".toast-body.error") !== null;
  const pressAgain = () => {
    for (const [tab, state] of Object.entries(forever)) {
      if (isVisible(document.getElementById(`${tab}_interrupt`))) {
        state.ran = true;
        continue;
      }
      if (state.since && hasError(tab)) {
        setForever(tab, false);
        webui.say(word("forever_stopped"));
        continue;
      }
      const button = document.getElementById(`${tab}_generate`);
      const waits = state.since && !state.ran && Date.now() - state.since < PATIENCE_MS;
      if (!isVisible(button) || waits) continue;
      Object.assign(state, { since: Date.now(), ran: false });
      button.click();
    }
  };
  setInterval(pressAgain, POLL_MS);

  // ---- menus ----
  let opener = null;
  const closeMenu = () => {
    document.querySelector(".webui-menu")?.remove();
    opener?.setAttribute("aria-expanded", "false");
    opener = null;
  };
  const openMenu = (button, label, entries, at = null) => {
    const again = opener === button;
    closeMenu();
    if (again && !at) return;
    opener = button;
    button.setAttribute("aria-expanded", "true");
    const menu = document.createElement("div");
    menu.className = "webui-menu";
    menu.setAttribute("role", "menu");
    menu.setAttribute("aria-label", label);
    for (const { text, hint, run } of entries) {
      const item = Object.assign(document.createElement("button"), { type: "button" });
      item.setAttribute("role", "menuitem");
      item.append(text);
      if (hint) item.append(Object.assign(document.createElement("span"), { textContent: hint }));
      item.addEventListener("click", () => {
        closeMenu();
        button.focus();
        run();
      });
      menu.append(item);
    }
    webui.keep.place().append(menu);
    const box = button.getBoundingClientRect();
    const [x, y] = at ?? [box.left, box.bottom + 4];
    menu.style.left = `${Math.max(8, Math.min(x, innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${Math.max(8, Math.min(y, innerHeight - menu.offsetHeight - 8))}px`;
    menu.querySelector("button").focus();
    menu.addEventListener("keydown", (event) => {
      const items = [...menu.querySelectorAll("button")];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
      } else if (event.key === "Escape" || event.key === "Tab") {
        event.stopPropagation();
        closeMenu();
        button.focus();
      }
    });
  };
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest?.(".webui-menu") && !opener?.contains(event.target)) closeMenu();
  });
  document.addEventListener("contextmenu", (event) => {
    const button = event.target.closest?.(".generate-box button");
    const tab = button && /^(\w+)_(generate|interrupt|skip|queue)$/.exec(button.id)?.[1];
    if (!tab || !document.getElementById(`${tab}_forever`)) return;
    event.preventDefault();
    const entries = [
      { text: word("forever"), run: () => setForever(tab, true) },
      { text: word("forever_off"), run: () => setForever(tab, false) },
    ];
    openMenu(button, word("forever"), entries, [event.clientX, event.clientY]);
  });

  // ---- sizes by ratio, with as many pixels as the model was made for ----
  const STEP = 8;
  const sizeOf = (ratio, side) => {
    const [wide, high] = ratio.split(":").map(Number);
    const fit = (length) => Math.min(2048, Math.max(64, Math.round(length / STEP) * STEP));
    return [fit(side * Math.sqrt(wide / high)), fit(side * Math.sqrt(high / wide))];
  };
  const openRatios = (button) => {
    const tab = button.id.slice(0, -"_ratios".length);
    const side = Number(document.querySelector("#model_status [data-native]")?.dataset.native) || 512;
    const entries = spec.ratios.map((ratio) => {
      const [width, height] = sizeOf(ratio, side);
      const run = () => webui.keep.give(tab, { [`${tab}_width`]: width, [`${tab}_height`]: height });
      return { text: ratio, hint: `${width}×${height}`, run };
    });
    openMenu(button, word("ratios"), entries);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (button?.classList.contains("ratios")) openRatios(button);
    if (button?.classList.contains("forever")) {
      const tab = button.id.slice(0, -"_forever".length);
      setForever(tab, !(tab in forever));
    }
  });

  // "512x768" pasted into a side sets both.
  document.addEventListener("paste", (event) => {
    const field = event.target.closest?.('[id$="_width"], [id$="_height"]');
    const sides = /^\s*(\d{2,5})\s*[x×*]\s*(\d{2,5})\s*$/i.exec(event.clipboardData?.getData("text") ?? "");
    const tab = field?.id.replace(/_(width|height)$/, "");
    if (!sides || !webui.keep.rule(tab, `${tab}_width`)) return;
    event.preventDefault();
    webui.keep.give(tab, { [`${tab}_width`]: Number(sides[1]), [`${tab}_height`]: Number(sides[2]) });
  });

  // ---- a picture or text dropped on the prompts ----
  const promptsOf = (event) => event.target.closest?.(".prompts");
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].some((kind) => kind === "Files" || kind === "text/uri-list");
  const unmark = () => document.querySelectorAll(".prompts.dropping").forEach((each) => each.classList.remove("dropping"));
  document.addEventListener("dragover", (event) => {
    const prompts = promptsOf(event);
    if (!prompts || !carries(event)) return unmark();
    event.preventDefault();
    prompts.dataset.drop = word("drop");
    prompts.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? unmark());
  const droppedFile = async (transfer) => {
    if (transfer.files.length) return transfer.files[0];
    // A picture of this page, also from another of its tabs: addresses elsewhere are not fetched.
    const address = transfer.getData("text/uri-list").split("\n")[0];
    const url = address && new URL(address, location.href);
    if (!url || !(url.origin === location.origin || url.protocol === "data:")) return null;
    const answer = await fetch(url).catch(() => null);
    if (!answer?.ok) return null;
    const name = url.protocol === "data:" ? "picture.png" : decodeURIComponent(url.pathname.split("/").pop());
    return new File([await answer.blob()], name);
  };
  document.addEventListener(
    "drop",
    async (event) => {
      const prompts = promptsOf(event);
      unmark();
      if (!prompts || !carries(event)) return;
      event.preventDefault();
      event.stopPropagation();
      const tab = prompts.querySelector("textarea").closest('[id$="_prompt"]').id.replace(/_(neg_)?prompt$/, "");
      const file = await droppedFile(event.dataTransfer);
      const input = document.querySelector(`#${tab}_prompt_image input[type="file"]`);
      if (!file || !input) return;
      await webui.undo.expectChange(tab);
      const transfer = new DataTransfer();
      transfer.items.add(file);
      input.files = transfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    },
    true,
  );

  // ---- drawing takes the focus off the prompt, where that is wanted ----
  document.addEventListener("pointerdown", (event) => {
    const isPrompt = document.activeElement?.closest?.(".prompt-box");
    if (isPrompt && event.target.closest?.(".canvas-block") && options().canvas_blur_prompt) document.activeElement.blur();
  });

  // A tab's content exists once it was opened, so this is looked after again and again.
  const dress = () => {
    for (const [tab, text] of Object.entries(spec.empty)) {
      const holder = document.getElementById(`${tab}_results`);
      if (!holder || holder.style.getPropertyValue("--empty-text")) continue;
      holder.style.setProperty("--empty-text", JSON.stringify(webui.said(text)));
      document.querySelector(`#${tab}_styles input`)?.setAttribute("placeholder", word("styles_list"));
      document.getElementById(`${tab}_ratios`)?.setAttribute("aria-haspopup", "menu");
      showForever(tab);
      showUsed(tab, webui.keep.values(tab));
    }
  };

  const opened = (given) => {
    spec = given;
    dress();
  };
  webui.keep ? webui.keep.onChange(showUsed) : setTimeout(() => webui.keep.onChange(showUsed), 0);
  webui.habits = { opened, follow, word, sizeOf, forever: setForever };
})();
