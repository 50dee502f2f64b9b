// Two heads on three logits, and a focal loss, in plain JavaScript.
// tests/site/test_site.py compares these numbers with those of the package.
"use strict";

const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
const sigmoid = (z) => (z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z)));
const sum = (values) => values.reduce((total, value) => total + value, 0);

// Targets are dense: one number for each class.
function sigmoidHead(logits, targets) {
  const probabilities = logits.map(sigmoid);
  const losses = logits.map((z, c) => targets[c] * softplus(-z) + (1 - targets[c]) * softplus(z));
  const gradients = probabilities.map((p, c) => p - targets[c]);
  return { probabilities, loss: sum(losses), gradients };
}

function softmaxHead(logits, targets) {
  const largest = Math.max(...logits);
  const powers = logits.map((z) => Math.exp(z - largest));
  const total = sum(powers);
  const probabilities = powers.map((power) => power / total);
  const losses = logits.map((z, c) => targets[c] * (Math.log(total) + largest - z));
  const mass = sum(targets);
  const gradients = probabilities.map((p, c) => p * mass - targets[c]);
  return { probabilities, loss: sum(losses), gradients };
}

function focal(logit, target, gamma, alpha) {
  const right = target ? logit : -logit;
  const p = sigmoid(right);
  const wrong = sigmoid(-right);
  const factor = (target ? alpha : 1 - alpha) * wrong ** gamma;
  const loss = factor * softplus(-right);
  const slope = factor * (-gamma * p * softplus(-right) - wrong);
  return { probability: sigmoid(logit), loss, gradient: target ? slope : -slope };
}

const TARGETS = {
  "class 1": [1, 0, 0],
  "class 2": [0, 1, 0],
  "class 3": [0, 0, 1],
  "classes 1 and 2": [1, 1, 0],
  "none": [0, 0, 0],
};

function element(name, attributes = {}, ...children) {
  const space = ["svg", "path", "line", "circle", "text"].includes(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function slider(name, low, high, step, value) {
  const input = element("input", { type: "range", id: name, min: low, max: high, step, value });
  const output = element("output", { for: name });
  const show = () => { output.textContent = Number(input.value).toFixed(2); };
  input.addEventListener("input", show);
  show();
  return { input, label: element("label", { for: name }, name, input, output) };
}

function choice(group, names, chosen) {
  const inputs = names.map((name) => {
    const input = element("input", { type: "radio", name: group, value: name });
    input.checked = name === chosen;
    return input;
  });
  const labels = inputs.map((input, i) => element("label", {}, input, ` ${names[i]}`));
  const legend = element("legend", { class: "visually-hidden" }, group);
  return { inputs, fieldset: element("fieldset", {}, legend, ...labels), value: () => inputs.find((input) => input.checked).value };
}

// A number as it is shown, with all its digits for whoever reads the page by machine.
function number(name, value) {
  return element("td", { "data-name": name, "data-value": value }, value.toFixed(4));
}

function showHead(place, title, head, targets, explanation) {
  const bars = head.probabilities.map((p, c) => {
    const fill = element("div", { class: "fill", style: `width: ${100 * p}%` });
    return element("div", { class: targets[c] ? "bar true" : "bar" }, fill, element("span", {}, `p${c + 1} = ${p.toFixed(3)}`));
  });
  const row = (label, ...cells) => element("tr", {}, element("th", { scope: "row" }, label), ...cells);
  const table = element("table", {}, element("tbody", {},
    row("p", ...head.probabilities.map((p, c) => number(`${title} p${c}`, p))),
    row("gradient", ...head.gradients.map((g, c) => number(`${title} gradient${c}`, g))),
    row("sum of p", number(`${title} sum`, sum(head.probabilities))),
    row("loss", number(`${title} loss`, head.loss)),
  ));
  place.replaceChildren(element("h3", {}, title), ...bars, table, element("p", {}, explanation));
}

function headsPanel(place) {
  const sliders = [["z1", 2], ["z2", 1], ["z3", -1]].map(([name, value]) => slider(name, -6, 6, 0.05, value));
  const target = choice("target", Object.keys(TARGETS), "class 1");
  const left = element("section"), right = element("section");
  const update = () => {
    const logits = sliders.map(({ input }) => Number(input.value));
    const targets = TARGETS[target.value()];
    showHead(left, "sigmoid", sigmoidHead(logits, targets), targets, "Three questions. The sum may be anything from 0 to 3.");
    const mass = sum(targets);
    const note = mass === 0 ? "Nothing is true, so there is no loss and nothing to learn." : mass > 1 ? "Two are true, and the best that it can do is 1/2 for each." : "One certainty of 1, divided among three.";
    showHead(right, "softmax", softmaxHead(logits, targets), targets, note);
  };
  for (const input of [...sliders.map((each) => each.input), ...target.inputs]) input.addEventListener("input", update);
  place.append(
    element("div", { class: "sliders" }, ...sliders.map((each) => each.label)),
    target.fieldset, element("div", { class: "heads" }, left, right),
  );
  update();
}

function curve(target, gamma, alpha, logit) {
  const width = 460, height = 220, left = 34, bottom = 190, low = -6, high = 6;
  const top = 4;
  const x = (z) => left + ((z - low) / (high - low)) * (width - left - 10);
  const y = (loss) => bottom - (Math.min(loss, top) / top) * (bottom - 12);
  const points = Array.from({ length: 121 }, (_, i) => low + (i * (high - low)) / 120);
  const inside = (loss) => points.filter((z) => loss(z) <= top);
  const path = (loss) => "M" + inside(loss).map((z) => `${x(z).toFixed(1)} ${y(loss(z)).toFixed(1)}`).join("L");
  const svg = element("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Focal loss and cross-entropy by logit" });
  svg.append(
    element("line", { class: "axis", x1: left, x2: width - 10, y1: bottom, y2: bottom }),
    element("line", { class: "axis", x1: left, x2: left, y1: 12, y2: bottom }),
    element("path", { class: "cross", d: path((z) => softplus(target ? -z : z)) }),
    element("path", { class: "focal", d: path((z) => focal(z, target, gamma, alpha).loss) }),
    element("circle", { class: "mark", cx: x(logit), cy: y(focal(logit, target, gamma, alpha).loss), r: 5 }),
  );
  for (const z of [-6, -3, 0, 3, 6]) svg.append(element("text", { x: x(z), y: bottom + 16, "text-anchor": "middle" }, String(z)));
  for (const loss of [0, 1, 2, 3, 4]) svg.append(element("text", { x: left - 6, y: y(loss) + 4, "text-anchor": "end" }, String(loss)));
  return svg;
}

function focalPanel(place) {
  const sliders = [["logit", -6, 6, 0.05, 1], ["gamma", 0, 5, 0.05, 2], ["alpha", 0, 1, 0.01, 0.25]].map((each) => slider(...each));
  const target = choice("truth", ["positive", "negative"], "positive");
  const result = element("section");
  const update = () => {
    const [logit, gamma, alpha] = sliders.map(({ input }) => Number(input.value));
    const truth = target.value() === "positive" ? 1 : 0;
    const found = focal(logit, truth, gamma, alpha);
    const row = (label, cell) => element("tr", {}, element("th", { scope: "row" }, label), cell);
    result.replaceChildren(
      curve(truth, gamma, alpha, logit),
      element("p", {}, "Solid: focal loss. Dashed: cross-entropy. The dot is the logit of the slider."),
      element("table", {}, element("tbody", {},
        row("p", number("focal p", found.probability)),
        row("loss", number("focal loss", found.loss)),
        row("gradient", number("focal gradient", found.gradient)),
        row("cross-entropy", number("cross-entropy", softplus(truth ? -logit : logit))),
      )),
    );
  };
  for (const input of [...sliders.map((each) => each.input), ...target.inputs]) input.addEventListener("input", update);
  place.append(element("div", { class: "sliders" }, ...sliders.map((each) => each.label)), target.fieldset, result);
  update();
}

document.addEventListener("DOMContentLoaded", () => {
  headsPanel(document.getElementById("heads-panel"));
  focalPanel(document.getElementById("focal-panel"));
});
