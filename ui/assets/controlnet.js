// ControlNet units in the browser: lists that follow the control type, sliders that follow the preprocessor, badges,
// and what the buttons of a map do. ui/control_tools.py says what exists and binds these functions.
(() => {
  const webui = (window.webui ??= {});
  let spec = { words: {}, units: {}, ids: {}, settled: [], modules: {} };
  let lists = { types: {}, missing: {}, models: "", weights: "" };
  let wanted = "";
  let arrive = null;
  const arrived = new Promise((resolve) => (arrive = resolve)); // once there are lists
  const kept = {}; // tab → pictures for its editors, in their order

  const ALL = "All";
  const word = (key, parts = {}) =>
    webui.said(spec.words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in parts ? String(parts[name]) : whole));
  const safe = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const update = (changes) => ({ __type__: "update", ...changes });
  const entries = (names) => names.map((name) => [name, name]);
  const tabOf = (unit) => Object.keys(spec.units).find((tab) => spec.units[tab].includes(unit));
  const idOf = (unit, field) => `${unit}_${spec.ids[field]}`;

  // ---- what type, preprocessor and model mean for the other controls ----
  const listed = (names, value) => (value && !names.includes(value) ? [...names, value] : names);

  const noteOf = (unit, type, module, model) => {
    const kind = lists.types[type];
    const entry = spec.modules[module];
    const lines = [];
    const say = (text, name = "") => lines.push(`<p class="${name}">${text}</p>`);
    if (kind?.problem) say(safe(webui.said(kind.problem)), "problem");
    if (entry?.unavailable) say(safe(word("unavailable", { module, reason: entry.unavailable })), "problem");
    const missing = lists.missing[module];
    if (missing && !entry?.unavailable) {
      const size = missing.size || "…";
      const files = word("missing", { module, files: missing.files.join(", ") });
      const how = missing.can ? word("on_first_use") : word("put_there", { folder: lists.weights });
      const button = missing.can
        ? ` <button type="button" data-act="fetch" data-unit="${unit}" data-module="${safe(module)}">${safe(word("download", { size }))}</button>`
        : "";
      say(`${safe(files)} ${safe(how)}${button}`);
    }
    const works = !kind?.problem && !entry?.unavailable && !entry?.free;
    if (kind && works && kind.models.length < 2) {
      const folder = lists.models;
      say(safe(type === ALL ? word("no_models_all", { folder }) : word("no_models", { type, folder })));
    }
    if (entry && !entry.image && !entry.unavailable) say(safe(word("no_image", { module })));
    if (entry?.note) say(safe(webui.said(entry.note)));
    if (type === "OpenPose" || /pose/i.test(module ?? "")) {
      lines.push(`<p class="actions"><button type="button" data-act="new-pose" data-unit="${unit}">${safe(word("pose_editor"))}</button></p>`);
    }
    return lines.join("");
  };

  // Answers for the fields of `settled` in ui/control_tools.py, and the note.
  const presented = (unit, type, module, model, { values = false, chosen = {} } = {}) => {
    const kind = lists.types[type];
    const entry = spec.modules[module];
    const choices = (names, value, given) => {
      if (!names) return undefined;
      return update({ choices: entries(listed(names, value)), ...(given === undefined ? {} : { value: given }) });
    };
    const slider = (index) => {
      const found = entry?.sliders[index];
      if (!found) return update({ visible: false });
      const [label, minimum, maximum, initial, step] = found;
      return update({ visible: true, label: webui.said(label), minimum, maximum, step, ...(values ? { value: initial } : {}) });
    };
    return [
      choices(kind?.modules, module, chosen.module),
      choices(kind?.models, model, chosen.model),
      slider(0),
      slider(1),
      slider(2),
      update({ visible: entry?.mode ?? true }),
      update({ visible: /union/i.test(model ?? "") }),
      noteOf(unit, type, module, model),
    ];
  };

  const settled = (unit, type, module, model) => presented(unit, type, module, model);
  // A person chose another type: its own preprocessor and model come with it.
  const typed = async (unit, type, module, model) => {
    await arrived;
    const kind = lists.types[type];
    if (!kind || type === ALL) return [...presented(unit, type, module, model), undefined];
    const chosen = { module: kind.module, model: kind.model };
    return [...presented(unit, type, chosen.module, chosen.model, { values: true, chosen }), ""];
  };
  // A person chose another preprocessor: its sliders start at their defaults.
  const chosen = (unit, type, module, model) => [...presented(unit, type, module, model, { values: true }), ""];

  // The server's lists are new: every unit that is concerned follows.
  const renewed = (tab, text, values) => {
    if (text) lists = JSON.parse(text);
    arrive();
    badges();
    return spec.units[tab].flatMap((unit, place) => presented(unit, ...values.slice(place * 3, place * 3 + 3)));
  };

  // ---- badges: which units are on ----
  const badges = () => {
    for (const [tab, units] of Object.entries(spec.units)) {
      const values = webui.keep.values(tab);
      const on = units.filter((unit) => values[idOf(unit, "enabled")]);
      const head = document.querySelector(`#${tab}_controlnet > button.label-wrap`);
      const count = on.length === 1 ? word("one_on") : word("on", { count: on.length });
      if (head) head.dataset.units = on.length ? count : "";
      for (const [place, unit] of units.entries()) {
        const type = values[idOf(unit, "control_type")] ?? ALL;
        for (const button of document.querySelectorAll(`#${tab}_controlnet_tabs [role="tab"][data-tab-id="unit-${place}"]`)) {
          button.dataset.type = on.includes(unit) ? (type === ALL ? "●" : webui.said(type)) : "";
        }
      }
    }
  };

  // ---- pictures of units that are not on the page yet ----
  const addressOf = (path) => {
    const { root = "", api_prefix: api = "/gradio_api" } = window.gradio_config ?? {};
    return `${root}${api}/${path}`;
  };
  const uploaded = async (blob) => {
    if (!blob) return null;
    const body = new FormData();
    body.append("files", new File([blob], "picture.png", { type: blob.type }));
    const answer = await fetch(addressOf("upload"), { method: "POST", body }).catch(() => null);
    const path = answer?.ok ? (await answer.json())[0] : null;
    return path ? { path, url: addressOf(`file=${path}`), meta: { _type: "gradio.FileData" } } : null;
  };
  const pictureOf = async (name) => {
    const record = await webui.store.get(`canvas:${name}`);
    // An editor on the page brings its picture back by itself.
    if (!record?.picture || document.getElementById(name)) return undefined;
    const [picture, layer] = await Promise.all([uploaded(record.picture), uploaded(record.layer)]);
    return picture ? { picture, layer } : undefined;
  };

  const opened = async (declared) => {
    spec = declared;
    while (!webui.keep || !Object.keys(webui.keep.values(Object.keys(spec.units)[0] ?? "")).length) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    webui.keep.onChange(badges);
    badges();
    // Open groups are put on the page first.
    await new Promise((resolve) => setTimeout(resolve, 600));
    for (const [tab, units] of Object.entries(spec.units)) {
      const press = (name) => document.getElementById(`${tab}_controlnet_${name}`)?.click();
      if (document.querySelector(`#${tab}_controlnet > button.label-wrap.open`)) press("renew");
      const names = units.flatMap((unit) => [`${unit}_input_image`, `${unit}_effective_region_mask`]);
      kept[tab] = await Promise.all(names.map(pictureOf));
      if (kept[tab].some(Boolean)) press("pictures");
    }
  };

  // ---- what the buttons do ----
  const blobOf = async (address) => (await fetch(address)).blob();
  const sizeFor = (side) => Math.max(64, side % 8 <= 4 ? side - (side % 8) : side + 8 - (side % 8));
  const takePicture = async (unit, address) => {
    const editor = webui.canvas.editor(`${unit}_input_image`);
    if (!editor) return;
    // Not `choose`: what a person puts in makes the map beside it stale, this is the map.
    if (!(await editor.setPicture(await blobOf(address), null))) return;
    editor.trigger("change");
    const values = { module: "none", pixel_perfect: false, enabled: true };
    const given = Object.entries(values).map(([field, value]) => [idOf(unit, field), value]);
    webui.keep.give(tabOf(unit), Object.fromEntries(given));
  };
  const openPose = (unit, poses, width, height) => {
    const editor = webui.canvas.editor(`${unit}_input_image`);
    const own = editor?.picture;
    webui.pose.open({
      unit,
      poses,
      picture: own ? editor.image.src : null,
      width: own?.width ?? width ?? 512,
      height: own?.height ?? height ?? 512,
    });
  };
  const ACTS = {
    input: (unit, map) => takePicture(unit, map.querySelector("img").src),
    size: (unit, map) => {
      const tab = tabOf(unit);
      const [width, height] = [Number(map.dataset.width), Number(map.dataset.height)].map(sizeFor);
      webui.keep.give(tab, { [`${tab}_width`]: width, [`${tab}_height`]: height });
    },
    pose: (unit, map) => openPose(unit, JSON.parse(map.dataset.poses), Number(map.dataset.width), Number(map.dataset.height)),
    close: (unit) => webui.keep.give(tabOf(unit), { [`${unit}_controlnet_preprocessor_preview_checkbox`]: false }),
    "new-pose": (unit) => {
      const map = document.querySelector(`#${unit}_generated_image .control-map`);
      if (map?.dataset.poses) return ACTS.pose(unit, map);
      return openPose(unit, null);
    },
    fetch: (unit, _map, button) => {
      wanted = button.dataset.module;
      document.getElementById(`${tabOf(unit)}_controlnet_fetch`)?.click();
    },
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".control-unit [data-act]");
    if (button) {
      const map = button.closest(".control-map");
      ACTS[button.dataset.act]?.(map?.dataset.unit ?? button.dataset.unit, map, button);
    }
    const head = event.target.closest?.(".control-group > button.label-wrap");
    const renew = () => head.classList.contains("open") && document.getElementById(`${head.parentElement.id}_renew`)?.click();
    if (head) setTimeout(renew, 60);
    // Tabs and group heads are put on the page anew when they are opened.
    if (event.target.closest?.(".control-group")) setTimeout(badges, 120);
  });
  // Strokes reach the server before the group or the unit is closed over them.
  document.addEventListener(
    "pointerleave",
    (event) => {
      const view = event.target instanceof Element && event.target.matches(".control-unit .canvas-view") ? event.target : null;
      const editor = view && webui.canvas.editor(view.closest(".canvas-editor").dataset.name);
      const isNew = editor?.picture && (!editor.sent.picture || (editor.layer?.used && !editor.sent.layer));
      if (isNew) editor.flush().catch(() => undefined);
    },
    true,
  );

  webui.controlnet = {
    opened,
    settled,
    typed,
    chosen,
    listed: renewed,
    takePicture,
    fetching: () => wanted,
    pictures: (tab) => kept[tab],
    // Number of the unit that is open.
    openUnit(tab) {
      const open = document.querySelector(`#${tab}_controlnet_tabs [role="tab"][aria-selected="true"]`);
      return (open?.dataset.tabId ?? "unit-0").replace("unit-", "");
    },
    // The open unit's values by the end of their controls' ids, as JSON.
    async values(tab) {
      const unit = spec.units[tab][Number(webui.controlnet.openUnit(tab))];
      const all = await webui.keep.fresh(tab);
      const found = Object.values(spec.ids).map((ending) => [ending, all[`${unit}_${ending}`]]);
      return JSON.stringify(Object.fromEntries(found.filter(([, value]) => value !== undefined)));
    },
  };
})();
