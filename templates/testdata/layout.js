// For tests that look at how a page is laid out.

const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
const controls = () => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")].filter(seen);
const called = (e) => e.outerHTML.slice(0, 80);

// unfold opens everything that unfolds.
const unfold = () => document.querySelectorAll("details").forEach((details) => (details.open = true));

// boxes are what is drawn: each line of words, each control and picture. The
// box of a line is its middle: letters of two lines may share what is between.
function boxes() {
  const all = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !seen(element) || element.closest("noscript, select")) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    for (const { left, right, top, bottom, height } of range.getClientRects()) {
      if (right - left > 1) all.push({ element, words: true, left, right, top: top + height / 4, bottom: bottom - height / 4 });
    }
  }
  for (const element of document.querySelectorAll("button, .button, input:not([type=hidden]), select, img, .stamp, .mark")) {
    const { left, right, top, bottom } = element.getBoundingClientRect();
    if (seen(element)) all.push({ element, left: left + 2, right: right - 2, top: top + 2, bottom: bottom - 2 });
  }
  return all;
}

// lost tells what is lost of a page: what is off the screen, cut, or under
// something else, and what is too small to be hit (WCAG 2.2 §1.4.10, §1.4.12,
// §2.5.8).
function lost() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) wrong.push(`it is ${document.documentElement.scrollWidth} pixels wide`);
  const all = boxes();
  for (const box of all) {
    const { element } = box;
    if (box.left < -1 || box.right > width + 1) wrong.push(`off the screen: ${called(element)}`);
    for (let e = element; e !== document.body; e = e.parentElement) {
      const around = e.getBoundingClientRect();
      const holds = e.matches("button, .button") || getComputedStyle(e).overflow !== "visible";
      if (holds && (box.left < around.left - 1 || box.right > around.right + 1 || box.top < around.top - 1 || box.bottom > around.bottom + 1)) {
        wrong.push(`cut: ${called(element)}`);
      }
    }
  }
  all.forEach((a, i) => all.slice(i + 1).forEach((b) => {
    if (a.element.contains(b.element) || b.element.contains(a.element)) return;
    if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) {
      wrong.push(`one over the other: ${called(a.element)} and ${called(b.element)}`);
    }
  }));
  for (const e of controls()) {
    if (getComputedStyle(e).display === "inline") continue; // in a sentence
    const { width, height } = (e.closest("label") ?? e).getBoundingClientRect();
    if (width < 24 || height < 24) wrong.push(`${width} by ${height} pixels: ${called(e)}`);
  }
  return wrong;
}

// Colours of one's own take the place of every background. What a background
// alone shows is told apart by a border then.
const parts = (e) => [null, "::before", "::after"].map((part) => [e, part]);
const style = ([e, part]) => getComputedStyle(e, part);
const drawn = ([e, part]) => seen(e) && (part === null || style([e, part]).content !== "none");
const clear = (colour) => colour.startsWith("rgba") && colour.endsWith(", 0)");
const ground = (e) => {
  for (; e !== null; e = e.parentElement) {
    const { backgroundColor } = getComputedStyle(e);
    if (!clear(backgroundColor)) return backgroundColor;
  }
  return "";
};
const painted = [];
function paint() {
  for (const it of [...document.body.querySelectorAll("*")].filter((e) => !e.closest("svg, select option")).flatMap(parts)) {
    if (!drawn(it)) continue;
    const around = ground(it[1] === null ? it[0].parentElement : it[0]);
    const { backgroundColor, backgroundImage } = style(it);
    if (backgroundImage !== "none" || !clear(backgroundColor) && backgroundColor !== around) painted.push(it);
  }
}

// edgeless tells what one does not see in colours of one's own: controls and
// what paint has found without an edge, a wrong field that looks like any
// other, and a control that looks the same with the focus.
function edgeless() {
  const wrong = [];
  const edged = (it) => {
    const { borderTopStyle, borderTopWidth, borderTopColor, backgroundColor } = style(it);
    return borderTopStyle !== "none" && parseFloat(borderTopWidth) >= 1 && borderTopColor !== backgroundColor;
  };
  for (const e of controls()) {
    if (e.matches("button:not(.link), .button, input:not([type=checkbox]), select") && !edged([e, null])) wrong.push(`without an edge: ${called(e)}`);
    if (e.matches("[aria-invalid]") && parseFloat(getComputedStyle(e.closest("label") ?? e).borderTopWidth) < 2) wrong.push(`does not look wrong: ${called(e)}`);
    e.blur();
    const without = outlined(e);
    e.focus({ focusVisible: true });
    if (!e.disabled && (outlined(e) === "" || outlined(e) === without)) wrong.push(`looks the same with the focus: ${called(e)}`);
  }
  for (const it of painted.filter(drawn)) {
    const around = ground(it[1] === null ? it[0].parentElement : it[0]);
    const { backgroundColor, backgroundImage, appearance, borderInlineStartStyle, borderInlineStartWidth } = style(it);
    if (backgroundImage !== "none" || !clear(backgroundColor) && backgroundColor !== around) continue;
    if (it[0].localName === "select" ? appearance === "none" : !edged(it) && !edged([it[0], null]) && !(borderInlineStartStyle === "solid" && parseFloat(borderInlineStartWidth) >= 1)) {
      wrong.push(`without its ground: ${called(it[0])}${it[1] ?? ""}`);
    }
  }
  return wrong;
}

// moving is what moves, lasting what does so for more than five seconds.
const moving = () => document.getAnimations().map((a) => `moves: ${called(a.effect.target)}`);
const lasting = () => document.getAnimations().filter((a) => a.effect.getComputedTiming().endTime > 5000).map((a) => `moves on: ${called(a.effect.target)}`);

// spaced sets text as WCAG 2.2 §1.4.12 has it.
function spaced(yes) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important } p { margin-block-end: 2em !important }");
  document.adoptedStyleSheets = yes ? [sheet] : [];
}

// Where the focus is: the number of the control, its place on the page, and
// whether it looks other than without.
const outlined = (e) => {
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(e);
  return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 ? outlineColor : "";
};
const unfocused = new Map();
function count() {
  const first = document.activeElement;
  first.blur();
  for (const e of controls()) unfocused.set(e, outlined(e));
  first.focus();
  return controls().filter((e) => !e.disabled).length;
}
function stop() {
  const e = document.activeElement;
  if (e === document.body) return { at: -1 };
  const { left, right, top, bottom } = e.getBoundingClientRect();
  const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  return {
    at: controls().indexOf(e),
    tag: called(e),
    kind: e.matches("input[type=checkbox]") ? "checkbox" : e.localName,
    name: e.name ?? "",
    action: e.form?.getAttribute("action") ?? "",
    seen: outlined(e) !== "" && outlined(e) !== unfocused.get(e),
    covered: over !== null && !e.contains(over) && !over.closest("label")?.contains(e),
    left, right, top: top + scrollY, bottom: bottom + scrollY,
  };
}
