// Undo of what replaces values, Reset to defaults, and Clear prompts. See ui/keep.py.
(() => {
  const webui = (window.webui ??= {});
  const CHANGES = "changes-";
  const LEVELS = 20;
  const LOOK_AFTER_MS = [250, 600, 1200, 2200, 4000, 7000, 12_000, 20_000];

  const past = {}; // tab → {values, drawings} from before each change, newest last
  const expected = {}; // tab → {values, drawings}: what to remember if it changes

  const differing = (before, after) =>
    Object.fromEntries(Object.entries(before).filter(([id, value]) => id in after && !webui.keep.same(value, after[id])));

  // ---- picture editors hold their pixels themselves ----
  const editorsOf = (tab) =>
    webui.keep
      .rules(tab)
      .filter((rule) => rule.kind === "drawing")
      .map((rule) => [rule.id, webui.canvas?.editor(rule.id)])
      .filter(([, editor]) => editor);
  const drawingsOf = (tab) =>
    Promise.all(
      editorsOf(tab).map(async ([id, editor]) => {
        const { picture, sent, size } = editor;
        const layer = picture ? editor.layerBlob() : null;
        return [id, { picture: picture?.blob ?? null, sent: { ...sent }, size, layer: await layer }];
      }),
    ).then(Object.fromEntries);
  const redraw = (tab, drawings) => {
    for (const [id, editor] of editorsOf(tab)) {
      const before = drawings[id];
      // What was painted since on the same picture stays; the editor has an undo of its own for that.
      if (!before || before.picture === (editor.picture?.blob ?? null)) continue;
      if (before.picture) editor.restore(before);
      else editor.remove();
    }
  };

  const showButton = (tab) => {
    const button = document.getElementById(`${tab}_undo`);
    if (button) button.disabled = !past[tab]?.length;
  };

  // What a tab holds now is what Undo brings back, should it change within the next seconds.
  const expectChange = async (tab) => {
    const drawings = drawingsOf(tab);
    const values = await webui.keep.fresh(tab);
    const mine = (expected[tab] = { values, drawings });
    for (const wait of LOOK_AFTER_MS) {
      setTimeout(() => expected[tab] === mine && webui.keep.fresh(tab), wait);
    }
    setTimeout(() => expected[tab] === mine && delete expected[tab], LOOK_AFTER_MS.at(-1) + 1000);
  };
  const remember = (tab, before) => {
    const levels = (past[tab] ??= []);
    levels.push(before);
    if (levels.length > LEVELS) levels.shift();
    showButton(tab);
    document.querySelector(`#webui_messages [data-undo="${tab}"]`)?.remove();
    const action = { label: webui.keep.word("undo"), run: () => undo(tab) };
    webui.say(webui.keep.word("changed", { tab }), action).dataset.undo = tab;
  };
  const undo = async (tab) => {
    const before = past[tab]?.pop();
    showButton(tab);
    document.querySelector(`#webui_messages [data-undo="${tab}"]`)?.remove();
    if (!before) return webui.say(webui.keep.word("nothing_to_undo"));
    delete expected[tab];
    const changed = differing(before.values, await webui.keep.fresh(tab));
    const drawn = new Set(webui.keep.rules(tab).filter((rule) => rule.kind === "drawing").map((rule) => rule.id));
    webui.keep.give(tab, Object.fromEntries(Object.entries(changed).filter(([id]) => !drawn.has(id))));
    redraw(tab, await before.drawings);
    webui.say(webui.keep.word("undone"), null, 3);
  };

  webui.keep.onChange((tab, values) => {
    const before = expected[tab];
    if (!before || !Object.keys(differing(before.values, values)).length) return;
    // Several answers belong to one change: it is remembered once.
    delete expected[tab];
    remember(tab, before);
  });

  // What a person changes next is no work of the button.
  const dropExpected = (event) => {
    const panel = event.isTrusted && event.target.closest?.('[role="tabpanel"][id^="tab_"]');
    if (panel && (event.type === "input" || event.target.closest(".canvas-block"))) delete expected[panel.id.slice(4)];
  };
  for (const kind of ["input", "pointerdown"]) document.addEventListener(kind, dropExpected, true);

  const replace = async (tab, values) => {
    await expectChange(tab);
    webui.keep.give(tab, values);
  };
  const reset = (tab) => {
    if (!confirm(webui.keep.word("reset"))) return;
    const side = Number(document.querySelector("#model_status [data-native]")?.dataset.native);
    const values = {};
    for (const rule of webui.keep.rules(tab)) {
      if (rule.kind.startsWith("file") || rule.kind === "drawing") continue;
      const isSize = /_(width|height)$/.test(rule.id) && rule.default === 512 && side;
      values[rule.id] = isSize ? side : (rule.default ?? null);
    }
    replace(tab, values);
  };
  const clear = async (tab) => {
    const ids = [`${tab}_prompt`, `${tab}_neg_prompt`];
    const values = await webui.keep.fresh(tab);
    if (!ids.some((id) => values[id])) return;
    if (confirm(webui.keep.word("clear"))) replace(tab, Object.fromEntries(ids.map((id) => [id, ""])));
  };

  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest?.("button");
      if (!button) return;
      for (const name of button.classList) if (name.startsWith(CHANGES)) expectChange(name.slice(CHANGES.length));
      const tab = (ending) => button.id.slice(0, -ending.length);
      if (button.classList.contains("keep-undo")) undo(tab("_undo"));
      if (button.classList.contains("keep-reset")) reset(tab("_reset"));
      if (button.classList.contains("keep-clear")) clear(tab("_clear_prompt"));
    },
    true,
  );

  webui.undo = { expectChange, remember, undo, replace };
})();
