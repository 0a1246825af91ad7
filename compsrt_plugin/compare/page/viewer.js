const ORIGINAL = "original";
const LARGEST = 900; // CSS pixels up to which small images are enlarged, by a whole factor

/** Build the viewer; return the function that opens an image in it. */
function showViewer() {
  const place = document.getElementById("viewer");
  const keys = Object.keys(data.sights);
  const told = viewerNotes(keys);
  place.append(...told.map((text) => element("p", { class: "note" }, text)));
  if (!keys.length) return () => {};

  const layers = [ORIGINAL, ...names];
  const picture = choice("Image", keys.map((key) => [key, `${data.pictures[key].data_set} / ${data.pictures[key].name}`]));
  const left = choice("Left", layers.map((name, index) => [String(index), name]));
  const right = choice("Right", layers.map((name, index) => [String(index), name]));
  const previous = element("button", { type: "button" }, "‹ Previous");
  const next = element("button", { type: "button" }, "Next ›");
  const stage = slider();
  const facts = element("p", { class: "quiet", "aria-live": "polite" });
  const crops = element("div", { class: "crops" });
  const errors = element("div", { class: "grid" });
  const cropHead = element("h3", {}, "Where they differ most");
  const cropNote = element("p", { class: "quiet" });
  const errorPart = element("div", {}, element("h3", {}, "Error maps"), legend(), errors);
  place.append(
    element("div", { class: "controls" }, picture.label, element("span", { class: "steps" }, previous, next), left.label, right.label),
    element("div", { class: "beside" }, stage.figure, element("div", { class: "differ" }, cropHead, cropNote, crops)),
    facts, errorPart,
  );

  const show = () => {
    const key = picture.select.value, sight = data.sights[key], row = data.pictures[key];
    allow(left.select, sight, 1);
    allow(right.select, sight, Math.min(2, layers.length - 1));
    const at = keys.indexOf(key);
    previous.disabled = at === 0;
    next.disabled = at === keys.length - 1;
    stage.show(sight, layers, Number(left.select.value), Number(right.select.value), row.name);
    facts.textContent = pictureFacts(sight, row);
    const [x, y, width, height] = sight.box;
    cropNote.textContent = `${width} × ${height} pixels from (${x}, ${y}), framed in the image, stored without loss.`;
    crops.replaceChildren(...layers.flatMap((name, index) => cropFigure(sight, row, name, index)));
    errors.replaceChildren(...layers.flatMap((name, index) => errorFigure(sight, row, name, index)));
    errorPart.hidden = !sight.errors.some((uri) => uri);
  };
  const step = (by) => {
    picture.select.selectedIndex += by;
    show();
  };
  previous.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  for (const { select } of [picture, left, right]) select.addEventListener("change", show);
  left.select.value = "1";
  right.select.value = String(Math.min(2, layers.length - 1));
  show();
  return (key) => {
    picture.select.value = key;
    show();
    document.getElementById("pictures").focus({ preventScroll: true });
    document.getElementById("pictures").scrollIntoView();
  };
}

function viewerNotes(keys) {
  const told = [];
  const lacking = data.entries.filter((entry) => !entry.pictures).map((entry) => entry.name);
  if (lacking.length) told.push(`No images were saved for ${lacking.join(", ")}: of these there are figures only.`);
  if (!keys.length) told.push("There are not two images to hold against each other, so there is no slider here.");
  else if (data.unseen) told.push(`${data.unseen} of ${data.pictures.length} images are not on this machine and have figures only.`);
  if (data.left_out) {
    told.push(`${data.left_out} of ${data.pictures.length} images, those in which the entries differ least, are left out to keep the page small. Their figures are in the table below.`);
  }
  const lossy = keys.map((key) => data.sights[key].quality).find((quality) => quality !== null);
  if (lossy) {
    told.push(`The whole images are stored as WebP of quality ${lossy}, which is not without loss: differences smaller than that cannot be judged by the slider. Crops and error maps are exact.`);
  }
  return told;
}

function choice(title, options) {
  const select = element("select", {}, ...options.map(([value, text]) => element("option", { value }, text)));
  return { select, label: element("label", {}, `${title} `, select) };
}

/** Offer only layers that this image has; fall back to one that it has. */
function allow(select, sight, fallback) {
  [...select.options].forEach((option, index) => (option.disabled = !sight.whole[index]));
  if (!sight.whole[Number(select.value)]) {
    const there = sight.whole.map((uri, index) => (uri ? index : -1)).filter((index) => index >= 0);
    select.value = String(there.includes(fallback) ? fallback : there[there.length - 1]);
  }
}

/** Two images one over the other, and a range input over both that moves the border between them. */
function slider() {
  const below = element("img", { class: "below", draggable: "false" });
  const above = element("img", { class: "above", draggable: "false" });
  const tags = [element("span", { class: "name left" }), element("span", { class: "name right" })];
  const frame = element("div", { class: "frame", "aria-hidden": "true" });
  const handle = element("div", { class: "handle", "aria-hidden": "true" });
  const range = element("input", { type: "range", min: "0", max: "100", value: "50", step: "1", "aria-label": "Border between left and right" });
  const stage = element("div", { class: "stage" }, below, above, frame, handle, ...tags, range);
  const figure = element("figure", { class: "slider" }, stage);
  const move = () => {
    stage.style.setProperty("--border", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${tags[0].textContent}, ${100 - range.value} % ${tags[1].textContent}`);
  };
  range.addEventListener("input", move);
  const show = (sight, layers, left, right, name) => {
    const factor = Math.max(1, Math.floor(LARGEST / sight.width));
    figure.style.setProperty("--width", `${sight.width * factor}px`);
    stage.style.setProperty("--ratio", `${sight.width} / ${sight.height}`);
    stage.classList.toggle("enlarged", factor > 1);
    above.src = sight.whole[left];
    below.src = sight.whole[right];
    above.alt = `${name}, ${layers[left]}`;
    below.alt = `${name}, ${layers[right]}`;
    tags[0].textContent = layers[left];
    tags[1].textContent = layers[right];
    const [x, y, width, height] = sight.box;
    frame.style.left = `${(100 * x) / sight.width}%`;
    frame.style.top = `${(100 * y) / sight.height}%`;
    frame.style.width = `${(100 * width) / sight.width}%`;
    frame.style.height = `${(100 * height) / sight.height}%`;
    move();
  };
  return { figure, show };
}

function pictureFacts(sight, row) {
  const scores = names.map((name, index) => `${name} ${score(row.scores[index])}`).join(" · ");
  return `${row.name}, ${sight.width} × ${sight.height} pixels. ${metricsCaption()}: ${scores}`;
}

function cropFigure(sight, row, name, index) {
  if (!sight.crops[index]) return [];
  const image = element("img", { src: sight.crops[index], alt: `${row.name}, ${name}, where they differ most`, width: sight.box[2], height: sight.box[3] });
  image.style.setProperty("--side", `${sight.box[2]}px`);
  const detail = index ? `${fixed(row.scores[index - 1].psnr, 2)} dB, whole image` : "";
  return [element("figure", {}, image, element("figcaption", {}, element("b", {}, name), element("br"), detail))];
}

function errorFigure(sight, row, name, index) {
  if (!sight.errors[index]) return [];
  const image = element("img", { src: sight.errors[index], alt: `${row.name}, error of ${name}`, width: sight.width, height: sight.height });
  return [element("figure", {}, image, element("figcaption", {}, element("b", {}, name), ` ${fixed(row.scores[index - 1].psnr, 2)} dB`))];
}

/** The grey levels of the error maps, as they are. */
function legend() {
  const steps = Array.from({ length: data.error_steps }, (_, level) => {
    const step = element("span", { class: "step" });
    const grey = Math.floor((level * 255) / (data.error_steps - 1));
    step.style.background = `rgb(${grey}, ${grey}, ${grey})`;
    return step;
  });
  const most = (data.error_steps - 1) * data.error_step;
  return element("p", { class: "legend" }, "|Y − Y of the original| in grey levels of 255: ", element("span", { class: "ends" }, "0"),
    element("span", { class: "steps-of-grey", "aria-hidden": "true" }, ...steps), element("span", { class: "ends" }, `${most} or more`));
}
