// The full-page viewer of a gallery's pictures: arrows, zoom by wheel and fingers, drag, save, how it was made.
(() => {
  const webui = (window.webui ??= {});
  const MOST = 16;
  const LEAST = 0.1;
  const LIVE_MS = 250;
  const word = (key) => webui.habits.word(key);
  const options = () => webui.page.options();

  let tab = ""; // whose gallery is shown
  let dialog = null;
  let isFit = true;
  let view = { scale: 1, x: 0, y: 0 };
  const fingers = new Map();

  const results = () => document.getElementById(`${tab}_results`) ?? document.getElementById(`${tab}_gallery`);
  const big = () => results()?.querySelector('img[data-testid="detailed-image"]');
  // Gradio keeps the grid in the document below the big picture.
  const thumbnails = () => {
    const strip = [...(results()?.querySelectorAll(".thumbnails .thumbnail-item") ?? [])];
    return strip.length ? strip : [...(results()?.querySelectorAll(".grid-container .thumbnail-item") ?? [])];
  };
  const pictureOf = (thumbnail) => thumbnail?.querySelector("img")?.src;
  const place = () => Math.max(0, thumbnails().findIndex((each) => each.classList.contains("selected")));
  const source = () => big()?.src ?? pictureOf(thumbnails()[place()]) ?? results()?.querySelector(".stage img")?.src;
  const part = (name) => dialog.querySelector(`.${name}`);

  // ---- zoom: scale 1 is the whole picture in the window, or its own size where that is chosen ----
  const draw = () => {
    const image = part("picture");
    image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  };
  const reset = () => {
    view = { scale: 1, x: 0, y: 0 };
    dialog.classList.toggle("fit", isFit);
    part("zoom").setAttribute("aria-pressed", String(!isFit));
    draw();
  };
  const zoomAt = (factor, clientX, clientY) => {
    const scale = Math.min(MOST, Math.max(LEAST, view.scale * factor));
    const [x, y] = [clientX - innerWidth / 2, clientY - innerHeight / 2];
    const change = scale / view.scale;
    view = { scale, x: x - (x - view.x) * change, y: y - (y - view.y) * change };
    draw();
  };

  // ---- what is shown ----
  const show = () => {
    const address = source();
    const image = part("picture");
    if (address && image.src !== address) image.src = address;
    const all = thumbnails();
    part("place").textContent = all.length > 1 ? `${place() + 1} / ${all.length}` : "";
    for (const name of ["previous", "next"]) part(name).hidden = all.length < 2;
    const record = document.querySelector(`#html_info_${tab} .record`);
    part("how").replaceChildren(...(record ? [record.cloneNode(true)] : []));
  };
  const step = (direction) => {
    const all = thumbnails();
    if (all.length < 2) return;
    all[(place() + direction + all.length) % all.length].click();
    reset();
    // The gallery answers a moment later, the record after the server did.
    for (const wait of [30, 200, 600]) setTimeout(() => dialog?.open && show(), wait);
  };
  const save = () => document.getElementById(`save_${tab}`)?.click();
  const toggleZoom = () => {
    isFit = !isFit;
    reset();
  };
  const toggleRecord = () => {
    const how = part("how");
    how.hidden = !how.hidden;
    part("infotext").setAttribute("aria-pressed", String(!how.hidden));
  };
  const showLive = () => {
    if (!dialog?.open) return;
    const wanted = options().js_live_preview_in_modal_lightbox;
    const live = wanted ? document.querySelector(`#${tab}_live_preview img`) : null;
    part("live").hidden = live === null;
    if (live && part("live").src !== live.src) part("live").src = live.src;
    if (!live) show();
  };

  // ---- the dialog ----
  const button = (name, text, run) => {
    const made = Object.assign(document.createElement("button"), { type: "button", className: name });
    made.setAttribute("aria-label", text);
    made.title = text;
    made.addEventListener("click", run);
    return made;
  };
  const build = () => {
    const made = document.createElement("dialog");
    made.id = "lightboxModal";
    made.setAttribute("aria-label", word("viewer"));
    const bar = Object.assign(document.createElement("div"), { className: "bar" });
    bar.append(
      Object.assign(document.createElement("span"), { className: "place" }),
      button("zoom icon-zoom", word("zoom"), toggleZoom),
      button("infotext icon-note", word("infotext"), toggleRecord),
      button("save icon-save", word("save"), save),
      button("close icon-close", word("close"), () => made.close()),
    );
    const image = Object.assign(document.createElement("img"), { className: "picture", alt: "", draggable: false });
    const live = Object.assign(document.createElement("img"), { className: "live", alt: word("live"), hidden: true });
    const how = Object.assign(document.createElement("div"), { className: "how", hidden: true });
    made.append(
      image,
      live,
      button("previous icon-left", word("previous"), () => step(-1)),
      button("next icon-right", word("next"), () => step(1)),
      how,
      bar,
    );
    made.addEventListener("keydown", onKey);
    made.addEventListener("wheel", onWheel, { passive: false });
    made.addEventListener("pointerdown", onDown);
    made.addEventListener("pointermove", onMove);
    for (const name of ["pointerup", "pointercancel"]) made.addEventListener(name, (event) => fingers.delete(event.pointerId));
    made.addEventListener("dblclick", (event) => event.target.closest("button, .how") ?? toggleZoom());
    made.addEventListener("close", () => fingers.clear());
    webui.keep.place().append(made);
    return made;
  };
  const open = (name) => {
    tab = name;
    if (!source()) return webui.say(word("no_picture"), null, 4);
    dialog ??= build();
    isFit = options().js_modal_lightbox_initially_zoomed !== false;
    dialog.showModal();
    reset();
    show();
    dialog.focus();
  };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      a: () => step(-1),
      d: () => step(1),
      s: save,
      z: toggleZoom,
      i: toggleRecord,
      0: reset,
      "+": () => zoomAt(1.25, innerWidth / 2, innerHeight / 2),
      "-": () => zoomAt(0.8, innerWidth / 2, innerHeight / 2),
    };
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }
  function onWheel(event) {
    if (event.target.closest(".how")) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }
  let pressed = null; // where a click began, to tell it from a drag
  function onDown(event) {
    if (event.target.closest("button, .how, .bar")) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    pressed = [event.clientX, event.clientY];
  }
  function onMove(event) {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    if (fingers.size === 1) {
      view.x += now[0] - before[0];
      view.y += now[1] - before[1];
      draw();
    } else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const distance = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      zoomAt(distance(now) / Math.max(1, distance(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    fingers.set(event.pointerId, now);
  }
  document.addEventListener("click", (event) => {
    // A click beside the picture closes; the end of a drag does not.
    const isStill = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4;
    if (event.target === dialog && isStill) dialog.close();
  });

  // ---- how it is opened ----
  const tabOf = (element) => element.closest(".results")?.id.replace(/_results$/, "");
  document.addEventListener(
    "click",
    (event) => {
      const opener = event.target.closest?.("button.open-viewer");
      if (opener) return open(opener.id.slice(0, -"_viewer".length));
      const image = event.target.closest?.('.stage img[data-testid="detailed-image"], .stage .media-button');
      if (!image || options().js_modal_lightbox === false) return;
      event.preventDefault();
      event.stopPropagation();
      open(tabOf(image));
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, textarea, select, [contenteditable], .canvas-block");
    if (event.key.toLowerCase() !== "f" || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
    if (webui.page.overlayOpen() || document.querySelector(".canvas-block:hover")) return;
    const name = webui.page.activeTab();
    if (document.getElementById(`${name}_viewer`)) open(name);
  });
  setInterval(showLive, LIVE_MS);

  webui.viewer = { open };
})();
