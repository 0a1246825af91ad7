/**
 * Return a table in a box that scrolls sideways, sorted by a click on a heading.
 * A column has `title`, `value(row)` to sort by, `show(row)` for the cell (the value if left out), and `text: true`
 * where it is no number. The first column names the row.
 */
function table(label, columns, rows) {
  const body = element("tbody");
  const heads = columns.map((column) => {
    const button = element("button", { type: "button" }, column.title);
    return element("th", { scope: "col", class: column.text ? "text" : null, "aria-sort": "none" }, button);
  });
  const lines = rows.map((row) => ({ row, line: tableLine(columns, row) }));
  body.append(...lines.map(({ line }) => line));
  heads.forEach((head, index) => {
    head.firstChild.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sorted = [...lines].sort((a, b) => compare(columns[index].value(a.row), columns[index].value(b.row)));
      body.append(...(ascending ? sorted : sorted.reverse()).map(({ line }) => line));
    });
  });
  const made = element("table", {}, element("caption", {}, label), element("thead", {}, element("tr", {}, ...heads)), body);
  return element("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, made);
}

function tableLine(columns, row) {
  const cells = columns.map((column, index) => {
    const shown = (column.show || column.value)(row);
    const cell = element(index ? "td" : "th", { class: column.text ? "text" : null, scope: index ? null : "row" });
    cell.append(shown === null || shown === undefined ? MISSING : shown);
    return cell;
  });
  return element("tr", {}, ...cells);
}

/** Order numbers by size and texts by their letters and numbers; what is missing comes first. */
function compare(a, b) {
  const missing = (value) => value === null || value === undefined;
  if (missing(a) || missing(b)) return Number(missing(b)) - Number(missing(a));
  return typeof a === "number" ? (a === b ? 0 : a - b) : String(a).localeCompare(String(b), "en", { numeric: true });
}

function showMeans() {
  const sets = Object.keys(data.entries[0].means);
  const count = (name) => data.pictures.filter((picture) => picture.data_set === name).length;
  const columns = [
    { title: "data set", text: true, value: (name) => name },
    { title: "images", value: count },
    ...data.entries.map((entry) => ({
      title: entry.name,
      value: (name) => numeric(entry.means[name].psnr),
      show: (name) => score(entry.means[name]),
    })),
  ];
  document.getElementById("means").append(table(metricsCaption(), columns, sets));
}

function metricsCaption() {
  return metrics.map((metric) => `${METRICS[metric].title}${METRICS[metric].unit && ` in ${METRICS[metric].unit}`}`).join(" / ");
}

function score(found) {
  return metrics.map((metric) => fixed(found[metric], METRICS[metric].digits)).join(" / ");
}

function showDifferences() {
  const several = names.length > 2;
  document.getElementById("tests").textContent =
    `Mean of entry less ${data.baseline}, with a 95 % bootstrap interval. Cohen's d_z is the mean over the standard ` +
    "deviation of the differences. p is of the one-sided Wilcoxon signed-rank test: that the entry is better than the baseline" +
    (several ? `; beside it, as corrected by Holm for ${names.length - 1} entries.` : ".");
  for (const metric of metrics) {
    const rows = data.comparisons.filter((comparison) => comparison.metric === metric && comparison.interval);
    if (!rows.length) continue;
    const { title, unit, digits } = METRICS[metric];
    const reach = Math.max(...rows.flatMap((row) => row.interval.map(Math.abs)));
    const columns = [
      { title: "entry", text: true, value: (row) => row.entry },
      { title: "pairs", text: true, value: (row) => row.over, show: (row) => `${row.over} (${row.pairs})` },
      { title: "mean", value: (row) => row.mean, show: (row) => signed(row.mean, digits + 1) },
      { title: "95 % interval", value: (row) => row.interval[0], show: (row) => interval(row, digits + 1) },
      { title: "drawn", text: true, value: (row) => row.mean, show: (row) => drawn(row, reach) },
      { title: "better, worse", value: (row) => row.better, show: (row) => `${row.better}, ${row.worse}` },
      { title: "d_z", value: (row) => row.d_z, show: (row) => signed(row.d_z, 2) },
      { title: "p", value: (row) => row.p, show: (row) => probability(row.p) },
      ...(several ? [{ title: "p, Holm", value: (row) => row.adjusted_p, show: (row) => probability(row.adjusted_p) }] : []),
    ];
    document.getElementById("differences").append(table(`${title}${unit && ` in ${unit}`}`, columns, rows));
  }
  const warnings = new Set(data.comparisons.filter((row) => row.warning).map((row) => `${row.over}: ${row.warning}`));
  if (warnings.size) {
    const items = [...warnings].map((text) => element("li", {}, text));
    document.getElementById("differences").append(element("ul", { class: "note", id: "warnings" }, ...items));
  }
}

function interval(row, digits) {
  return `${signed(row.interval[0], digits)} to ${signed(row.interval[1], digits)}`;
}

/** Draw the interval and its mean on a line whose middle is zero. */
function drawn(row, reach) {
  if (!reach) return "";
  const space = "http://www.w3.org/2000/svg";
  const width = 120, height = 16;
  const x = (value) => width / 2 + (value / reach) * (width / 2 - 5);
  const svg = document.createElementNS(space, "svg");
  const add = (tag, attributes) => {
    const part = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    svg.append(part);
  };
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", class: "drawn" })) {
    svg.setAttribute(name, value);
  }
  add("line", { class: "zero", x1: width / 2, x2: width / 2, y1: 0, y2: height });
  add("line", { class: "range", x1: x(row.interval[0]), x2: x(row.interval[1]), y1: height / 2, y2: height / 2 });
  add("circle", { class: "middle", cx: x(row.mean), cy: height / 2, r: 3.5 });
  return svg;
}

function showScores(open) {
  const place = document.getElementById("scores");
  const choice = element("select", { id: "metric" }, ...metrics.map((metric) => element("option", { value: metric }, METRICS[metric].title)));
  const box = element("div");
  const draw = () => box.replaceChildren(scoresTable(choice.value, open));
  choice.addEventListener("change", draw);
  if (metrics.length > 1) place.append(element("p", {}, element("label", { for: "metric" }, "Metric "), choice));
  place.append(box);
  draw();
}

function scoresTable(metric, open) {
  const { title, unit, digits } = METRICS[metric];
  const value = (row, index) => numeric(row.scores[index][metric]);
  const rest = names.slice(1).map((name, index) => [name, index + 1]);
  const columns = [
    { title: "image", text: true, value: (row) => row.name, show: (row) => opener(row, open) },
    { title: "data set", text: true, value: (row) => row.data_set },
    ...names.map((name, index) => ({ title: name, value: (row) => value(row, index), show: (row) => fixed(value(row, index), digits) })),
    ...rest.map(([name, index]) => ({
      title: `${name} − ${data.baseline}`,
      value: (row) => difference(value(row, index), value(row, 0)),
      show: (row) => signed(difference(value(row, index), value(row, 0)), digits + 1),
    })),
  ];
  return table(`${title}${unit && ` in ${unit}`} of each image, and differences to the baseline`, columns, data.pictures);
}

function opener(row, open) {
  const key = String(data.pictures.indexOf(row));
  if (!(key in data.sights)) return row.name;
  const button = element("button", { type: "button", class: "link" }, row.name);
  button.addEventListener("click", () => open(key));
  return button;
}

function showEntries() {
  const columns = [
    { title: "name", text: true, value: (entry) => entry.name },
    { title: "given as", text: true, value: (entry) => entry.kind },
    { title: "bits", text: true, value: (entry) => entry.label },
    { title: "codes", text: true, value: (entry) => entry.codes },
    { title: "weights", text: true, value: (entry) => entry.weights },
    { title: "recipe", text: true, value: (entry) => entry.recipe },
    { title: "teacher", text: true, value: (entry) => entry.teacher },
    { title: "bytes", value: (entry) => entry.bytes, show: (entry) => (entry.bytes ? entry.bytes.toLocaleString("en") : MISSING) },
    { title: "SHA-256", text: true, value: (entry) => entry.sha256, show: (entry) => (entry.sha256 ? `${entry.sha256.slice(0, 12)}…` : MISSING) },
  ];
  document.getElementById("entries").append(table("Networks and result folders, the baseline first", columns, data.entries));
}

function showPublished() {
  if (!data.published) return;
  const place = document.getElementById("published");
  place.hidden = false;
  const { rows, sets, teacher } = data.published;
  const notes = rows.filter((row) => row.footnote);
  const own = data.entries.map((entry) => ({
    method: entry.name, origin: "this comparison", bits: entry.bits, scores: entry.means, teacher: entry.teacher,
    codes: entry.codes, weights: entry.weights, source: "measured here",
  }));
  const theirs = rows.map((row) => ({ ...row, origin: "published" }));
  const mark = (row) => (row.footnote ? ` ${superscript(String(notes.indexOf(row) + 1))}` : "");
  theirs.forEach((row, index) => (row.mark = mark(rows[index])));
  const columns = [
    { title: "method", text: true, value: (row) => row.method, show: (row) => `${row.method}${row.mark || ""}` },
    { title: "origin", text: true, value: (row) => row.origin, show: (row) => element("span", { class: `tag ${row.mark === undefined ? "own" : "theirs"}` }, row.origin) },
    { title: "bits", value: (row) => row.bits },
    ...sets.map((name) => ({
      title: name,
      value: (row) => (row.scores[name] ? numeric(row.scores[name].psnr) : null),
      show: (row) => (row.scores[name] ? score(row.scores[name]) : MISSING),
    })),
    { title: "teacher", text: true, value: (row) => row.teacher },
    { title: "codes of n bits", text: true, value: (row) => row.codes },
    { title: "weights", text: true, value: (row) => row.weights },
    { title: "source", text: true, value: (row) => row.source },
  ];
  place.append(
    element("p", { class: "note" },
      `Published figures are of networks made from the ${teacher}. Compare differences to each one's own teacher ` +
      "rather than the figures, and mind which codes and weights were allowed to change."),
    table(`${metricsCaption()}, x${data.scale}`, columns, [...own, ...theirs]),
    element("ol", { class: "notes" }, ...notes.map((row) => element("li", {}, `${row.method}, ${row.bits} bits: ${row.footnote}`))),
  );
}
