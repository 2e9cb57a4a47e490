// Shows the style editor (ui/styles.py) as a dialog, for the tab whose button was pressed.
(() => {
  const webui = (window.webui ??= {});
  let tab = "txt2img";

  const dialogOf = () => {
    const known = document.getElementById("style_dialog");
    if (known) return known;
    const dialog = document.createElement("dialog");
    dialog.id = "style_dialog";
    dialog.tabIndex = -1;
    dialog.setAttribute("aria-label", webui.habits.word("styles"));
    webui.keep.place().append(dialog);
    dialog.append(document.getElementById("style_editor"));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => document.getElementById(`${tab}_styles_edit_button`)?.focus());
    return dialog;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (button?.classList.contains("edit-styles")) {
      tab = button.id.slice(0, -"_styles_edit_button".length);
      dialogOf().showModal();
      // Not its first field: a list would fall open over the others.
      dialogOf().focus();
    }
    if (button?.id === "styles_edit_close") dialogOf().close();
  });

  const prompts = () => {
    const values = webui.keep.values(tab);
    const text = (id) => document.querySelector(`#${id} textarea`)?.value ?? values[id] ?? "";
    return [text(`${tab}_prompt`), text(`${tab}_neg_prompt`)];
  };
  const use = async (name) => {
    const id = `${tab}_styles`;
    const chosen = (await webui.keep.fresh(tab))[id] ?? [];
    if (name && !chosen.includes(name)) webui.keep.give(tab, { [id]: [...chosen, name] });
    dialogOf().close();
  };

  webui.styles = { prompts, use };
})();
