// The picture editor: a picture, over it a mask or a colour sketch at the picture's own resolution. ui/canvas.py places
// it and says what its value means. Zooming and panning move elements by CSS, so only what a stroke touches is painted.
(() => {
  const webui = (window.webui ??= {});

  // Larger pictures get a coarser layer: some browsers refuse canvases beyond this, and the server scales it back.
  const LAYER_PIXELS = 4096 * 4096;
  const SIDE_STEP = 8;
  const LONGEST_SIDE = 2048;
  const MAX_ZOOM = 32;
  const TAP_MS = 250;

  const editors = new Map();
  const pageOptions = () => {
    const holder = document.querySelector("#page_options [data-options]");
    return holder ? JSON.parse(holder.dataset.options) : {};
  };

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const pngOf = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  // canvas_layer.js comes after this file, so its parts are taken when they are needed.
  const surface = (width, height) => webui.layers.surface(width, height);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---- kept pictures: one record per editor in the browser's own database, see keep.js ----
  const recordKey = (name) => `canvas:${name}`;
  const keepRecord = (name, record) => (record ? webui.store.set(recordKey(name), record) : webui.store.remove(recordKey(name)));
  const keptRecord = (name) => webui.store.get(recordKey(name));

  // ---- the tool bar ----
  const ICONS = {
    brush: "M4 20c3 0 5-1 5-3.5 0-1.5-1-2.5-2.5-2.5S4 15.5 4 17v3zM9 15 19 4l1.5 1.5L10.500 16.500",
    eraser: "M8 20h12M5 13l8-8 6 6-8 8H9l-4-4zM9 9l6 6",
    rectangle: "M4 6h16v12H4z",
    lasso: "M12 4c5 0 8 2.500 8 5.500S17 15 12 15s-8-2.500-8-5.500S7 4 12 4zM7 14c-2 2 0 4 2 3s2 2 1 4",
    fill: "M5 13 12 4l7 8-7 7-7-6zM12 4V2M20 15c1.500 2 2 3 2 4a1.500 1.500 0 0 1-3 0c0-1 .500-2 1-4z",
    picker: "M14 6l4 4M4 20l1-4 9-9 3 3-9 9-4 1zM15 5l2-2 4 4-2 2",
    undo: "M8 5 4 9l4 4M4 9h9a6 6 0 0 1 0 12h-3",
    redo: "m16 5 4 4-4 4M20 9h-9a6 6 0 0 0 0 12h3",
    invert: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M12 8h3.500M12 12h4M12 16h3.500",
    clear: "M6 6l12 12M18 6 6 18",
    feather: "M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM3 12h.01M21 12h.01M12 2h.01M12 22h.01M5 5h.01M19 5h.01M5 19h.01M19 19h.01",
    smaller: "M5 12h14",
    larger: "M5 12h14M12 5v14",
    fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5M9 9h6v6H9z",
    full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
    open: "M12 16V5M8 9l4-4 4 4M5 19h14",
    remove: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  };
  const icon = (name) =>
    `<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="${ICONS[name]}"/></svg>`;

  // Which tools and buttons an editor of a kind has, in groups.
  const TOOLS = { mask: ["brush", "eraser", "rectangle", "lasso", "fill"], sketch: ["brush", "eraser", "rectangle", "lasso", "fill", "picker"], picture: [] };
  const ACTIONS = { mask: ["undo", "redo", "invert", "clear"], sketch: ["undo", "redo", "clear"], picture: [] };
  const VIEWS = { mask: ["feather", "smaller", "larger", "fit", "full"], sketch: ["smaller", "larger", "fit", "full"], picture: ["fit", "full"] };

  class Editor {
    constructor(parts) {
      Object.assign(this, parts);
      const { kind, words, name } = this.props;
      [this.kind, this.words, this.name] = [kind, words, name];
      this.tool = "brush";
      this.size = 40;
      this.color = this.colorWanted();
      this.picture = null;
      this.layer = null;
      this.sent = { picture: null, layer: null };
      this.place = { x: 0, y: 0, scale: 1 };
      this.fitted = true;
      this.pointers = new Map();
      this.held = new Set();
      this.feathered = false;
      this.changes = 0;
      this.build();
      this.listen();
      this.show();
    }

    // ---- building ----

    build() {
      this.buttons = {};
      const button = (id) => {
        const node = make("button", { type: "button", class: "canvas-button", "aria-label": this.words[id], title: this.words[id] });
        node.innerHTML = icon(id);
        node.addEventListener("click", () => this.act(id));
        // Two fingers do this on a phone.
        if (id === "smaller" || id === "larger") node.classList.add("by-touch");
        this.buttons[id] = node;
        return node;
      };
      const group = (label, ...nodes) => make("div", { class: "canvas-group", role: "group", "aria-label": label }, ...nodes);
      const slider = (id, low, high, value) => {
        const node = make("input", { type: "range", min: low, max: high, step: 1, value, "aria-label": this.words[id], title: this.words[id] });
        this[`${id}Slider`] = node;
        return make("label", { class: "canvas-slider" }, make("span", {}, this.words[`${id}_short`]), node);
      };
      this.bar = make("div", { class: "canvas-bar", role: "toolbar", "aria-label": this.words.toolbar });
      if (TOOLS[this.kind].length) {
        this.bar.append(group(this.words.tools, ...TOOLS[this.kind].map(button)));
        const settings = [slider("size", 0, 100, 50)];
        if (this.kind === "sketch") {
          this.picked = make("input", { type: "color", value: this.color, class: "canvas-color", "aria-label": this.words.color, title: this.words.color });
          settings.unshift(this.picked);
        } else settings.push(slider("opacity", 10, 100, 60));
        this.bar.append(group(this.words.brush_settings, ...settings));
        this.bar.append(group(this.words.actions, ...ACTIONS[this.kind].map(button)));
      }
      this.bar.append(group(this.words.view, ...VIEWS[this.kind].map(button)));
      this.bar.append(group(this.words.file, ...["open", "remove"].map(button)));

      this.image = make("img", { alt: this.words.picture_alt, draggable: "false" });
      this.outline = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      this.outline.setAttribute("aria-hidden", "true");
      this.shape = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
      this.outline.append(this.shape);
      this.stage = make("div", { class: "canvas-stage" }, this.image, this.outline);
      this.cursor = make("div", { class: "canvas-cursor", "aria-hidden": "true" });
      this.view = make("div", { class: "canvas-view", tabindex: "0", role: "group", "aria-label": this.props.title, "aria-roledescription": this.words.role, "aria-description": this.words[this.kind === "picture" ? "help_picture" : "help_paint"] }, this.stage, this.cursor);
      this.chooser = make("input", { type: "file", accept: "image/*", hidden: "", tabindex: "-1", "aria-hidden": "true" });
      this.empty = make("button", { type: "button", class: "canvas-empty" }, make("b", {}, this.words.drop), make("span", {}, this.words.drop_more));
      this.status = make("div", { class: "canvas-status", "aria-live": "polite" });
      this.hint = make("div", { class: "canvas-hint" });
      this.root = make(
        "div",
        { class: `canvas-editor canvas-${this.kind}`, "data-name": this.name },
        make("div", { class: "canvas-title" }, this.props.title),
        this.bar,
        make("div", { class: "canvas-frame" }, this.empty, this.view, make("div", { class: "canvas-foot" }, this.hint, this.status)),
        this.chooser,
      );
      this.root.style.setProperty("--editor-height", `${pageOptions().img2img_editor_height ?? 720}px`);
      this.element.replaceChildren(this.root);
    }

    listen() {
      this.empty.addEventListener("click", () => this.chooser.click());
      this.chooser.addEventListener("change", () => {
        if (this.chooser.files.length) this.choose(this.chooser.files[0]);
        this.chooser.value = "";
      });
      this.root.addEventListener("dragover", (event) => {
        event.preventDefault();
        this.root.classList.add("dropping");
      });
      this.root.addEventListener("dragleave", () => this.root.classList.remove("dropping"));
      this.root.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.root.classList.remove("dropping");
        this.takeDrop(event.dataTransfer);
      });
      const handlers = { pointerdown: "press", pointermove: "move", pointerup: "release", pointercancel: "abandon", pointerleave: "leave" };
      for (const [name, method] of Object.entries(handlers)) this.view.addEventListener(name, (event) => this[method](event));
      this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.view.addEventListener("contextmenu", (event) => this.picture && event.preventDefault());
      // The middle button would start the browser's own scrolling.
      this.view.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
      this.sizeSlider?.addEventListener("input", () => {
        this.size = Math.round(1.06 ** Number(this.sizeSlider.value) * 2 - 1);
        this.show();
      });
      this.opacitySlider?.addEventListener("input", () => this.show());
      this.picked?.addEventListener("input", () => (this.color = this.picked.value));
      new ResizeObserver(() => this.fitted && this.fit()).observe(this.view);
      document.addEventListener("fullscreenchange", () => {
        if (this.isFull && document.fullscreenElement !== this.root) this.setFull(false);
      });
    }

    act(id) {
      if (TOOLS[this.kind].includes(id)) this.tool = id;
      else if (id === "undo" || id === "redo" || id === "clear") this.layer?.[id]() && this.changed();
      else if (id === "invert") this.layer?.invert(this.color) && this.changed();
      else if (id === "feather") this.feathered = !this.feathered;
      else if (id === "smaller" || id === "larger") this.zoomBy(id === "larger" ? 1.25 : 0.8);
      else if (id === "fit") this.fitted ? this.zoomTo(1) : this.fit();
      else if (id === "full") this.setFull(!this.isFull);
      else if (id === "open") this.chooser.click();
      else if (id === "remove") this.remove();
      this.show();
    }

    // Brings tool bar, cursor and overlay in line with the state.
    show() {
      for (const id of TOOLS[this.kind]) this.buttons[id].setAttribute("aria-pressed", String(this.tool === id));
      this.buttons.feather?.setAttribute("aria-pressed", String(this.feathered));
      this.buttons.full.setAttribute("aria-pressed", String(Boolean(this.isFull)));
      const filled = this.picture !== null;
      this.root.classList.toggle("filled", filled);
      for (const [id, node] of Object.entries(this.buttons)) {
        if (id === "open") continue;
        node.disabled = !filled || (id === "undo" && !this.layer?.done.length) || (id === "redo" && !this.layer?.undone.length);
      }
      if (this.sizeSlider) this.sizeSlider.value = Math.round(Math.log((this.size + 1) / 2) / Math.log(1.06));
      this.size = clamp(this.size, 1, 1000);
      this.status.textContent = filled ? `${this.picture.width} × ${this.picture.height} · ${Math.round(this.place.scale * 100)} %` : "";
      const options = pageOptions();
      this.hint.textContent = filled && options.canvas_show_tooltip !== false ? this.hintWords(options) : "";
      this.view.classList.toggle("drawing", ["brush", "eraser"].includes(this.tool) && this.kind !== "picture");
      this.cursor.style.width = this.cursor.style.height = `${this.size * this.place.scale}px`;
      if (this.layer) {
        const { style } = this.layer.canvas;
        style.opacity = this.kind === "mask" ? Number(this.opacitySlider.value) / 100 : 1;
        const blur = this.feathered && !this.stroke ? this.blurWanted() : 0;
        style.filter = blur ? `blur(${blur}px)` : "";
      }
    }

    // White is what A1111 masks with, and cannot be seen on light pictures.
    colorWanted() {
      const wanted = pageOptions()[this.props.color_option];
      return !wanted || (this.kind === "mask" && wanted === "#ffffff") ? this.props.color : wanted;
    }

    hintWords(options) {
      const key = (name) => (name === "Ctrl" && navigator.platform.startsWith("Mac") ? "⌃" : name);
      const zoom = this.words.hint_zoom.replace("KEY", key(options.canvas_hotkey_zoom ?? "Alt"));
      const size = this.words.hint_size.replace("KEY", key(options.canvas_hotkey_adjust ?? "Ctrl"));
      return this.kind === "picture" ? zoom : `${zoom} · ${size}`;
    }

    blurWanted() {
      const field = document.querySelector(`#${this.props.blur} input[type=number]`);
      return field ? Number(field.value) || 0 : 4;
    }

    // ---- picture in, picture out ----

    takeDrop(transfer) {
      const file = [...transfer.files].find((each) => each.type.startsWith("image/") || each.type === "");
      if (file) return this.choose(file);
      const url = transfer.getData("text/uri-list") || transfer.getData("text/plain");
      if (url) return this.fetched(url).then((blob) => this.choose(blob), () => this.say(this.words.not_fetched));
    }

    async fetched(url) {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.blob();
    }

    // A picture that a person gave: takes the place of what was there.
    async choose(file) {
      if (await this.setPicture(file, null)) {
        this.trigger("upload");
        this.trigger("change");
      }
    }

    async setPicture(blob, sent) {
      const number = ++this.changes;
      const image = new Image();
      const url = URL.createObjectURL(blob);
      image.src = url;
      try {
        await image.decode();
      } catch {
        URL.revokeObjectURL(url);
        this.say(this.words.not_shown);
        return false;
      }
      if (number !== this.changes) return false;
      if (this.image.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
      this.image.src = url;
      this.picture = { blob, width: image.naturalWidth, height: image.naturalHeight };
      this.sent = { picture: sent, layer: null };
      this.setLayer();
      this.fit();
      this.tell();
      this.keepSoon();
      this.show();
      return true;
    }

    setLayer() {
      this.layer?.canvas.remove();
      this.layer = null;
      const { width, height } = this.picture;
      for (const [name, value] of [["width", width], ["height", height]]) {
        this.stage.style[name] = `${value}px`;
        this.image.style[name] = `${value}px`;
      }
      this.outline.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.view.style.aspectRatio = `${width} / ${height}`;
      if (this.kind === "picture") return;
      this.ratio = Math.min(1, Math.sqrt(LAYER_PIXELS / (width * height)));
      this.layer = new webui.layers.Layer(Math.round(width * this.ratio), Math.round(height * this.ratio));
      this.layer.canvas.setAttribute("aria-hidden", "true");
      this.image.after(this.layer.canvas);
      this.size = clamp(this.size, Math.ceil(Math.max(width, height) / 60), Math.ceil(Math.max(width, height) / 6));
    }

    remove() {
      this.changes++;
      this.layer?.canvas.remove();
      this.image.removeAttribute("src");
      [this.picture, this.layer, this.sent] = [null, null, { picture: null, layer: null }];
      this.tell();
      this.keepSoon(0);
      this.trigger("clear");
      this.trigger("change");
      this.empty.focus();
    }

    // After a stroke or another change of the layer.
    changed() {
      this.sent.layer = null;
      this.layerPng = null;
      this.show();
      this.keepSoon();
    }

    keepSoon(delay = null) {
      clearTimeout(this.keeping);
      const large = this.picture && this.picture.width * this.picture.height > 4e6;
      this.keeping = setTimeout(() => this.keep(), delay ?? (large ? 1200 : 400));
    }

    async keep() {
      if (!this.picture) return keepRecord(this.name, null);
      const layer = await this.layerBlob();
      if (this.picture) await keepRecord(this.name, { picture: this.picture.blob, layer, sent: this.sent, size: this.size });
      this.root.dataset.kept = String(this.changes);
    }

    async layerBlob() {
      if (!this.layer || this.layer.used === null) return null;
      return (this.layerPng ??= await pngOf(this.layer.canvas));
    }

    async restore(record) {
      if (!(await this.setPicture(record.picture, record.sent?.picture ?? null))) return;
      if (record.layer && this.layer) await this.paintLayer(record.layer);
      this.sent = record.sent ?? this.sent;
      this.size = record.size ?? this.size;
      this.tell();
      this.show();
      this.trigger("change");
    }

    async paintLayer(blob) {
      const painted = await createImageBitmap(blob);
      for (const context of [this.layer.context, this.layer.savedContext]) {
        context.drawImage(painted, 0, 0, this.layer.canvas.width, this.layer.canvas.height);
      }
      this.layer.used = this.layer.whole;
      this.layerPng = null;
      this.keepSoon();
    }

    // What the server gave: a picture that was sent here, or nothing.
    async receive(value) {
      const given = value?.picture;
      if (!given) return this.picture && value === null ? this.remove() : undefined;
      if (typeof given === "string" || !given.url) return undefined;
      try {
        await this.setPicture(await this.fetched(given.url), { path: given.path, url: given.url });
        const layer = value.layer;
        if (layer?.url && this.layer) {
          await this.paintLayer(await this.fetched(layer.url));
          this.sent.layer = { path: layer.path, url: layer.url };
          this.tell();
        }
        this.trigger("change");
      } catch {
        this.say(this.words.not_fetched);
      }
    }

    // Hands the value to the page; files that are not on the server yet are null until `flush`.
    tell() {
      const { picture, layer } = this.sent;
      this.props.value = this.picture
        ? { picture: picture?.path ?? null, layer: layer?.path ?? null, width: this.picture.width, height: this.picture.height }
        : null;
    }

    // Brings the files to the server, where they are not there yet or no longer.
    async flush() {
      if (!this.picture) return;
      if (this.stroke) this.finishStroke();
      const there = async (sent) => sent !== null && (await fetch(sent.url, { method: "HEAD" }).catch(() => ({ ok: false }))).ok;
      const hasLayer = this.layer !== null && this.layer.used !== null;
      const [pictureThere, layerThere] = await Promise.all([there(this.sent.picture), hasLayer ? there(this.sent.layer) : true]);
      if (!pictureThere) this.sent.picture = await this.uploaded(this.picture.blob, "picture");
      if (!layerThere) {
        const changes = this.layerPng;
        const blob = await this.layerBlob();
        const sent = await this.uploaded(blob, "layer");
        if (changes === null || changes === this.layerPng || this.layerPng === blob) this.sent.layer = sent;
      }
      this.tell();
      if (!pictureThere || !layerThere) this.keepSoon();
    }

    async uploaded(blob, name) {
      const ending = (blob.type.split("/")[1] || "png").replace(/[^a-z0-9].*/, "");
      this.say(this.words.sending);
      const { path, url } = await this.upload(new File([blob], blob.name ?? `${name}.${ending}`, { type: blob.type }));
      this.say("");
      return { path, url };
    }

    say(words) {
      this.status.textContent = words;
      if (!words) this.show();
    }

    // The picture with what was painted in colour, as a new file.
    async composed() {
      if (this.kind !== "sketch" || this.layer.used === null) return this.picture.blob;
      const [canvas, context] = surface(this.picture.width, this.picture.height);
      context.drawImage(this.image, 0, 0, canvas.width, canvas.height);
      context.drawImage(this.layer.canvas, 0, 0, canvas.width, canvas.height);
      return pngOf(canvas);
    }

    // ---- zoom and pan ----

    fit() {
      if (!this.picture) return;
      const { clientWidth, clientHeight } = this.view;
      if (!clientWidth || !clientHeight) return;
      const scale = Math.min(clientWidth / this.picture.width, clientHeight / this.picture.height, MAX_ZOOM);
      this.fitted = true;
      this.moveTo((clientWidth - this.picture.width * scale) / 2, (clientHeight - this.picture.height * scale) / 2, scale);
    }

    moveTo(x, y, scale) {
      this.place = { x, y, scale };
      this.stage.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
      this.stage.classList.toggle("enlarged", scale >= 3);
      this.show();
    }

    zoomBy(factor, at = null) {
      this.zoomTo(this.place.scale * factor, at);
    }

    zoomTo(wanted, at = null) {
      if (!this.picture) return;
      const [x, y] = at ?? [this.view.clientWidth / 2, this.view.clientHeight / 2];
      const scale = clamp(wanted, 0.02, MAX_ZOOM);
      const factor = scale / this.place.scale;
      this.fitted = false;
      this.moveTo(x - (x - this.place.x) * factor, y - (y - this.place.y) * factor, scale);
    }

    panBy(dx, dy) {
      this.fitted = false;
      this.moveTo(this.place.x + dx, this.place.y + dy, this.place.scale);
    }

    wheel(event) {
      if (!this.picture) return;
      const options = pageOptions();
      const off = options.canvas_disabled_functions ?? [];
      const held = (name) => ({ Alt: event.altKey, Ctrl: event.ctrlKey || event.metaKey, Shift: event.shiftKey })[name];
      // Two fingers on a trackpad arrive as a wheel with a Ctrl key that nobody holds.
      const pinched = event.ctrlKey && !heldKeys.has("Control");
      const amount = event.deltaY || event.deltaX;
      if (held(options.canvas_hotkey_adjust ?? "Ctrl") && !pinched && !off.includes("Adjust brush size")) {
        event.preventDefault();
        this.resize(amount < 0 ? 1.12 : 1 / 1.12);
      } else if ((pinched || held(options.canvas_hotkey_zoom ?? "Alt") || this.isFull) && !off.includes("Zoom")) {
        event.preventDefault();
        this.zoomBy(Math.exp(-clamp(amount, -100, 100) * (pinched ? 0.01 : 0.002)), this.inView(event));
      }
    }

    resize(factor) {
      const size = this.size * factor;
      this.size = clamp(factor > 1 ? Math.ceil(size) : Math.floor(size), 1, 1000);
      this.show();
    }

    setFull(full) {
      this.isFull = full;
      this.root.classList.toggle("full", full);
      if (full) this.root.requestFullscreen?.().catch(() => {});
      else if (document.fullscreenElement === this.root) document.exitFullscreen();
      this.fitted = true;
      this.show();
      requestAnimationFrame(() => this.fit());
    }

    // ---- pointer ----

    inView(event) {
      const box = this.view.getBoundingClientRect();
      return [event.clientX - box.left - this.view.clientLeft, event.clientY - box.top - this.view.clientTop];
    }

    inPicture(event) {
      const [x, y] = this.inView(event);
      return [(x - this.place.x) / this.place.scale, (y - this.place.y) / this.place.scale];
    }

    press(event) {
      if (!this.picture) return;
      this.view.focus({ preventScroll: true });
      this.view.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.inView(event));
      if (event.pointerType === "touch" && this.pointers.size === 2) {
        this.dropStroke();
        this.pinch = this.spread();
      } else if (event.button === 1 || this.held.has(" ") || this.moving || this.kind === "picture") {
        this.panning = event.pointerId;
        this.view.classList.add("panning");
      } else if (this.pointers.size === 1 && (event.button === 0 || event.button === 5)) {
        this.begin(event);
      }
    }

    begin(event) {
      const point = this.inPicture(event);
      if (this.tool === "picker" || (event.altKey && this.kind === "sketch")) return this.pick(point);
      if (this.tool === "fill") return this.fill(point);
      const erases = this.tool === "eraser" || event.button === 5;
      this.stroke = { tool: erases ? "eraser" : this.tool, points: [point] };
      this.show();
      if (this.tool === "brush" || erases) {
        const from = event.shiftKey && this.lastPoint ? this.lastPoint : point;
        this.segment(from, point, this.width(event));
      }
    }

    move(event) {
      const at = this.inView(event);
      this.cursor.style.transform = `translate(${at[0]}px, ${at[1]}px) translate(-50%, -50%)`;
      this.view.classList.add("pointed");
      if (!this.pointers.has(event.pointerId)) return;
      const before = this.pointers.get(event.pointerId);
      this.pointers.set(event.pointerId, at);
      if (this.pinch) return this.pinched();
      if (this.panning === event.pointerId) return this.panBy(at[0] - before[0], at[1] - before[1]);
      if (!this.stroke) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.extend(each);
    }

    extend(event) {
      const point = this.inPicture(event);
      const { tool, points } = this.stroke;
      if (tool === "brush" || tool === "eraser") this.segment(points[points.length - 1], point, this.width(event));
      points.push(point);
      if (tool === "lasso") this.shape.setAttribute("points", points.map((each) => each.join(",")).join(" "));
      if (tool === "rectangle") this.shape.setAttribute("points", corners(points[0], point).map((each) => each.join(",")).join(" "));
    }

    release(event) {
      this.pointers.delete(event.pointerId);
      if (this.pinch) {
        if (this.pointers.size === 0) this.pinch = null;
        return;
      }
      if (this.panning === event.pointerId) {
        this.panning = null;
        this.view.classList.remove("panning");
      } else if (this.stroke) this.finishStroke();
    }

    abandon(event) {
      this.dropStroke();
      this.release(event);
    }

    leave() {
      if (!this.pointers.size) this.view.classList.remove("pointed");
    }

    spread() {
      const [[ax, ay], [bx, by]] = [...this.pointers.values()];
      return { x: (ax + bx) / 2, y: (ay + by) / 2, length: Math.hypot(ax - bx, ay - by) || 1 };
    }

    pinched() {
      if (this.pointers.size < 2) return;
      const now = this.spread();
      this.panBy(now.x - this.pinch.x, now.y - this.pinch.y);
      this.zoomBy(now.length / this.pinch.length, [now.x, now.y]);
      this.pinch = now;
    }

    // ---- painting ----

    width(event) {
      const pressed = event.pointerType === "pen" && event.pressure > 0 ? 0.25 + 0.75 * event.pressure : 1;
      return this.size * pressed;
    }

    painting(tool) {
      const { context } = this.layer;
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      context.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
      context.strokeStyle = context.fillStyle = this.color;
      context.lineCap = context.lineJoin = "round";
      return context;
    }

    painted(context, points, margin) {
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.globalCompositeOperation = "source-over";
      const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
      const side = (value, by) => value * this.ratio + by * (margin * this.ratio + 2);
      this.layer.touch(side(Math.min(...xs), -1), side(Math.min(...ys), -1), side(Math.max(...xs), 1), side(Math.max(...ys), 1));
    }

    segment(from, to, width) {
      const context = this.painting(this.stroke.tool);
      context.beginPath();
      if (from[0] === to[0] && from[1] === to[1]) {
        context.arc(to[0], to[1], width / 2, 0, 2 * Math.PI);
        context.fill();
      } else {
        context.lineWidth = width;
        context.moveTo(...from);
        context.lineTo(...to);
        context.stroke();
      }
      this.painted(context, [from, to], width / 2);
    }

    finishStroke() {
      const { tool, points } = this.stroke;
      this.stroke = null;
      this.lastPoint = points[points.length - 1];
      this.shape.removeAttribute("points");
      if ((tool === "lasso" && points.length > 2) || (tool === "rectangle" && points.length > 1)) {
        const outline = tool === "lasso" ? points : corners(points[0], this.lastPoint);
        const context = this.painting(tool);
        context.beginPath();
        outline.forEach((point, index) => (index ? context.lineTo(...point) : context.moveTo(...point)));
        context.fill();
        this.painted(context, outline, 0);
      }
      if (this.layer.commit()) this.changed();
      this.show();
    }

    dropStroke() {
      if (!this.stroke) return;
      this.stroke = null;
      this.shape.removeAttribute("points");
      this.layer.cancel();
      this.show();
    }

    pick([x, y]) {
      const [, context] = surface(1, 1);
      context.drawImage(this.image, -x, -y, this.picture.width, this.picture.height);
      context.drawImage(this.layer.canvas, -x, -y, this.picture.width, this.picture.height);
      const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
      this.color = `#${[red, green, blue].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
      this.picked.value = this.color;
      this.tool = "brush";
      this.show();
    }

    // Fills the enclosed area: of the mask itself, or of one colour of picture and sketch together.
    fill([px, py]) {
      const { canvas } = this.layer;
      const [width, height] = [canvas.width, canvas.height];
      const [x, y] = [Math.floor(px * this.ratio), Math.floor(py * this.ratio)];
      if (x < 0 || y < 0 || x >= width || y >= height) return;
      const [area, areaContext] = surface(width, height);
      if (this.kind === "sketch") areaContext.drawImage(this.image, 0, 0, width, height);
      areaContext.drawImage(canvas, 0, 0);
      const pixels = areaContext.getImageData(0, 0, width, height).data;
      const { found, box } = webui.layers.floodArea(pixels, width, height, x, y);
      const [boxWidth, boxHeight] = [box[2] - box[0], box[3] - box[1]];
      const filled = new ImageData(boxWidth, boxHeight);
      const opaque = new Uint32Array(filled.data.buffer);
      const [red, green, blue] = [1, 3, 5].map((start) => parseInt(this.color.slice(start, start + 2), 16));
      const color = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
      for (let row = 0; row < boxHeight; row++) {
        for (let column = 0; column < boxWidth; column++) {
          if (found[(box[1] + row) * width + box[0] + column]) opaque[row * boxWidth + column] = color;
        }
      }
      [area.width, area.height] = [boxWidth, boxHeight];
      areaContext.putImageData(filled, 0, 0);
      this.layer.context.drawImage(area, box[0], box[1]);
      this.layer.touch(...box);
      if (this.layer.commit()) this.changed();
    }

    // ---- keyboard ----

    key(event) {
      const command = event.ctrlKey || event.metaKey;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (command) {
        if (key === "z") this.act(event.shiftKey ? "redo" : "undo");
        else if (key === "y") this.act("redo");
        else return false;
        return this.kind !== "picture";
      }
      if (event.altKey) return false;
      const options = pageOptions();
      const off = options.canvas_disabled_functions ?? [];
      const is = (name, fallback, disabled) => key === (options[name] ?? fallback).toLowerCase() && !off.includes(disabled);
      if (key === " ") {
        if (event.target !== this.view && !this.view.classList.contains("pointed")) return false;
        this.held.add(" ");
      } else if (is("canvas_hotkey_move", "F", "Moving canvas")) {
        if (!event.repeat) this.moving = { since: performance.now(), from: { ...this.place } };
      } else if (is("canvas_hotkey_fullscreen", "S", "Fullscreen")) this.act("full");
      else if (is("canvas_hotkey_reset", "R", "Reset Zoom")) this.fit();
      else if (key === "+" || key === "=") this.act("larger");
      else if (key === "-") this.act("smaller");
      else if (key === "0") this.fit();
      else if (key === "1") this.zoomTo(1);
      else if (key === "Escape" && this.isFull) this.setFull(false);
      else if (key === "Escape" && this.stroke) this.dropStroke();
      else return this.paintKey(key, event, is);
      return true;
    }

    paintKey(key, event, is) {
      const tools = { b: "brush", e: "eraser", l: "lasso", m: "rectangle", g: "fill", i: "picker" };
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (steps[key] && event.target === this.view) {
        const step = this.kind === "picture" ? 40 : Math.max(1, Math.round(this.size * this.place.scale * (event.shiftKey ? 0.1 : 0.5)));
        this.walk(steps[key][0] * step, steps[key][1] * step);
        return true;
      }
      if (this.kind === "picture") return false;
      if (key === "[" || is("canvas_hotkey_shrink_brush", "Q", "Hotkey shrink brush")) this.resize(1 / 1.12);
      else if (key === "]" || is("canvas_hotkey_grow_brush", "W", "Hotkey enlarge brush")) this.resize(1.12);
      else if (key === "e" && this.tool === "eraser") this.act("brush");
      else if (TOOLS[this.kind].includes(tools[key])) this.act(tools[key]);
      else if (key === "Enter" && event.target === this.view) this.dab();
      else return false;
      return true;
    }

    // Moves the brush by the keyboard, or the picture where nothing is painted.
    walk(dx, dy) {
      if (this.kind === "picture") return this.panBy(-dx, -dy);
      const { clientWidth, clientHeight } = this.view;
      const [x, y] = this.walker ?? [clientWidth / 2, clientHeight / 2];
      this.walker = [clamp(x + dx, 0, clientWidth), clamp(y + dy, 0, clientHeight)];
      this.cursor.style.transform = `translate(${this.walker[0]}px, ${this.walker[1]}px) translate(-50%, -50%)`;
      this.view.classList.add("pointed");
    }

    dab() {
      if (!this.picture) return;
      const [x, y] = this.walker ?? [this.view.clientWidth / 2, this.view.clientHeight / 2];
      const point = [(x - this.place.x) / this.place.scale, (y - this.place.y) / this.place.scale];
      if (this.tool === "fill") return this.fill(point);
      this.stroke = { tool: this.tool === "eraser" ? "eraser" : "brush", points: [point] };
      this.segment(point, point, this.size);
      this.finishStroke();
    }

    keyUp(event) {
      if (event.key === " ") this.held.delete(" ");
      const hotkey = (pageOptions().canvas_hotkey_move ?? "F").toLowerCase();
      if (this.moving && event.key.toLowerCase() === hotkey) {
        const { since, from } = this.moving;
        this.moving = null;
        const still = from.x === this.place.x && from.y === this.place.y;
        if (still && performance.now() - since < TAP_MS) this.act("full");
      }
    }
  }

  const corners = ([ax, ay], [bx, by]) => [[ax, ay], [bx, ay], [bx, by], [ax, by]];

  // ---- the page around the editors ----
  const heldKeys = new Set();
  const inUse = (editor) => editor.root.isConnected && editor.root.offsetParent !== null;
  const typing = (target) =>
    target instanceof HTMLElement && (target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName) || (target.tagName === "INPUT" && !/^(range|checkbox|radio|button|color)$/.test(target.type)));
  const current = (target) => {
    const shown = [...editors.values()].filter((editor) => inUse(editor) || editor.isFull);
    return (
      shown.find((editor) => editor.isFull) ??
      shown.find((editor) => target instanceof Node && editor.root.contains(target)) ??
      shown.find((editor) => editor.root.matches(":hover"))
    );
  };

  document.addEventListener(
    "keydown",
    (event) => {
      heldKeys.add(event.key);
      if (typing(event.target)) return;
      const editor = current(event.target);
      const onControl = event.target instanceof HTMLElement && event.target.closest("button, input") && [" ", "Enter"].includes(event.key);
      if (editor?.picture && !onControl && editor.key(event)) {
        event.preventDefault();
        event.stopImmediatePropagation();
      }
    },
    true,
  );
  document.addEventListener(
    "keyup",
    (event) => {
      heldKeys.delete(event.key);
      for (const editor of editors.values()) editor.keyUp(event);
    },
    true,
  );
  window.addEventListener("blur", () => {
    heldKeys.clear();
    for (const editor of editors.values()) editor.held.clear();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") for (const editor of editors.values()) editor.picture && editor.keep();
  });

  document.addEventListener(
    "paste",
    (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
      if (!file) return;
      const shown = [...editors.values()].filter(inUse);
      const target = current(event.target) ?? shown.find((editor) => editor.picture === null);
      if (!target) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      target.choose(file);
    },
    true,
  );

  // A button that starts something with the pictures waits until they are on the server.
  const WAITING = ".generate-box button, .needs-canvas, .needs-canvas button";
  let passing = false;
  document.addEventListener(
    "click",
    (event) => {
      const button = event.target instanceof Element ? event.target.closest(WAITING) : null;
      if (passing || button === null) return;
      const panel = button.closest('[role="tabpanel"][id^="tab_"]') ?? document;
      const concerned = [...editors.values()].filter((editor) => editor.picture && panel.contains(editor.root));
      if (!concerned.length) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      Promise.all(concerned.map((editor) => editor.flush())).then(
        () =>
          // The page takes a new value up with its next update.
          setTimeout(() => {
            passing = true;
            button.click();
            passing = false;
          }, 40),
        () => concerned.forEach((editor) => editor.say(editor.words.not_sent)),
      );
    },
    true,
  );

  webui.canvas = {
    // Builds an editor into an element of ui/canvas.py.
    async attach(parts) {
      const { name } = parts.props;
      const old = editors.get(name);
      const given = parts.props.value;
      const editor = new Editor(parts);
      editors.set(name, editor);
      parts.watch("value", () => editor.receive(parts.props.value));
      if (given?.picture?.url) return editor.receive(given);
      if (old?.picture) await old.keep();
      const record = await keptRecord(name);
      if (record && editor.picture === null) await editor.restore(record);
    },
    editor: (name) => editors.get(name),
    // Copies a picture, with its colours but without a mask, to another editor, which may not be on the page yet.
    async copy(from, to) {
      const source = editors.get(from);
      if (!source?.picture) return false;
      const blob = await source.composed();
      const target = editors.get(to);
      if (target?.root.isConnected) await target.choose(blob);
      else await keepRecord(to, { picture: blob, layer: null, sent: { picture: null, layer: null } });
      return true;
    },
    // "from 512×512 to 1024×1024", in the words given.
    scaled(value, scale, words, otherwise) {
      if (!value) return otherwise;
      const sides = { WIDTH: value.width, HEIGHT: value.height, WIDER: Math.floor(value.width * scale), HIGHER: Math.floor(value.height * scale) };
      return words.replace(/WIDTH|HEIGHT|WIDER|HIGHER/g, (side) => sides[side]);
    },
    // Width and height for the form: the picture's, within the sliders, in steps that models take.
    size(value) {
      if (!value) return null;
      const scale = Math.min(1, LONGEST_SIDE / Math.max(value.width, value.height));
      return [value.width, value.height].map((side) => Math.max(64, Math.floor((side * scale) / SIDE_STEP) * SIDE_STEP));
    },
  };
})();
