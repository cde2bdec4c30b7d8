// What the page does: it shows one frame at a time with everybody's outlines, and where it is on the curves.
// All data is in the page; text is only ever set as text, never as markup.
"use strict";
(() => {
  const view = JSON.parse(document.getElementById("view").textContent);
  const { frames, length, trackers, size: [width, height] } = view;
  const at = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const canvas = at("picture"), outlines = at("outlines"), slider = at("slider");
  const hidden = new Set(); // numbers of trackers, and "truth"
  let place = 0; // of the frame shown, in `frames`
  let wanted = 0, painted = 0; // pictures asked for and drawn, counted: a late one never covers a newer one
  let playing = null; // what ends the play in progress

  // ---- data

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const levels = (text) => text && Array.from(bytes(text), (value) => (value === 255 ? null : value / 250));
  const floats = (text) => new Float32Array(bytes(text).buffer);

  const truth = floats(view.truth);
  const trials = trackers.map((tracker) => tracker.trials.map((trial) => ({
    outlines: floats(trial.outlines), overlaps: levels(trial.overlaps), scores: levels(trial.scores), states: trial.states, events: trial.events, learnt: trial.learnt && new Set(trial.learnt), maps: trial.maps,
  })));
  const words = { i: "started", t: "", l: "lost", f: "failed", s: "skipped", "-": "not run" };

  function trialOf(tracker) { // a run of one trial is the same in all
    const found = trials[tracker];
    return found.length === 1 ? found[0] : found[Number(at("trial")?.value ?? 0)];
  }

  function corners(all, place) { // of one frame; null where there is no region
    const count = all.length / frames.length;
    const values = Array.from(all.subarray(place * count, (place + 1) * count)).filter((value) => !Number.isNaN(value));
    return values.length ? values : null;
  }

  // ---- drawing

  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "image", "line", "rect", "path", "polygon", "title"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  async function show(next) {
    place = Math.max(0, Math.min(frames.length - 1, next));
    const ticket = ++wanted, shown = place, source = view.images[shown];
    const image = new Image();
    if (source) {
      image.src = source;
      await image.decode();
    }
    if (ticket < painted) return;
    painted = ticket;
    paint(source ? image : null);
    draw(shown);
  }

  function paint(image) {
    at("blank").hidden = image !== null;
    canvas.width = image?.naturalWidth ?? width;
    canvas.height = image?.naturalHeight ?? height;
    if (image) canvas.getContext("2d").drawImage(image, 0, 0);
  }

  function draw(shown) {
    const frame = frames[shown];
    outlines.replaceChildren(...responses(shown), ...outlined(corners(truth, shown), { stroke: "#fff", "data-tracker": "truth" }));
    trackers.forEach((tracker, number) => {
      const trial = trialOf(number);
      outlines.append(...outlined(trial && corners(trial.outlines, shown), { stroke: tracker.colour, "stroke-dasharray": tracker.dash.join(" "), "data-tracker": number }));
      const [overlap, score, state] = [...all(".trackers tbody tr")[number + 1].children].slice(1);
      overlap.textContent = shortened(trial?.overlaps[frame]);
      score.textContent = shortened(trial?.scores?.[frame]);
      state.textContent = trial ? [words[trial.states[frame]], trial.learnt?.has(frame) ? "learnt" : ""].filter(Boolean).join(", ") : "not run";
    });
    const happens = view.scene.filter(([, first, last]) => first <= frame && frame <= last).map(([name]) => name);
    document.querySelector(".trackers tbody .state").textContent = happens.join(", ");
    outlines.setAttribute("aria-label", `Frame ${frame + 1} with the outlines of the trackers in the table`);
    slider.value = shown;
    slider.setAttribute("aria-valuetext", `frame ${frame + 1} of ${length}`);
    at("frame").textContent = `${frame + 1} / ${length}`;
    all(".cursor").forEach((line) => ["x1", "x2"].forEach((end) => line.setAttribute(end, frame + 0.5)));
    if (view.maps) {
      at("no-map").hidden = Boolean(view.maps[shown]);
      at("map").hidden = !view.maps[shown];
      if (view.maps[shown]) at("map").src = view.maps[shown];
    }
  }

  function responses(shown) { // the kept response maps, below all outlines
    if (at("responses")?.getAttribute("aria-pressed") !== "true") return [];
    return trackers.flatMap((_, number) => {
      const map = trialOf(number)?.maps?.[shown];
      if (!map || hidden.has(number)) return [];
      const [href, [x, y, width, height]] = map;
      return [make("image", { href, x, y, width, height, preserveAspectRatio: "none", "data-responses": number })];
    });
  }

  function overlay() {
    const button = at("responses");
    if (!button) return;
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    draw(place);
  }

  function outlined(points, look) { // on a dark edge, so that it is seen on any ground
    if (!points || hidden.has(look["data-tracker"])) return [];
    const shape = (more) => make("polygon", { points: points.join(" "), ...more });
    return [shape({ stroke: "#000", "stroke-opacity": 0.45, "stroke-width": 4, class: "edge" }), shape({ "stroke-width": 2, ...look })];
  }

  const shortened = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

  // ---- curves and events of all frames

  const cursor = () => make("line", { class: "cursor", y1: 0, y2: 1 });
  const plane = (...children) => make("svg", { class: "plane", viewBox: `0 0 ${length} 1`, preserveAspectRatio: "none" }, ...children, cursor());

  function path(values) { // a line through the known values; one alone is a short stroke
    let text = "";
    values.forEach((value, frame) => {
      if (value === null) return;
      const known = frame > 0 && values[frame - 1] !== null;
      text += known ? `L${frame + 0.5} ${1 - value}` : `M${frame + 0.2} ${1 - value}L${frame + 0.5} ${1 - value}`;
    });
    return text;
  }

  function chart(box) {
    const curves = trackers.flatMap((tracker, number) => {
      const values = trialOf(number)?.[box.dataset.chart];
      if (!values || hidden.has(number)) return [];
      return [make("path", { d: path(values), stroke: tracker.colour, "stroke-dasharray": tracker.dash.join(" "), "data-tracker": number })];
    });
    const grid = [0.002, 0.5, 0.998].map((y) => make("path", { class: "grid", d: `M0 ${y}H${length}` }));
    const axis = make("div", { class: "axis" }, ...["1", "0.5", "0"].map((text) => make("span", {}, text)));
    const ticks = make("div", { class: "ticks" }, ...[0, 0.25, 0.5, 0.75, 1].map((part) => make("span", {}, String(1 + Math.round(part * (length - 1))))));
    box.replaceChildren(axis, plane(...grid, ...curves), ticks);
  }

  function block([what, first, last], kind) { // a moment is a stroke, for it may be narrower than a pixel
    const words = first === last ? `frame ${first + 1}` : `frames ${first + 1} to ${last + 1}`;
    const title = make("title", {}, `${what}, ${words}`);
    if (kind === "failed" || kind === "restarted") return make("path", { class: kind, "data-frame": first, d: `M${first + 0.5} 0V1` }, title);
    const height = kind === "scene" ? 0.6 : 0.3;
    return make("rect", { class: kind, "data-frame": first, x: first, y: (1 - height) / 2, width: last - first + 1, height }, title);
  }

  function ticks(learnt) { // of the frames after which a tracker learnt, at the foot of its lane
    if (!learnt?.size) return [];
    const title = make("title", {}, `learnt after ${learnt.size} ${learnt.size === 1 ? "frame" : "frames"}`);
    return [make("path", { class: "learnt", d: [...learnt].map((frame) => `M${frame + 0.5} .75V1`).join("") }, title)];
  }

  function lanes() {
    const rows = [];
    const add = (name, blocks, number) => {
      const lane = make("div", { class: "lane", ...(number === undefined ? {} : { "data-tracker": number }) }, make("svg", { class: "plane", viewBox: `0 0 ${length} 1`, preserveAspectRatio: "none" }, ...blocks, cursor()));
      rows.push(make("div", { class: "name", title: name }, ...swatch(trackers[number]), make("span", {}, name)), lane);
    };
    [...new Set(view.scene.map(([name]) => name))].forEach((name) => add(name, view.scene.filter(([other]) => other === name).map((each) => block(each, "scene"))));
    trackers.forEach((tracker, number) => {
      const trial = trialOf(number);
      if (trial && !hidden.has(number)) add(tracker.name, [...ticks(trial.learnt), ...trial.events.map((each) => block(each, each[0]))], number);
    });
    document.querySelector(".lanes").replaceChildren(...rows);
  }

  function swatch(tracker) { // as the table has it; none for what is annotated
    if (!tracker) return [];
    const line = make("line", { x1: 1, y1: 4, x2: 27, y2: 4, stroke: tracker.colour, "stroke-dasharray": tracker.dash.join(" ") });
    return [make("svg", { class: "swatch", viewBox: "0 0 28 8", "aria-hidden": "true" }, line)];
  }

  function redraw() {
    all(".chart").forEach((box) => {
      chart(box);
      box.closest(".card").hidden = !box.querySelector("[data-tracker]") && !hidden.size;
    });
    lanes();
    draw(place);
  }

  // ---- playing

  async function play() {
    let stopped = false;
    playing = () => { stopped = true; };
    at("play").textContent = "❚❚";
    if (place === frames.length - 1) await show(0);
    while (!stopped && place < frames.length - 1) {
      const rest = new Promise((done) => setTimeout(done, 1000 / Number(at("speed").value)));
      await show(place + 1);
      await rest;
    }
    if (!stopped) pause();
  }

  function pause() {
    playing?.();
    playing = null;
    at("play").textContent = "▶";
  }

  function seek(next) {
    pause();
    show(next);
  }

  function toggle(which) {
    if (which !== "truth" && !trials[which]?.length) return;
    if (!hidden.delete(which)) hidden.add(which);
    document.querySelector(`[data-toggle="${which}"]`).setAttribute("aria-pressed", String(!hidden.has(which)));
    redraw();
  }

  // ---- events

  slider.max = frames.length - 1;
  const screen = document.querySelector(".screen");
  screen.style.aspectRatio = `${width} / ${height}`;
  screen.style.maxWidth = `min(100%, calc(70vh * ${width / height}))`;
  outlines.setAttribute("viewBox", `0 0 ${width} ${height}`);
  outlines.setAttribute("preserveAspectRatio", "none");

  slider.addEventListener("input", () => seek(Number(slider.value)));
  at("play").addEventListener("click", () => (playing ? pause() : play()));
  at("trial")?.addEventListener("change", redraw);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.toggle) toggle(button.dataset.toggle === "truth" ? "truth" : Number(button.dataset.toggle));
    if (button?.id === "responses") overlay();
    if (event.detail) button?.blur(); // after a click by mouse, space plays
  });

  function point(event) { // on a curve or among events: to the nearest frame that is shown
    const box = event.target.closest(".plane")?.getBoundingClientRect();
    if (!box || (event.type === "pointermove" && !event.buttons)) return;
    const frame = Math.floor(((event.clientX - box.left) / box.width) * length);
    seek(Math.round(frame / (frames[1] || 1)));
  }
  ["pointerdown", "pointermove"].forEach((name) => document.addEventListener(name, point));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select")) return;
    const far = event.shiftKey ? 10 : 1;
    const keys = {
      ArrowLeft: () => seek(place - far), ArrowRight: () => seek(place + far), PageUp: () => seek(place - 10), PageDown: () => seek(place + 10),
      Home: () => seek(0), End: () => seek(frames.length - 1), m: overlay, M: overlay,
    };
    if (event.key === " " && !event.target.matches("button")) keys[" "] = () => (playing ? pause() : play());
    if (/^[0-9]$/.test(event.key)) keys[event.key] = () => toggle(event.key === "0" ? "truth" : Number(event.key) - 1);
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const repaint = () => { document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", repaint);
  repaint();
  redraw();
  show(0);
})();
