"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main"), place = `sanity-bench-study-${data.study.slice(0, 16)}`;
const descriptions = {
  verdict: "Then you are told whether your choice is right.",
  heat: "Then you are told whether your choice is right, and the parts of the picture that speak for its name are highlighted in red.",
  morph: "Then you are told whether your choice is right, and an animation shows how the picture could be changed towards the other name.",
  task: "Two pictures stand beside each other, or one picture changes again and again; you can stop it and step through it.",
};
let state = null, since = 0, timer = 0;

const random = (limit) => {
  // Numbers above the last whole multiple of the limit would favour the first values.
  const top = Math.floor(4294967296 / limit) * limit, box = new Uint32Array(1);
  do crypto.getRandomValues(box); while (box[0] >= top);
  return box[0] % limit;
};
function fresh() {
  const order = data.trials.map((_, index) => index);
  for (let last = order.length - 1; last > 0; last--) {
    const other = random(last + 1);
    [order[last], order[other]] = [order[other], order[last]];
  }
  const asked = new URLSearchParams(location.search).get("group");
  const participant = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const group = data.groups.includes(asked) ? asked : data.groups[random(data.groups.length)];
  return { participant, group, order, phase: "consent", shown: false, trials: [], rating: null, started: new Date().toISOString() };
}
function valid(found) {
  return found && data.groups.includes(found.group) && Array.isArray(found.order) && found.order.length === data.trials.length &&
    Array.isArray(found.trials) && ["consent", "instructions", "trial", "rating", "done"].includes(found.phase);
}
function load() {
  try { const found = JSON.parse(localStorage.getItem(place)); if (valid(found)) return found; } catch { /* nothing that can be read is kept */ }
  // A browser that has only just started may still find its storage empty, and a private window may refuse it: the tab keeps a copy.
  const copy = history.state?.[place];
  return valid(copy) ? copy : fresh();
}
function keep() {
  try { history.replaceState({ [place]: state }, ""); } catch { /* the copy is the second of two */ }
  try { localStorage.setItem(place, JSON.stringify(state)); } catch { document.getElementById("storage").hidden = false; }
}
function forget() {
  try { history.replaceState(null, ""); localStorage.removeItem(place); } catch { /* nothing was kept */ }
}
const by = (id) => document.getElementById(id);
const say = (text) => { by("live").textContent = text; };
function go(phase) { state.phase = phase; state.shown = false; keep(); show(); }
function show() {
  clearInterval(timer);
  main.replaceChildren(by(state.phase).content.cloneNode(true));
  ({ consent, instructions, trial, rating, done })[state.phase]();
  scrollTo(0, 0);
  if (!state.shown) main.querySelector("h1").focus({ preventScroll: true });
}
function consent() {
  by("agree").addEventListener("change", () => { by("go").disabled = !by("agree").checked; });
  by("go").addEventListener("click", () => go("instructions"));
}
function instructions() {
  by("described").textContent = descriptions[data.kinds[state.group]];
  by("go").addEventListener("click", () => go("trial"));
}
function choices(labels, pick) {
  labels.forEach((label, index) => {
    const button = document.createElement("button");
    button.className = "choice"; button.textContent = `${index + 1}. ${label}`;
    button.setAttribute("aria-keyshortcuts", String(index + 1));
    button.addEventListener("click", () => pick(index));
    by("choices").append(button);
  });
}
function trial() {
  const number = state.trials.length - (state.shown ? 1 : 0), one = data.trials[state.order[number]];
  const options = one.options || data.names;
  by("count").textContent = `${data.tasks ? "Question" : "Picture"} ${number + 1} of ${data.trials.length}`;
  if (data.tasks) ask(one); else by("picture").src = one.picture;
  choices(options, (index) => {
    if (state.shown) return;
    const seconds = Math.round(performance.now() - since) / 1000;
    if (data.tasks) {
      const { image, truth, task, category } = one;
      state.trials.push({ image, truth, answer: options[index], seconds, task, category, options: options.length });
      if (state.trials.length === data.trials.length) state.finished = new Date().toISOString();
      go(state.trials.length < data.trials.length ? "trial" : "done");
      return;
    }
    state.trials.push({ image: one.image, truth: one.truth, answer: data.names[index], seconds });
    state.shown = true; keep(); feedback(one);
  });
  by("go").addEventListener("click", () => go(state.trials.length < data.trials.length ? "trial" : "rating"));
  since = performance.now();
  if (state.shown) feedback(one);
}
function ask(one) {
  by("question").textContent = one.question;
  const figure = by("feedback");
  figure.hidden = false;
  if (one.pair) {
    by("picture").src = one.pair[0]; by("picture").alt = "The left picture";
    figure.innerHTML = "<img alt='The right picture'>";
    figure.firstChild.src = one.pair[1];
  } else {
    by("picture").parentElement.hidden = true;
    morph(figure, one.series, "");
  }
}
function feedback(one) {
  const answer = state.trials[state.trials.length - 1].answer, right = answer === one.truth;
  by("verdict").textContent = right ? `Right: it is a ${one.truth}.` : `Wrong: it is a ${one.truth}.`;
  [...by("choices").children].forEach((button, index) => {
    button.disabled = true; button.classList.toggle("picked", data.names[index] === answer);
  });
  const kind = data.kinds[state.group], figure = by("feedback");
  if (kind === "heat") {
    figure.innerHTML = "<img alt='The picture with the important parts in red'><figcaption>Red: speaks for its name.</figcaption>";
    figure.firstChild.src = one.heat[state.group];
  } else if (kind === "morph") morph(figure, one.morph[state.group], data.names.find((name) => name !== one.truth));
  figure.hidden = kind === "verdict";
  say(by("verdict").textContent);
  by("go").hidden = false; by("go").focus();
}
function morph(figure, frames, other) {
  figure.innerHTML = "<img alt=''><figcaption></figcaption><input type='range' min='0' step='1' aria-label='Step of the change'><button class='quiet'></button>";
  const [image, caption, slider, button] = figure.children;
  slider.max = String(frames.length - 1); slider.value = "0";
  image.alt = caption.textContent = other ? `How it would change towards a ${other}.` : "The picture as it changes.";
  let ahead = 1, rest = 0;
  const draw = (step) => { slider.value = String(step); image.src = frames[step]; };
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  const play = () => {
    button.textContent = "Pause";
    timer = setInterval(() => {
      if (rest > 0) { rest -= 1; return; }
      const step = Number(slider.value) + ahead;
      if (step >= frames.length - 1 || step <= 0) { ahead = -ahead; rest = 4; }
      draw(Math.min(frames.length - 1, Math.max(0, step)));
    }, 160);
  };
  slider.addEventListener("input", () => { stop(); draw(Number(slider.value)); });
  button.addEventListener("click", () => (timer ? stop() : play()));
  draw(0); stop();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}
function rating() {
  choices(data.ratings, (index) => { state.rating = index + 1; state.finished = new Date().toISOString(); go("done"); });
}
function result() {
  return {
    schema: data.schema, version: data.version, study: data.study, participant: state.participant, groups: data.groups,
    group: state.group, classes: data.names, planned: data.trials.length, trials: state.trials, rating: state.rating,
    started: state.started, finished: state.finished,
  };
}
function done() {
  const text = JSON.stringify(result(), null, 1);
  if (!data.tasks) by("score").textContent = `${state.trials.filter((each) => each.truth === each.answer).length} of ${data.trials.length} were right.`;
  by("save").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  by("save").download = `study-${state.participant}.json`;
  by("text").value = text;
  by("forget").addEventListener("click", () => { forget(); state = fresh(); show(); });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !/^[1-9]$/.test(event.key)) return;
  if (state.phase !== "trial" && state.phase !== "rating") return;
  const button = by("choices").children[Number(event.key) - 1];
  if (button && !button.disabled) { event.preventDefault(); button.click(); }
});
state = load();
keep();
show();
