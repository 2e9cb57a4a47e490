// The pose editor: a dialog with the picture dimmed under the skeletons of OpenPose JSON. ui/pose_editor.py says the
// words; ui/control_tools.py's maps and the units' buttons open it; what it sends is drawn by the server.
(() => {
  const webui = (window.webui ??= {});
  const SVG = "http://www.w3.org/2000/svg";
  const BODY = 18;
  // Limbs of OpenPose's body by joint, in the order of their colours.
  const LIMBS = [
    [1, 2], [1, 5], [2, 3], [3, 4], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10], [1, 11], [11, 12], [12, 13], [1, 0],
    [0, 14], [14, 16], [0, 15], [15, 17],
  ];
  const WRISTS = { 4: "hand_right_keypoints_2d", 7: "hand_left_keypoints_2d" };
  const PARTS = ["pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "face_keypoints_2d"];
  // A standing figure in a box of 1 x 1, for a new person.
  const FIGURE = [
    [0.5, 0.1], [0.5, 0.22], [0.37, 0.22], [0.31, 0.37], [0.28, 0.51], [0.63, 0.22], [0.69, 0.37], [0.72, 0.51],
    [0.42, 0.53], [0.41, 0.74], [0.41, 0.94], [0.58, 0.53], [0.59, 0.74], [0.59, 0.94], [0.47, 0.08], [0.53, 0.08],
    [0.43, 0.1], [0.57, 0.1],
  ];
  const LEVELS = 100;
  const MAX_ZOOM = 12;

  let declared = { words: {}, joints: [] };
  let dialog = null;
  let state = null; // {unit, width, height, animals, people: [{part: [{x, y, shown}]}], chosen}
  let done = [];
  let undone = [];
  let view = { x: 0, y: 0, scale: 1 };
  let pending = "";
  const pointers = new Map();
  let drag = null;

  const word = (key, parts = {}) =>
    webui.said(declared.words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in parts ? String(parts[name]) : whole));
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const shape = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const hue = (index, of) => `hsl(${Math.round((index * 330) / of)} 95% 55%)`;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---- OpenPose JSON ----
  // Points keep their place while they are hidden; JSON says 0, 0, 0 of those.
  const pointsOf = (flat, width, height) => {
    if (!Array.isArray(flat) || !flat.length) return [];
    const isShare = flat.every((value, index) => index % 3 === 2 || Math.abs(value) <= 1);
    const [across, down] = isShare ? [width, height] : [1, 1];
    const points = [];
    for (let index = 0; index + 2 < flat.length; index += 3) {
      points.push({ x: flat[index] * across, y: flat[index + 1] * down, shown: flat[index + 2] >= 1 });
    }
    return points;
  };
  const placed = (points) => {
    const shown = points.filter((point) => point.shown);
    if (!shown.length) return points;
    const [x, y] = ["x", "y"].map((side) => shown.reduce((sum, point) => sum + point[side], 0) / shown.length);
    return points.map((point) => (point.shown || point.x || point.y ? point : { x, y, shown: false }));
  };
  const read = (pose) => {
    const { canvas_width: width, canvas_height: height, people } = pose ?? {};
    if (!(width >= 1) || !(height >= 1) || !Array.isArray(people)) throw new Error(word("bad_json"));
    const found = people.map((person) => {
      if (typeof person !== "object" || person === null) throw new Error(word("bad_json"));
      return Object.fromEntries(PARTS.map((part) => [part, placed(pointsOf(person[part], width, height))]));
    });
    for (const person of found) while (person[PARTS[0]].length && person[PARTS[0]].length < BODY) person[PARTS[0]].push({ x: 0, y: 0, shown: false });
    return { width, height, people: found, animals: Array.isArray(pose.animals) ? pose.animals : [] };
  };
  const written = () => {
    const flat = (points) => {
      if (!points.length) return null;
      const share = (value, of) => Number((value / of).toFixed(6));
      return points.flatMap(({ x, y, shown }) => (shown ? [share(x, state.width), share(y, state.height), 1] : [0, 0, 0]));
    };
    return {
      people: state.people.map((person) => Object.fromEntries(PARTS.map((part) => [part, flat(person[part])]))),
      animals: state.animals,
      canvas_width: state.width,
      canvas_height: state.height,
    };
  };

  // ---- changes ----
  const copyOf = (people) => JSON.parse(JSON.stringify(people));
  const remember = () => {
    done.push(copyOf(state.people));
    if (done.length > LEVELS) done.shift();
    undone = [];
  };
  const goTo = (from, to) => {
    if (!from.length) return;
    to.push(copyOf(state.people));
    state.people = from.pop();
    state.chosen = clamp(state.chosen, 0, Math.max(0, state.people.length - 1));
    show();
  };
  // A wrist takes its hand along.
  const move = (person, part, index, dx, dy) => {
    const keepIn = (point) => {
      point.x = clamp(point.x + dx, 0, state.width);
      point.y = clamp(point.y + dy, 0, state.height);
    };
    keepIn(person[part][index]);
    if (part === PARTS[0] && WRISTS[index]) person[WRISTS[index]].forEach(keepIn);
  };
  const moveAll = (person, dx, dy) => {
    for (const part of PARTS) {
      for (const point of person[part]) {
        point.x += dx;
        point.y += dy;
      }
    }
  };
  const add = () => {
    remember();
    const side = Math.min(state.width, state.height) * 0.9;
    const left = (state.width - side) / 2 + ((state.people.length * 37) % 90) - (state.people.length ? 45 : 0);
    const top = (state.height - side) / 2;
    const body = FIGURE.map(([x, y]) => ({ x: clamp(left + x * side, 0, state.width), y: top + y * side, shown: true }));
    state.people.push({ ...Object.fromEntries(PARTS.map((part) => [part, []])), [PARTS[0]]: body });
    state.chosen = state.people.length - 1;
    show();
  };
  const remove = () => {
    if (!state.people.length) return;
    remember();
    state.people.splice(state.chosen, 1);
    state.chosen = Math.max(0, state.chosen - 1);
    show();
  };
  const setShown = (person, part, index, shown) => {
    remember();
    person[part][index].shown = shown;
    show();
  };
  const load = (text) => {
    try {
      const found = read(JSON.parse(text));
      if (state.people.length) remember();
      Object.assign(state, found, { chosen: 0 });
      say("");
      fit();
    } catch (error) {
      say(error instanceof SyntaxError ? word("bad_json") : error.message);
    }
  };

  // ---- the dialog ----
  const parts = {};
  const say = (text) => {
    parts.said.textContent = text;
  };
  const button = (key, run, name = "") => {
    const made = make("button", { type: "button", class: name, "data-pose": key }, word(key));
    made.addEventListener("click", run);
    return made;
  };
  const build = () => {
    parts.svg = shape("svg", { class: "pose-canvas", "data-pose-canvas": "" });
    parts.stage = make("div", { class: "pose-stage" }, parts.svg);
    parts.people = make("div", { class: "pose-people", role: "radiogroup", "aria-label": word("people") });
    parts.joints = make("div", { class: "pose-joints", role: "group", "aria-label": word("joints") });
    parts.said = make("p", { class: "pose-said", role: "alert" });
    parts.file = make("input", { type: "file", accept: ".json,application/json", hidden: "", "data-pose": "file" });
    parts.file.addEventListener("change", async () => {
      const file = parts.file.files[0];
      parts.file.value = "";
      if (file) load(await file.text());
    });
    parts.text = make("textarea", { rows: 5, "aria-label": word("text"), spellcheck: "false" });
    const details = make("details", {}, make("summary", {}, word("text")), parts.text, button("use_text", () => load(parts.text.value)));
    details.addEventListener("toggle", () => {
      if (details.open) parts.text.value = JSON.stringify(written(), null, 1);
    });
    parts.dim = make("input", { type: "range", min: 0, max: 100, value: 45, "aria-label": word("dimmed") });
    parts.dim.addEventListener("input", show);
    parts.undo = button("undo", () => goTo(done, undone));
    parts.redo = button("redo", () => goTo(undone, done));
    parts.remove = button("remove", remove);
    const bar = make(
      "div",
      { class: "pose-bar", role: "toolbar", "aria-label": word("title") },
      parts.undo,
      parts.redo,
      button("smaller", () => zoom(0.8)),
      button("larger", () => zoom(1.25)),
      button("fit", fit),
      make("label", {}, word("dimmed"), parts.dim),
    );
    const side = make(
      "div",
      { class: "pose-side" },
      parts.people,
      make("div", { class: "pose-row" }, button("add", add), parts.remove),
      parts.joints,
      make("div", { class: "pose-row" }, button("load", () => parts.file.click()), button("save", save)),
      details,
      parts.file,
    );
    dialog = make(
      "dialog",
      { class: "pose-editor", "aria-label": word("title") },
      make("div", { class: "pose-head" }, make("h2", {}, word("title")), bar),
      make("div", { class: "pose-main" }, parts.stage, side),
      make(
        "div",
        { class: "pose-foot" },
        make("p", { class: "pose-help" }, word("help")),
        parts.said,
        button("cancel", () => dialog.close()),
        button("send", send, "primary"),
      ),
    );
    dialog.addEventListener("keydown", key);
    const handlers = { pointerdown: press, pointermove: moved, pointerup: release, pointercancel: release };
    for (const [name, handler] of Object.entries(handlers)) parts.svg.addEventListener(name, handler);
    parts.svg.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, pointAt(event));
      },
      { passive: false },
    );
    const narrow = matchMedia("(max-width: 768px)");
    const adapt = () => dialog.classList.toggle("narrow", narrow.matches);
    narrow.addEventListener("change", adapt);
    adapt();
    webui.keep.place().append(dialog);
  };

  // ---- drawing ----
  const show = () => {
    const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset?.joint : null;
    const { width, height } = state;
    parts.svg.setAttribute("viewBox", `${view.x} ${view.y} ${width / view.scale} ${height / view.scale}`);
    const nodes = [shape("rect", { x: 0, y: 0, width, height, class: "pose-ground" })];
    if (state.picture) {
      const picture = shape("image", { x: 0, y: 0, width, height, preserveAspectRatio: "none", opacity: Number(parts.dim.value) / 100 });
      picture.setAttribute("href", state.picture);
      nodes.push(picture);
    }
    const unit = Math.max(width, height) / (100 * view.scale);
    state.people.forEach((person, number) => nodes.push(...skeleton(person, number, unit)));
    parts.svg.replaceChildren(...nodes);
    parts.undo.disabled = !done.length;
    parts.redo.disabled = !undone.length;
    parts.remove.disabled = !state.people.length;
    showSide();
    if (focused) parts.svg.querySelector(`[data-joint="${focused}"]`)?.focus();
  };
  const nameOf = (part, index) => {
    if (part === PARTS[0]) return webui.said(declared.joints[index]);
    const key = { hand_left_keypoints_2d: "hand", hand_right_keypoints_2d: "other_hand" }[part] ?? "face";
    return word(key, { number: index });
  };
  const skeleton = (person, number, unit) => {
    const nodes = [];
    const body = person[PARTS[0]];
    const isChosen = number === state.chosen;
    LIMBS.forEach(([from, to], index) => {
      const [one, other] = [body[from], body[to]];
      if (!one?.shown || !other?.shown) return;
      const line = { x1: one.x, y1: one.y, x2: other.x, y2: other.y, stroke: hue(index, LIMBS.length), "stroke-width": unit };
      nodes.push(shape("line", { ...line, class: `pose-limb${isChosen ? " chosen" : ""}`, "data-person": number }));
    });
    for (const part of [...PARTS].reverse()) {
      person[part].forEach((point, index) => {
        if (!point.shown) return;
        const isBody = part === PARTS[0];
        const circle = shape("circle", {
          cx: point.x,
          cy: point.y,
          r: unit * (isBody ? 1.1 : 0.5),
          fill: isBody ? hue(index, BODY) : "#fff",
          class: "pose-joint",
          tabindex: isChosen ? 0 : -1,
          role: "button",
          "aria-label": `${word("person", { number: number + 1 })}: ${nameOf(part, index)}`,
          "data-joint": `${number}.${part}.${index}`,
        });
        circle.append(Object.assign(shape("title", {}), { textContent: nameOf(part, index) }));
        nodes.push(circle);
      });
    }
    return nodes;
  };
  const showSide = () => {
    const rows = state.people.map((_, number) => {
      const input = make("input", { type: "radio", name: "pose-person", value: number });
      input.checked = number === state.chosen;
      input.addEventListener("change", () => {
        state.chosen = number;
        show();
      });
      return make("label", {}, input, word("person", { number: number + 1 }));
    });
    const inSide = parts.people.contains(document.activeElement);
    parts.people.replaceChildren(...(rows.length ? rows : [make("p", {}, word("no_people"))]));
    if (inSide) parts.people.querySelector("input:checked")?.focus();
    const person = state.people[state.chosen];
    const at = [...parts.joints.querySelectorAll("input")].indexOf(document.activeElement);
    const boxes = (person?.[PARTS[0]] ?? []).map((point, index) => {
      const input = make("input", { type: "checkbox" });
      input.checked = point.shown;
      input.addEventListener("change", () => setShown(person, PARTS[0], index, input.checked));
      return make("label", {}, input, nameOf(PARTS[0], index));
    });
    parts.joints.replaceChildren(...boxes);
    if (at >= 0) parts.joints.querySelectorAll("input")[at]?.focus();
  };

  // ---- zoom ----
  const fit = () => {
    view = { x: 0, y: 0, scale: 1 };
    show();
  };
  const zoom = (factor, centre = null) => {
    const scale = clamp(view.scale * factor, 1, MAX_ZOOM);
    const { width, height } = state;
    const { x, y } = centre ?? { x: view.x + width / view.scale / 2, y: view.y + height / view.scale / 2 };
    const part = view.scale / scale;
    view = {
      scale,
      x: clamp(x - (x - view.x) * part, 0, width - width / scale),
      y: clamp(y - (y - view.y) * part, 0, height - height / scale),
    };
    show();
  };

  // ---- pointer and keys ----
  const pointAt = (event) => {
    const matrix = parts.svg.getScreenCTM();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return { x: point.x, y: point.y };
  };
  const spread = () => {
    const [one, other] = [...pointers.values()];
    return { far: Math.hypot(one.x - other.x, one.y - other.y), x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
  };
  // Fingers are wide: the nearest joint within reach counts.
  const nearest = (at, reach) => {
    let best = null;
    state.people.forEach((person, number) => {
      for (const part of PARTS) {
        person[part].forEach((point, index) => {
          const far = Math.hypot(point.x - at.x, point.y - at.y);
          if (point.shown && far <= reach && (!best || far < best.far)) best = { far, number, part, index };
        });
      }
    });
    return best;
  };
  const press = (event) => {
    if (event.button > 0) return;
    event.preventDefault();
    parts.svg.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 2) {
      drag = { kind: "pinch", ...spread() };
      return;
    }
    const at = pointAt(event);
    const pixel = state.width / view.scale / parts.svg.getBoundingClientRect().width;
    const joint = event.target.dataset?.joint?.split(".");
    const close = nearest(at, pixel * (event.pointerType === "touch" ? 24 : 8));
    const found = joint ? { number: Number(joint[0]), part: joint[1], index: Number(joint[2]) } : close;
    if (found) drag = { kind: "joint", ...found, at, moved: false };
    else if (event.target.dataset?.person !== undefined) drag = { kind: "person", number: Number(event.target.dataset.person), at, moved: false };
    else drag = { kind: "view", x: event.clientX, y: event.clientY };
    if (drag.number !== undefined) {
      state.chosen = drag.number;
      show();
      if (found) parts.svg.querySelector(`[data-joint="${found.number}.${found.part}.${found.index}"]`)?.focus();
    }
  };
  const moved = (event) => {
    if (!pointers.has(event.pointerId) || !drag) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (drag.kind === "pinch") {
      const now = spread();
      zoom(now.far / drag.far, pointAt({ clientX: now.x, clientY: now.y }));
      drag.far = now.far;
      return;
    }
    if (drag.kind === "view") {
      const pixel = state.width / view.scale / parts.svg.getBoundingClientRect().width;
      view.x = clamp(view.x - (event.clientX - drag.x) * pixel, 0, state.width - state.width / view.scale);
      view.y = clamp(view.y - (event.clientY - drag.y) * pixel, 0, state.height - state.height / view.scale);
      [drag.x, drag.y] = [event.clientX, event.clientY];
      return show();
    }
    const at = pointAt(event);
    if (!drag.moved) remember();
    drag.moved = true;
    const person = state.people[drag.number];
    const [dx, dy] = [at.x - drag.at.x, at.y - drag.at.y];
    if (drag.kind === "joint") move(person, drag.part, drag.index, dx, dy);
    else moveAll(person, dx, dy);
    drag.at = at;
    show();
  };
  const release = (event) => {
    pointers.delete(event.pointerId);
    drag = null;
  };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const key = (event) => {
    // Nothing of the page behind may hear these.
    event.stopPropagation();
    if (event.target.matches("textarea, input[type=range]")) return;
    const joint = event.target.dataset?.joint?.split(".");
    const person = joint && state.people[Number(joint[0])];
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key.toLowerCase() === "z") event.shiftKey ? goTo(undone, done) : goTo(done, undone);
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (person && ARROWS[event.key]) {
      const step = (Math.max(state.width, state.height) / 500) * (event.shiftKey ? 10 : 1);
      remember();
      move(person, joint[1], Number(joint[2]), ...ARROWS[event.key].map((part) => part * step));
      show();
    } else if (person && ["Delete", "Backspace", "h"].includes(event.key)) setShown(person, joint[1], Number(joint[2]), false);
    else return;
    event.preventDefault();
  };

  // ---- out ----
  const save = () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(written())], { type: "application/json" }));
    make("a", { href: url, download: "pose.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  const send = () => {
    pending = JSON.stringify({ unit: state.unit, pose: written() });
    document.getElementById("controlnet_pose_send")?.click();
    dialog.close();
  };

  webui.pose = {
    opened: (given) => (declared = given),
    // {unit, poses (OpenPose JSON or null), picture (address or null), width, height}
    open({ unit, poses, picture, width, height }) {
      if (!dialog) build();
      state = { unit, picture, width, height, people: [], animals: [], chosen: 0 };
      [done, undone] = [[], []];
      view = { x: 0, y: 0, scale: 1 };
      say("");
      if (poses) Object.assign(state, read(poses));
      dialog.showModal();
      show();
    },
    sent: () => pending,
    drawn(text) {
      const { unit, image } = JSON.parse(text || "{}");
      if (unit) webui.controlnet.takePicture(unit, image);
    },
    // For those who look from outside: what the dialog holds as OpenPose JSON.
    written: () => (state ? written() : null),
  };
})();
