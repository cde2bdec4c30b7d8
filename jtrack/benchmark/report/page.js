// What the page does: plots with linked legends, sorting, and the dialog that shows a sequence.
// All data is in the page; text is only ever set as text, never as markup.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const trackers = report.trackers;
  const hidden = new Set(); // numbers of trackers
  const dialog = document.getElementById("film");
  let shown = null; // the sequence in the dialog: {section, index}

  // ---- helpers

  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "line", "rect", "polyline"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  const all = (node, selector) => [...node.querySelectorAll(selector)];
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const panel = (section) => document.getElementById(section.key);
  const active = () => report.sections.find((section) => !panel(section).hidden);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); // Plotly reads tags

  const short = (text) => (text.length > 20 ? `${text.slice(0, 18)}…` : text);

  function mean(values) {
    const known = values.filter(Number.isFinite);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
  }

  // ---- plots

  function layout(more) {
    const axis = { gridcolor: colour("line"), linecolor: colour("soft"), zeroline: false, ticks: "outside", tickcolor: colour("line") };
    const { xaxis, yaxis, ...rest } = more;
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("text") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      margin: { l: 48, r: 10, t: 8, b: 42 }, hovermode: "x unified",
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { size: 11, color: colour("text") } },
      xaxis: { ...axis, ...xaxis, title: { standoff: 8, ...xaxis?.title } },
      yaxis: { ...axis, ...yaxis, title: { standoff: 6, ...yaxis?.title } },
      ...rest,
    };
  }

  function line(tracker, x, y, more = {}) {
    const { name, colour, dash } = trackers[tracker];
    return {
      x, y, type: "scatter", mode: "lines", name: plain(name), visible: !hidden.has(tracker), meta: tracker,
      line: { color: colour, width: 2, dash: dash.length ? dash.map((part) => `${part}px`).join(",") : "solid" },
      hovertemplate: "%{y:.3f}", ...more,
    };
  }

  function draw(card, traces, more, summary) {
    const box = card.querySelector(".plot");
    box.setAttribute("aria-label", summary);
    Plotly.react(box, traces, layout(more), { displayModeBar: false, responsive: true, doubleClick: "reset" });
  }

  function curves(section, card) {
    const curve = section.curves.find((one) => one.key === card.dataset.curve);
    const chosen = panel(section).querySelector("select.attribute")?.value ?? "";
    const members = chosen === "" || !curve.sequences ? null : section.attributes[chosen].sequences;
    const { x } = curve, end = x[x.length - 1];
    const rows = [];
    section.entries.forEach((tracker, e) => {
      const y = members ? averaged(section, curve, e, members) : curve.overall[e];
      const at = curve.at === null ? null : Math.round((curve.at / end) * (x.length - 1));
      const value = !y ? NaN : !members ? curve.values[e] : at === null ? mean(y) : y[at];
      if (y) rows.push({ tracker, y, value: value ?? NaN, last: !section.ranked[e] });
    });
    rows.sort((a, b) => (a.last - b.last) || (Number.isNaN(a.value) - Number.isNaN(b.value)) || b.value - a.value);
    const what = members ? `${curve.title}, ${section.attributes[chosen].name}` : curve.title;
    card.querySelector("h3").textContent = what;
    legend(card, rows.map(({ tracker, value }) => [tracker, Number.isNaN(value) ? "" : value.toFixed(3)]));
    const whole = end > 1;
    draw(card, rows.map(({ tracker, y }) => line(tracker, x, y)), {
      xaxis: { range: [0, end], title: { text: curve.across }, tickformat: whole ? "d" : ".1f", hoverformat: whole ? "d" : ".2f", unifiedhovertitle: { text: `${plain(curve.across)} %{x}` } },
      yaxis: { ...(curve.end === null ? { rangemode: "tozero" } : { range: [0, 1.005] }), title: { text: curve.up }, tickformat: ".1f" },
    }, `${what}: ${rows.map((row) => `${trackers[row.tracker].name} ${row.value.toFixed(3)}`).join(", ")}`);
  }

  function averaged(section, curve, e, members) {
    curve.decoded ??= new Float32Array(bytes(curve.sequences).buffer);
    const rows = members.map((s) => {
      const start = (e * section.sequences.length + s) * curve.x.length;
      return curve.decoded.subarray(start, start + curve.x.length);
    }).filter((row) => Number.isFinite(row[0]));
    return rows.length ? Array.from({ length: curve.x.length }, (_, n) => mean(rows.map((row) => row[n]))) : null;
  }

  function radar(section, card) {
    const names = section.attributes.map((one) => one.name);
    legend(card, section.entries.map((tracker) => [tracker, ""]));
    const traces = section.entries.map((tracker, e) => {
      const { x, y, ...trace } = line(tracker, null, null);
      const r = section.radar[e];
      const known = names.map((_, n) => n).filter((n) => r[n] !== null); // spokes without a value are passed over
      const round = known.length ? [...known, known[0]] : [];
      return { ...trace, type: "scatterpolar", r: round.map((n) => r[n]), theta: round.map((n) => names[n]), hovertemplate: `%{theta}: %{r:.3f}<extra>${trace.name}</extra>` };
    });
    const grid = { gridcolor: colour("line"), linecolor: colour("line") };
    draw(card, traces, {
      margin: { l: 40, r: 40, t: 28, b: 28 }, hovermode: "closest",
      polar: { bgcolor: "rgba(0,0,0,0)", angularaxis: { ...grid, direction: "clockwise", rotation: 90 }, radialaxis: { ...grid, rangemode: "tozero", angle: 90, tickangle: 90, tickfont: { size: 10, color: colour("soft") } } },
    }, `${card.querySelector("h3").textContent}: the values are in the table above`);
  }

  function points(section, card) {
    const { points, across, up, log, unit } = section.scatter[card.dataset.plot];
    legend(card, points.map(([tracker, , y]) => [tracker, y.toFixed(3)]));
    const places = points.map(([, x, y]) => [log ? Math.log10(x) : x, y]);
    const ranges = [0, 1].map((axis) => padded(places.map((place) => place[axis]), axis === 0 && log ? 0.15 : 0.02));
    const names = points.map(([tracker]) => short(trackers[tracker].name));
    const sides = roomy(places, ranges, names, card.querySelector(".plot"));
    const traces = points.map(([tracker, x, y], n) => ({
      ...line(tracker, [x], [y]), mode: "markers+text", text: [sides[n] ? plain(names[n]) : ""], textposition: sides[n] || "top center",
      marker: { size: 10, color: trackers[tracker].colour, symbol: trackers[tracker].symbol }, cliponaxis: false, hovertemplate: `${up} %{y:.3f}, %{x:.3~g} ${unit}<extra>%{fullData.name}</extra>`,
    }));
    const ticks = [-2, -1, 0, 1, 2, 3, 4].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
    draw(card, traces, {
      hovermode: "closest", margin: MARGIN,
      xaxis: { title: { text: across }, range: ranges[0], ...(log ? { type: "log", tickvals: ticks } : {}) },
      yaxis: { title: { text: up }, range: ranges[1] },
    }, `${up} against ${across}: ${points.map(([t, x, y]) => `${trackers[t].name} ${y.toFixed(3)} at ${x.toPrecision(3)}`).join(", ")}`);
  }

  const MARGIN = { l: 52, r: 16, t: 12, b: 42 };

  function padded(values, least) {
    const [low, high] = [Math.min(...values), Math.max(...values)], gap = Math.max(0.18 * (high - low), least);
    return [low - gap, high + gap];
  }

  // Where each name covers no point and no other name, as Plotly calls the sides of a point; empty for nowhere.
  function roomy(places, ranges, names, plot) {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const [width, height] = [plot.clientWidth - MARGIN.l - MARGIN.r, plot.clientHeight - MARGIN.t - MARGIN.b];
    const dots = places.map(([x, y]) => [
      ((x - ranges[0][0]) / (ranges[0][1] - ranges[0][0])) * width, ((ranges[1][1] - y) / (ranges[1][1] - ranges[1][0])) * height,
    ]);
    const taken = dots.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7]); // left, top, right, bottom
    const apart = (one, other) => one[2] < other[0] || other[2] < one[0] || one[3] < other[1] || other[3] < one[1];
    return dots.map(([x, y], own) => {
      const long = pen.measureText(names[own]).width;
      const sides = {
        "middle right": [x + 6, y - 10, x + 12 + long, y + 10], "middle left": [x - 12 - long, y - 10, x - 6, y + 10],
        "top center": [x - long / 2, y - 26, x + long / 2, y - 6], "bottom center": [x - long / 2, y + 6, x + long / 2, y + 26],
      };
      const fits = ([left, top, right, bottom]) => left >= 0 && right <= width && top >= 0 && bottom <= height;
      const side = Object.keys(sides).find((name) => fits(sides[name]) && taken.every((other, n) => n === own || apart(sides[name], other)));
      if (side) taken.push(sides[side]);
      return side ?? "";
    });
  }

  function overlap(section, card) {
    const s = shown.index, step = section.steps[s], film = report.films[section.films[s]];
    const traces = [];
    section.entries.forEach((tracker, e) => {
      const text = section.overlaps[s][e];
      if (!text) return;
      const values = Array.from(bytes(text), (value) => (value === 255 ? null : value / 250));
      traces.push(line(tracker, values.map((_, n) => 1 + n * step), values, { connectgaps: false, line: { ...line(tracker).line, width: 1.6 } }));
    });
    const marks = (film.frames).map((frame) => ({ type: "line", xref: "x", yref: "paper", x0: frame + 1, x1: frame + 1, y0: 0, y1: 1, line: { color: colour("soft"), width: 1, dash: "dot" } }));
    draw(card, traces, {
      shapes: marks, xaxis: { title: { text: "Frame" }, range: [1, section.lengths[s]], hoverformat: "d", unifiedhovertitle: { text: "Frame %{x}" } },
      yaxis: { title: { text: "Overlap" }, range: [-0.01, 1.01], tickformat: ".1f" },
    }, `Overlap with the ground truth in each frame of ${section.sequences[s]}`);
  }

  const kinds = { curve: curves, radar, speed: points, robustness: points };

  function legend(place, rows) {
    place.querySelector(".legend").replaceChildren(...rows.map(([tracker, value]) => {
      const { name, colour, dash } = trackers[tracker];
      const swatch = make("svg", { class: "swatch", viewBox: "0 0 28 8", "aria-hidden": "true" },
        make("line", { x1: 1, y1: 4, x2: 27, y2: 4, stroke: colour, "stroke-dasharray": dash.join(" ") }));
      const button = make("button", { type: "button", "data-tracker": tracker, "aria-pressed": String(!hidden.has(tracker)), title: name },
        swatch, make("span", { class: "name" }, name), ...(value ? [make("span", { class: "value" }, `[${value}]`)] : []));
      return make("li", {}, button);
    }));
  }

  function redraw() {
    const section = active();
    all(panel(section), "[data-plot]").forEach((card) => kinds[card.dataset.plot](section, card));
    if (shown) overlap(shown.section, dialog.querySelector("[data-plot]"));
  }

  function toggle(tracker) {
    if (!hidden.delete(tracker)) hidden.add(tracker);
    all(document, `.legend [data-tracker="${tracker}"]`).forEach((button) => button.setAttribute("aria-pressed", String(!hidden.has(tracker))));
    all(dialog, `.boxes[data-tracker="${tracker}"]`).forEach((box) => box.toggleAttribute("hidden", hidden.has(tracker)));
    all(document, ".plot").filter((box) => box.data).forEach((box) => Plotly.restyle(box, { visible: box.data.map((trace) => !hidden.has(trace.meta)) }));
  }

  // ---- tables

  function sort(heading) {
    const table = heading.closest("table"), column = [...heading.parentNode.children].indexOf(heading);
    const first = heading.querySelector(".sort").dataset.first;
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    all(table, "thead th").forEach((one) => one.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = all(table, "tbody tr").map((row) => {
      const text = row.children[column].dataset.value;
      return { row, text, value: text === "" ? NaN : Number(text) };
    });
    rows.sort((a, b) => {
      if (column === 0) return sign * a.text.localeCompare(b.text, undefined, { numeric: true });
      if (Number.isNaN(a.value) || Number.isNaN(b.value)) return Number.isNaN(a.value) - Number.isNaN(b.value);
      return sign * (a.value - b.value);
    });
    table.tBodies[0].append(...rows.map(({ row }) => row));
  }

  function showMeasure(section, key) {
    const { values, places, digits } = section.values[key];
    all(panel(section), ".sequences tbody tr").forEach((row) => {
      const s = Number(row.dataset.sequence);
      [...row.children].slice(1).forEach((cell, e) => {
        const value = values[s][e], place = places[s][e];
        cell.dataset.value = value ?? "";
        cell.className = { 1: "best", 2: "second" }[place] ?? "";
        cell.replaceChildren(make("span", {}, value === null ? "–" : value.toFixed(digits)));
      });
    });
    all(panel(section), ".sequences [aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
  }

  function find(section, text) {
    const wanted = text.trim().toLowerCase();
    all(panel(section), ".sequences tbody tr").forEach((row) => {
      row.hidden = !row.firstElementChild.textContent.toLowerCase().includes(wanted);
    });
  }

  // ---- the dialog

  function open(section, index) {
    shown = { section, index };
    const name = section.sequences[index], film = report.films[section.films[index]];
    const { key, title } = section.measures[0], { digits } = section.values[key];
    dialog.querySelector("h2").textContent = name;
    dialog.querySelector(".about").textContent = [`${section.lengths[index]} frames`, section.tags[index], section.title, `${title} in brackets`].filter(Boolean).join(" · ");
    dialog.querySelector(".trials").textContent = section.trials[index] > 1 ? `Boxes of the first of ${section.trials[index]} trials that has the frame; overlaps are means over the trials.` : "";
    const rows = section.entries.map((tracker, e) => [tracker, section.values[key].values[index][e], !section.ranked[e]]).filter(([, value]) => value !== null);
    rows.sort((a, b) => (a[2] - b[2]) || b[1] - a[1]);
    legend(dialog, rows.map(([tracker, value]) => [tracker, value.toFixed(digits)]));
    dialog.querySelector(".strip").replaceChildren(...film.frames.map((_, f) => tile(section, index, film, f)));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    overlap(section, dialog.querySelector("[data-plot]"));
  }

  function tile(section, index, film, f) {
    const [x, y, width, height] = film.view;
    const drawing = make("svg", { viewBox: `${x} ${y} ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (!film.images[f]) drawing.append(make("polyline", { points: film.path.map((point) => point.join(",")).join(" "), stroke: "#fff", "stroke-opacity": 0.35, "stroke-width": 1 }));
    const rectangle = (box, colour, dash, more) => [["#000", 4, "", { "stroke-opacity": 0.35 }], [colour, 2, dash, {}]].forEach(([stroke, width, dashes, opacity]) =>
      drawing.append(make("rect", { x: box[0], y: box[1], width: Math.max(0, box[2]), height: Math.max(0, box[3]), stroke, "stroke-width": width, "stroke-dasharray": dashes, ...opacity, ...more })));
    if (film.truth[f]) rectangle(film.truth[f], "#fff", "", { class: "truth" });
    section.entries.forEach((tracker, e) => {
      const box = section.boxes[index][e]?.[f];
      if (box) rectangle(box, trackers[tracker].colour, trackers[tracker].dash.join(" "), { class: "boxes", "data-tracker": tracker, ...(hidden.has(tracker) ? { hidden: "" } : {}) });
    });
    const picture = make("div", { class: "picture", style: `aspect-ratio: ${width} / ${height}` });
    if (film.images[f]) picture.append(make("img", { src: film.images[f], alt: `Frame ${film.frames[f] + 1} of ${section.sequences[index]}` }));
    picture.append(drawing);
    const caption = make("figcaption", {}, make("span", {}, `Frame ${film.frames[f] + 1}`));
    if (film.worst[f]) caption.append(make("span", { class: "worst" }, "least overlap"));
    return make("figure", { class: "tile" }, picture, caption);
  }

  function turn(by) { // in the order of the table, without rows that were filtered out
    const rows = all(panel(shown.section), ".sequences tbody tr").filter((row) => !row.hidden).map((row) => Number(row.dataset.sequence));
    open(shown.section, rows[(rows.indexOf(shown.index) + by + rows.length) % rows.length]);
  }

  // ---- protocols, themes, printing

  function show(section) {
    report.sections.forEach((one) => {
      const tab = document.getElementById(`tab-${one.key}`);
      panel(one).hidden = one !== section;
      tab.setAttribute("aria-selected", String(one === section));
      tab.tabIndex = one === section ? 0 : -1;
    });
    redraw();
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (theme) => { document.documentElement.dataset.theme = theme; redraw(); };
  const repaint = () => paint(dark.matches ? "dark" : "light");

  function save(card) {
    const box = card.querySelector(".plot");
    const name = [active().key, card.dataset.curve || card.dataset.plot].join("-");
    Plotly.downloadImage({ data: box.data, layout: { ...box.layout, showlegend: true, paper_bgcolor: colour("raised") } }, { format: "svg", width: 640, height: 440, filename: name });
  }

  // ---- events

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button");
    if (!target) { if (event.target === dialog) dialog.close(); return; }
    if (target.dataset.tracker) toggle(Number(target.dataset.tracker));
    else if (target.matches(".sort")) sort(target.closest("th"));
    else if (target.matches(".open")) open(active(), Number(target.closest("tr").dataset.sequence));
    else if (target.matches(".save")) save(target.closest("[data-plot]"));
    else if (target.matches(".close")) dialog.close();
    else if (target.matches(".previous")) turn(-1);
    else if (target.matches(".next")) turn(1);
    else if (target.matches("[role=tab]")) show(report.sections.find((one) => target.id === `tab-${one.key}`));
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches(".attribute")) redraw();
    if (event.target.matches(".measure")) showMeasure(active(), event.target.value);
  });
  document.addEventListener("input", (event) => { if (event.target.matches(".find")) find(active(), event.target.value); });
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    if (event.target.matches("[role=tab]")) {
      const place = (report.sections.indexOf(active()) + step + report.sections.length) % report.sections.length;
      show(report.sections[place]);
      document.getElementById(`tab-${report.sections[place].key}`).focus();
    } else if (shown) turn(step);
  });
  dialog.addEventListener("close", () => { shown = null; });
  dark.addEventListener("change", repaint);
  const resize = (size) => all(panel(active()), ".plot").forEach((box) => Plotly.relayout(box, size(box)));
  addEventListener("beforeprint", () => {
    paint("light");
    resize((box) => (box.closest(".radar") ? { width: 420, height: 320 } : { width: 222, height: 192 })); // as page.css has it
  });
  addEventListener("afterprint", () => {
    resize(() => ({ width: null, height: null, autosize: true }));
    repaint();
  });
  repaint();
})();
