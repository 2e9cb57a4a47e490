// Shows the page in the chosen language. Runs in <head>, before the page exists, so that nothing flashes in English:
// the translator's turn comes after each change of the document and before it is painted.
(() => {
  const { language, texts } = window.webui.words;
  document.documentElement.lang = language;
  if (!Object.keys(texts).length) return;

  // What people write, names of files and models, and what a picture's record says stay as they are.
  const VERBATIM =
    "textarea, script, style, pre, code, [data-verbatim], .record > :not(button), td:not(.presence), .prompt-history li";
  const STATES = ["on", "off"];
  const ATTRIBUTES = ["title", "aria-label", "aria-description", "aria-roledescription", "placeholder", "alt"];
  const BETWEEN = " · ";

  const exact = new Map();
  const patterns = [];
  for (const [english, translated] of Object.entries(texts)) {
    if (!/\{\w*\}/.test(english)) {
      exact.set(english, translated);
      continue;
    }
    const names = [];
    const source = english
      .split(/(\{\w*\})/)
      .map((part) => {
        if (!/^\{\w*\}$/.test(part)) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
        names.push(part);
        return "(.+?)";
      })
      .join("");
    const known = english.replace(/\{\w*\}/g, "").length;
    patterns.push({ expression: new RegExp(`^${source}$`, "s"), names, translated, known });
  }
  // The pattern that says most comes first: "{name} is ready: choose it…" before "{name} is ready.".
  patterns.sort((one, other) => other.known - one.known);

  const done = new Map();
  const remember = (text, translated) => {
    if (done.size > 5000) done.clear();
    done.set(text, translated);
    return translated;
  };
  const listed = (text) => {
    const whole = translate(text);
    return whole === text ? text.split(", ").map(translate).join(", ") : whole;
  };
  const patterned = (text) => {
    // Several sentences side by side, each known by itself, before one pattern takes the rest for a name.
    if (text.includes(BETWEEN)) {
      const parts = text.split(BETWEEN).map(translate).join(BETWEEN);
      if (parts !== text) return parts;
    }
    for (const { expression, names, translated } of patterns) {
      const found = text.match(expression);
      if (!found) continue;
      let at = 0;
      return translated.replace(/\{\w*\}/g, (name) => {
        const index = names.indexOf(name, name === "{}" ? at++ : 0);
        return index < 0 ? name : listed(found[index + 1]);
      });
    }
    return text;
  };
  const translate = (text) => {
    const words = text.trim();
    if (!words || words.length > 600) return text;
    const known = exact.get(words) ?? done.get(words) ?? remember(words, patterned(words));
    return known === words ? text : text.replace(words, () => known);
  };

  const textNode = (node) => {
    const kept = node.parentElement?.closest(VERBATIM);
    if (!node.parentElement || (kept && !(kept.matches("td") && STATES.includes(node.data.trim())))) return;
    const translated = translate(node.data);
    if (translated !== node.data) node.data = translated;
  };
  const attributes = (element) => {
    if (element.closest("[data-verbatim]")) return;
    for (const name of ATTRIBUTES) {
      const value = element.getAttribute(name);
      if (!value) continue;
      const translated = translate(value);
      if (translated !== value) element.setAttribute(name, translated);
    }
  };
  const subtree = (root) => {
    if (root.nodeType === Node.TEXT_NODE) return textNode(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    attributes(root);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      if (walker.currentNode.nodeType === Node.TEXT_NODE) textNode(walker.currentNode);
      else attributes(walker.currentNode);
    }
  };

  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "characterData") textNode(change.target);
      else if (change.type === "attributes") attributes(change.target);
      else change.addedNodes.forEach(subtree);
    }
  }).observe(document.documentElement, {
    childList: true,
    characterData: true,
    subtree: true,
    attributes: true,
    attributeFilter: ATTRIBUTES,
  });

  // A closed dropdown shows its entry in an input field, which no observer sees.
  const field = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  Object.defineProperty(HTMLInputElement.prototype, "value", {
    ...field,
    set(text) {
      field.set.call(this, this.getAttribute("role") === "combobox" && typeof text === "string" ? translate(text) : text);
    },
  });

  // Entries of fixed lists are translated in the page's description too, once it is there and before it is read: what is
  // typed into a dropdown to search it is compared with them.
  document.addEventListener("readystatechange", () => {
    if (document.readyState !== "interactive") return;
    for (const { props } of window.gradio_config?.components ?? []) {
      if (!Array.isArray(props?.choices)) continue;
      props.choices = props.choices.map((entry) => (Array.isArray(entry) ? [translate(String(entry[0])), entry[1]] : entry));
    }
  });
})();
