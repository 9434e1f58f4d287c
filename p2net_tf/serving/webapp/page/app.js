// The page of `p2net app`. Coordinates are pixels of the photo; the SVG has them as its own.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const FAINTEST = 0.35; // opacity of a limb that the network is not sure of at all, as in p2net_tf.skeletons.drawing

const element = (id) => document.getElementById(id);
const show = (id, shown = true) => element(id).toggleAttribute("hidden", !shown);
const state = {
  model: null, // what /model says
  file: null, // the picture as it was given; it is sent again for each person
  answer: null, // of /people
  chosen: -1, // number of the person
  person: null, // of /person
  asked: 0, // number of the newest question: answers to older ones come too late
};

// ---- asking

async function ask(path, fields) {
  const query = new URLSearchParams({ name: state.file.name, ...fields });
  const response = await fetch(`${path}?${query}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: state.file,
  }).catch(() => {
    throw new Error("p2net app does not answer; is it still running?");
  });
  const answer = await response.json().catch(() => ({ error: `p2net app answers with status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** Shows `words` while `path` is asked, then gives the answer to `use`, unless something newer was asked. */
async function lookUp(words, path, fields, use) {
  const number = ++state.asked;
  say(words, true);
  try {
    const answer = await ask(path, fields);
    if (number === state.asked) use(answer);
  } catch (error) {
    if (number === state.asked) refuse(error.message);
  }
}

function openFile(file) {
  if (!file) return;
  forget();
  if (file.size > state.model.largest_file) {
    refuse(`${file.name}: has ${file.size} bytes, and at most ${state.model.largest_file} are taken; make it smaller`);
    return;
  }
  state.file = file;
  lookUp("Looking for people …", "/people", {}, showPeople);
}

function choosePerson(number) {
  state.chosen = number;
  state.person = null;
  showChoice();
  const box = state.answer.people[number].box.join(",");
  lookUp("Looking at this person …", "/person", { box }, showPerson);
}

// ---- words

function say(words, busy = false) {
  element("status").textContent = words;
  document.body.classList.toggle("busy", busy);
}

function refuse(words) {
  say("");
  element("problem").textContent = words;
  show("problem");
}

function forget() {
  Object.assign(state, { file: null, answer: null, chosen: -1, person: null });
  leaveCamera();
  for (const id of ["problem", "picture", "nobody", "panel"]) show(id, false);
  show("drop");
  say("");
}

// ---- showing

function showPeople(answer) {
  state.answer = answer;
  const { people, width, height } = answer;
  const picture = element("picture");
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.style.setProperty("--ratio", width / height);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${state.file.name}: ${counted(people.length)}`);
  picture.replaceChildren(
    svg("image", { class: "photo", href: answer.picture, width, height }),
    svg("g", { id: "heat" }),
    // The best one on top.
    ...people.map(drawPerson).sort((a, b) => a.dataset.score - b.dataset.score),
  );
  show("drop", false);
  show("picture");
  showPanel(people);
  if (people.length) {
    choosePerson(people.reduce((best, person, n) => (person.score > people[best].score ? n : best), 0));
  } else {
    say("Nobody found in this picture.");
    show("nobody");
  }
}

function showPanel(people) {
  show("panel", people.length > 0);
  show("gates-panel", false);
  element("people-title").textContent = counted(people.length);
  element("people").replaceChildren(...people.map((person, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${number + 1} · ${person.score.toFixed(2)}`;
    button.title = `person ${number + 1}, pose score ${person.score.toFixed(3)}`;
    button.addEventListener("click", () => choosePerson(number));
    return button;
  }));
  element("keypoint").value = "";
  const link = element("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([state.answer.predictions], { type: "application/json" }));
}

function showChoice() {
  [...element("people").children].forEach((button, number) => {
    button.setAttribute("aria-pressed", number === state.chosen);
  });
  for (const group of element("picture").querySelectorAll(".person")) {
    group.classList.toggle("chosen", Number(group.dataset.number) === state.chosen);
  }
  showHeatmap();
}

function showPerson(person) {
  state.person = person;
  say("");
  showHeatmap();
  const gates = Object.entries(person.gates);
  show("gates-panel", gates.length > 0);
  element("gates").replaceChildren(...gates.map(([layer, values]) => drawGates(layer, values)));
}

function showHeatmap() {
  const keypoint = element("keypoint").value;
  const shown = keypoint !== "" && state.person !== null;
  element("picture").classList.toggle("heat", shown);
  element("highest").textContent = shown ? `The brightest color is its highest value, ${state.person.highest[keypoint].toFixed(3)}.` : "";
  element("heat").replaceChildren(...(shown ? drawHeatmap(Number(keypoint)) : []));
}

// ---- drawing

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawPerson({ box, score, keypoints }, number) {
  const [x, y, width, height] = box;
  const opacity = (confidence) => FAINTEST + (1 - FAINTEST) * Math.min(Math.max(confidence, 0), 1);
  const limbs = state.model.limbs.map(([start, end, color]) => {
    const [[x1, y1, one], [x2, y2, other]] = [keypoints[start], keypoints[end]];
    return svg("line", { class: "limb", x1, y1, x2, y2, stroke: color, "stroke-opacity": opacity(Math.min(one, other)) });
  });
  const dots = keypoints.flatMap(([cx, cy, confidence], k) => {
    // A line without a length has round ends of the same size on every screen.
    const place = { d: `M ${cx} ${cy} h 0`, "stroke-opacity": opacity(confidence) };
    const dot = svg("path", { class: "dot", stroke: keypointColor(k), ...place });
    dot.append(svg("title", {}, `${state.model.keypoints[k]} ${confidence.toFixed(2)}`));
    return [svg("path", { class: "dot rim", ...place }), dot];
  });
  const size = Math.max(state.answer.width, state.answer.height) / 36;
  const tag = svg("text", { class: "tag", x: x + size / 4, y: y + size, "font-size": size }, `${number + 1}`);
  const frame = svg("rect", { class: "box", x, y, width, height });
  const group = svg("g", { class: "person", "data-number": number, "data-score": score }, frame, ...limbs, ...dots, tag);
  group.addEventListener("click", () => choosePerson(number));
  return group;
}

/** That of the limb which ends in the keypoint, else of one that starts there. */
function keypointColor(k) {
  const limb = state.model.limbs.find(([, end]) => end === k) || state.model.limbs.find(([start]) => start === k);
  return limb ? limb[2] : "#ffffff";
}

function drawHeatmap(k) {
  const [x, y, width, height] = state.person.window;
  const [cx, cy] = state.answer.people[state.chosen].keypoints[k];
  const href = state.person.heatmaps[k];
  return [
    svg("image", { class: "heatmap", href, x, y, width, height, preserveAspectRatio: "none" }),
    svg("circle", { class: "mark", cx, cy, r: Math.max(width, height) / 24 }),
  ];
}

function drawGates(layer, values) {
  const bars = values.map((value, c) => {
    const bar = svg("rect", { x: c + 0.1, y: 1 - value, width: 0.8, height: value });
    bar.append(svg("title", {}, `channel ${c}: ${value.toFixed(3)}`));
    return bar;
  });
  const half = svg("line", { x1: 0, x2: values.length, y1: 0.5, y2: 0.5 });
  const range = `${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`;
  const label = { role: "img", "aria-label": `${values.length} gates of ${layer}, ${range}` };
  const chart = svg("svg", { viewBox: `0 0 ${values.length} 1`, preserveAspectRatio: "none", ...label }, ...bars, half);
  const caption = document.createElement("figcaption");
  const [name, numbers] = [document.createElement("span"), document.createElement("span")];
  name.textContent = `stride ${layer.split("_").pop()}, ${values.length} channels`;
  numbers.textContent = range;
  caption.append(name, numbers);
  const figure = document.createElement("figure");
  figure.className = "gates";
  figure.append(caption, chart);
  return figure;
}

const counted = (count) => (count === 1 ? "1 person" : `${count || "No"} people`);

// ---- the camera

async function useCamera() {
  forget();
  try {
    element("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch (error) {
    refuse(`The camera cannot be used: ${error.message}`);
    return;
  }
  show("drop", false);
  show("camera");
}

function leaveCamera() {
  const video = element("video");
  if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  show("camera", false);
}

function shoot() {
  const video = element("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => openFile(new File([blob], "camera.jpg")), "image/jpeg", 0.92);
}

// ---- the beginning

function listen() {
  element("file").addEventListener("change", (event) => {
    openFile(event.target.files[0]);
    event.target.value = ""; // or the same file would be no change
  });
  element("keypoint").addEventListener("change", showHeatmap);
  element("use-camera").addEventListener("click", useCamera);
  element("shoot").addEventListener("click", shoot);
  element("leave-camera").addEventListener("click", forget);
  let inside = 0; // the parts of the page tell of entering and leaving each for themselves
  const drag = (change) => (event) => {
    event.preventDefault();
    inside += change;
    document.body.classList.toggle("dragging", inside > 0);
  };
  document.addEventListener("dragenter", drag(+1));
  document.addEventListener("dragleave", drag(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    document.body.classList.remove("dragging");
    openFile(event.dataTransfer.files[0]);
  });
  if (!navigator.mediaDevices) {
    // Browsers give cameras to pages of the same machine and to https alone.
    element("use-camera").disabled = true;
    element("use-camera").title = "Browsers allow it on the machine that p2net app runs on, at localhost";
  }
}

async function begin() {
  state.model = await (await fetch("/model")).json();
  element("model").textContent = state.model.title;
  const options = state.model.keypoints.map((name, k) => new Option(name.replaceAll("_", " "), k));
  element("keypoint").replaceChildren(new Option("none", ""), ...options);
  listen();
}

begin();
