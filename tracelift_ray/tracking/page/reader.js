// The reader of traces: filters and sorts groups, draws the rows that are visible, and shows one group side by side.
// All that comes from a run is put into text nodes; nothing is ever parsed as markup.
"use strict";

const ROW = 46;
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const text = (number) => (number < 0 ? null : data.texts[number]);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const largest = (values) => (values.length ? Math.max(...values) : null);
const known = (values) => values.filter((value) => value !== null);
const figure = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const signed = (value) => (value === null ? "–" : (value > 0 ? "+" : "") + value.toFixed(2));

function element(tag, options, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) made.setAttribute(name, value);
  for (const child of children) if (child !== null) made.append(child); // strings become text nodes
  return made;
}

function readVerdict([outcome, artifact, passed, total]) {
  return { outcome: text(outcome), artifact: text(artifact), passed, total };
}

function readTrace(row, dimensions) {
  const [content, reward, advantage, uplift, stale, tokens, malformed, masked, leaked, rubric, verdicts, fresh] = row;
  const [checked, apart] = [verdicts.map(readVerdict), fresh ? readVerdict(fresh) : null];
  const all = apart ? [...checked, apart] : checked; // exec_only may have the fresh sample alone
  return {
    content: text(content), reward, advantage, uplift, stale, tokens, malformed: text(malformed), masked: text(masked),
    leaked: Boolean(leaked), verdicts: checked, fresh: apart, all,
    score: rubric ? rubric[2] : null,
    labels: rubric ? rubric[0].map((label, i) => [dimensions[i] || "", label]) : [],
    success: mean(all.map((each) => (each.outcome === "passed" ? 1 : 0))),
  };
}

function readGroup(row) {
  const [run, step, serial, problem, task, statement, baseline, successes, samples, traces, without] = row;
  const read = traces.map((trace) => readTrace(trace, data.dimensions[task] || []));
  const rewards = known(read.map((trace) => trace.reward));
  return {
    run, step, serial, problem: text(problem), task, statement: text(statement), baseline, successes, samples,
    key: `${problem} ${statement}`, // each text has one number in all runs
    traces: read,
    without: without.map(readVerdict), // the executor's answers without a trace; none where they were not kept
    reward: mean(rewards),
    spread: rewards.length ? Math.max(...rewards) - Math.min(...rewards) : null,
    uplift: mean(known(read.map((trace) => trace.uplift))),
    success: mean(known(read.map((trace) => trace.success))),
    rubric: null, // of the dimension that is chosen; see filter
    stale: largest(known(read.map((trace) => trace.stale))),
  };
}

const groups = data.groups.map(readGroup);
const ofProblem = new Map();
for (const group of groups) {
  if (!ofProblem.has(group.key)) ofProblem.set(group.key, []);
  ofProblem.get(group.key).push(group);
}
let shown = groups;
let chosen = 0;

const KINDS = {
  passed: (group) => group.traces.some((trace) => trace.success !== null && trace.success > 0),
  failed: (group) => group.traces.some((trace) => trace.success !== null && trace.success < 1),
  mixed: (group) => new Set(known(group.traces.map((trace) => trace.success))).size > 1,
  malformed: (group) => group.traces.some((trace) => trace.malformed !== null),
  leaked: (group) => group.traces.some((trace) => trace.leaked),
  masked: (group) => group.traces.some((trace) => trace.masked !== null),
};

function matches(group, words) {
  if (group.statement.toLowerCase().includes(words) || group.problem.toLowerCase().includes(words)) return true;
  const found = (verdict) => (verdict.artifact || "").toLowerCase().includes(words);
  return group.without.some(found) || group.traces.some((trace) =>
    (trace.content || "").toLowerCase().includes(words) || trace.all.some(found));
}

function bounds(field, least, most) {
  const from = least && byId(least).value !== "" ? Number(byId(least).value) : -Infinity;
  const to = most && byId(most).value !== "" ? Number(byId(most).value) : Infinity;
  if (from === -Infinity && to === Infinity) return () => true;
  return (group) => group[field] !== null && group[field] >= from && group[field] <= to;
}

function rubricOf(trace, dimension) {
  if (dimension === "") return trace.score;
  const found = trace.labels.find(([name]) => name === dimension);
  return found ? found[1] : null;
}

function filter() {
  const dimension = byId("dimension").value;
  for (const group of groups) group.rubric = mean(known(group.traces.map((trace) => rubricOf(trace, dimension))));
  const words = byId("search").value.trim().toLowerCase();
  const [run, task, kind, verdict] = ["run", "task", "kind", "verdict"].map((id) => byId(id).value);
  const tests = [
    bounds("reward", "reward-least", "reward-most"), bounds("uplift", "uplift-least", "uplift-most"),
    bounds("rubric", null, "rubric-most"), bounds("stale", "stale-least", null),
  ];
  if (run !== "") tests.push((group) => group.run === Number(run));
  if (task !== "") tests.push((group) => group.task === task);
  if (kind !== "") tests.push(KINDS[kind]);
  if (verdict !== "")
    tests.push((group) => group.traces.some((trace) => trace.all.some((each) => each.outcome === verdict)));
  if (words !== "") tests.push((group) => matches(group, words));
  const field = byId("sort").value;
  const order = Number(byId("order").value);
  const rank = (group) => (group[field] === null ? Infinity : order * group[field]); // what is not known comes last
  shown = groups.filter((group) => tests.every((test) => test(group)));
  shown.sort((a, b) => rank(a) - rank(b) || a.step - b.step || a.serial - b.serial);
  const traces = shown.reduce((sum, group) => sum + group.traces.length, 0);
  const left = data.total > groups.length ? `; the page holds ${groups.length} of ${data.total}, evenly over the run` : "";
  byId("count").textContent =
    `${shown.length} of ${groups.length} groups, ${traces} traces${left}. / searches, arrow keys move.`;
  byId("list").scrollTop = 0;
  choose(0);
}

function drawRows() {
  const list = byId("list");
  const rows = byId("rows");
  rows.style.height = `${shown.length * ROW}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const drawn = [];
  for (let index = first; index < last; index++) {
    const group = shown[index];
    const row = element("div",
      { class: "row", role: "option", id: `row-${index}`, "aria-selected": String(index === chosen) },
      element("div", {}, `${data.runs.length > 1 ? `run ${group.run + 1}  ` : ""}step ${group.step}` + // the end may be cut
        `  reward ${signed(group.reward)}  uplift ${signed(group.uplift)}  success ${figure(group.success)}`),
      element("div", { class: "quiet" }, group.statement));
    row.style.top = `${index * ROW}px`;
    row.addEventListener("click", () => choose(index));
    drawn.push(row);
  }
  rows.replaceChildren(...drawn);
  list.setAttribute("aria-activedescendant", `row-${chosen}`);
}

function choose(index) {
  chosen = Math.max(0, Math.min(index, shown.length - 1));
  const list = byId("list");
  if (chosen * ROW < list.scrollTop) list.scrollTop = chosen * ROW;
  if ((chosen + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (chosen + 1) * ROW - list.clientHeight;
  drawRows();
  drawGroup(shown[chosen]);
}

function drawVerdict(label, verdict, count) {
  const tests = verdict.total > 1 ? ` (${verdict.passed} of ${verdict.total} tests)` : "";
  const times = count > 1 ? `${count} × ` : "";
  return element("div", {},
    element("span", { class: verdict.outcome === "passed" ? "good" : "bad" }, `${label}${times}${verdict.outcome}${tests}`),
    element("pre", {}, verdict.artifact === null ? "no artifact" : verdict.artifact));
}

function drawVerdicts(verdicts) { // equal ones once
  const counted = new Map();
  for (const verdict of verdicts) {
    const key = JSON.stringify(verdict);
    counted.set(key, [verdict, (counted.has(key) ? counted.get(key)[1] : 0) + 1]);
  }
  return [...counted.values()].map(([verdict, count]) => drawVerdict("", verdict, count));
}

function drawBaseline(group) {
  if (group.baseline === null) return null; // the arm asks for none
  const drawn = group.without.length;
  const counts = `${group.successes} of ${group.samples} samples passed`;
  return element("section", { class: "trace without" },
    element("h3", {}, `Without a trace: baseline ${figure(group.baseline)}`),
    element("div", { class: "quiet" }, drawn === 0 ?
      "The answers were not kept: the baseline's samples were drawn for another group, or the run is of an older version." :
      drawn === group.samples ? counts : `${counts}; those drawn for this group:`),
    ...drawVerdicts(group.without));
}

function drawTrace(trace, number) {
  const notes = [
    trace.malformed === null ? null : `malformed: ${trace.malformed}`,
    trace.masked === null ? null : `masked: ${trace.masked}`,
    trace.leaked ? "gives the answer away" : null,
  ].filter((note) => note !== null);
  const labels = trace.labels.map(([name, label]) => `${name.replaceAll("_", " ")} ${figure(label, 1)}`).join(", ");
  return element("section", { class: "trace" },
    element("h3", {}, `Trace ${number + 1}: reward ${signed(trace.reward)}`),
    element("div", { class: "quiet" }, `uplift ${signed(trace.uplift)}, advantage ${signed(trace.advantage)}, ` +
      `rubric ${figure(trace.score)}, staleness ${trace.stale === null ? "–" : trace.stale}, ${trace.tokens} tokens`),
    labels ? element("div", { class: "quiet" }, labels) : null,
    notes.length ? element("div", { class: "bad" }, notes.join("; ")) : null,
    element("pre", {}, trace.content || ""),
    ...drawVerdicts(trace.verdicts),
    trace.fresh ? drawVerdict("fresh sample: ", trace.fresh, 1) : null);
}

function drawOthers(group) { // buttons to the groups of the same problem, a line for each run that has it
  const same = ofProblem.get(group.key);
  if (same.length < 2) return [];
  return [...new Set(same.map((other) => other.run))].map((run) => element("div", { class: "others" },
    data.runs.length > 1 ? `The same problem in run ${run + 1} at step ` : "The same problem at step ",
    ...same.filter((other) => other.run === run).map((other) => {
      const button = element("button", { type: "button" }, `${other.step}: ${signed(other.reward)}`);
      if (other === group) button.disabled = true;
      button.addEventListener("click", () => show(other));
      return button;
    })));
}

function drawGroup(group) {
  const article = byId("group");
  article.scrollTop = 0;
  if (!group) {
    article.replaceChildren(element("p", {}, "No group fits these filters."));
    return;
  }
  const baseline = group.baseline === null ? "no baseline" :
    `baseline ${figure(group.baseline)}${group.samples ? ` (${group.successes} of ${group.samples} without a trace)` : ""}`;
  article.replaceChildren(element("div", {},
    element("h3", {}, `${group.task}, step ${group.step}, problem ${group.problem}`),
    data.runs.length > 1 ? element("div", { class: "quiet" }, `run ${group.run + 1}: ${data.runs[group.run]}`) : null,
    element("pre", {}, group.statement),
    element("div", { class: "quiet" }, `${baseline}; mean uplift ${signed(group.uplift)}`),
    ...drawOthers(group),
    element("div", { class: "traces" }, drawBaseline(group), ...group.traces.map(drawTrace))));
}

function show(group) {
  const index = shown.indexOf(group);
  if (index >= 0) choose(index);
  else drawGroup(group); // the filters hide it from the list
  byId("group").focus(); // the button that was pressed is gone
}

function fill(id, names, values, first = "all") {
  const select = byId(id);
  select.append(element("option", { value: "" }, first));
  names.forEach((name, i) => select.append(element("option", { value: String(values[i]) }, name)));
}

fill("run", data.runs.map((run, i) => `${i + 1}: ${run}`), data.runs.map((_, i) => i));
byId("run-label").hidden = data.runs.length < 2;
const tasks = [...new Set(groups.map((group) => group.task))].sort();
fill("task", tasks, tasks);
const dimensions = [...new Set(tasks.flatMap((task) => data.dimensions[task] || []))];
fill("dimension", dimensions.map((name) => name.replaceAll("_", " ")), dimensions, "score");
const outcomes = new Set();
for (const group of groups) for (const trace of group.traces) for (const each of trace.all) outcomes.add(each.outcome);
const sorted = [...outcomes].sort();
fill("verdict", sorted, sorted);

byId("filters").addEventListener("input", filter);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(filter));
byId("list").addEventListener("scroll", drawRows);
window.addEventListener("resize", drawRows);
byId("list").addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW) - 1);
  const moves = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: chosen + page, PageUp: chosen - page,
    Home: 0, End: shown.length - 1 };
  if (event.key in moves) {
    event.preventDefault();
    choose(moves[event.key]);
  }
  if (event.key === "Enter") byId("group").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
    event.preventDefault();
    byId("search").focus();
  }
  if (event.key === "Escape") byId("list").focus();
});
filter();
