// One group side by side, and beside the same problem at another step.
// All that comes from a run is put into text nodes; nothing is ever parsed as markup.

let beside = null; // the group that stands beside the chosen one

function element(tag, options, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) made.setAttribute(name, value);
  for (const child of children) if (child !== null) made.append(child); // strings become text nodes
  return made;
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

const sameProblem = (group) => ofProblem.get(group.key);
const place = (group) => (data.runs.length > 1 ? `run ${group.run + 1}, step ${group.step}` : `step ${group.step}`);

function drawOthers(group) { // buttons to the groups of the same problem, a line for each run that has it
  const same = sameProblem(group);
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

function drawBeside(group) { // the choice of the group that stands beside; the arrow keys go through the steps
  const others = sameProblem(group).filter((other) => other !== group);
  if (!others.length) return null;
  const select = element("select", { id: "beside" }, element("option", { value: "" }, "nothing"),
    ...others.map((other, i) => element("option", { value: String(i) }, `${place(other)}: ${signed(other.reward)}`)));
  if (beside) select.value = String(others.indexOf(beside));
  select.addEventListener("change", () => {
    beside = select.value === "" ? null : others[Number(select.value)];
    byId("shown").replaceWith(drawShown(group)); // the select stays, and the focus with it
  });
  return element("div", { class: "beside" }, element("label", {}, "Show beside it ", select));
}

function drawTraces(group) {
  return element("div", { class: "traces" }, drawBaseline(group), ...group.traces.map(drawTrace));
}

function drawColumn(group, other) { // of the second its differences to the first
  const change = (field) => (other && known([group[field], other[field]]).length === 2 ?
    ` (${signed(group[field] - other[field])})` : "");
  const figures = [["reward", signed], ["uplift", signed], ["success", figure], ["rubric", figure], ["leak", String]];
  const heading = place(group);
  return element("section", { class: "column", "aria-label": heading },
    element("h3", {}, heading[0].toUpperCase() + heading.slice(1)),
    element("div", { class: "quiet" }, figures.map(([field, told]) =>
      `${field === "leak" ? "leaks" : field} ${told(group[field])}${change(field)}`).join(", ")),
    drawTraces(group));
}

function drawShown(group) {
  return beside ?
    element("div", { id: "shown", class: "pair" }, drawColumn(group, null), drawColumn(beside, group)) :
    element("div", { id: "shown" }, drawTraces(group));
}

function drawGroup(group) {
  const article = byId("group");
  article.scrollTop = 0;
  if (!group) {
    article.replaceChildren(element("p", {}, "No group fits these filters."));
    return;
  }
  if (beside && (beside === group || beside.key !== group.key)) beside = null;
  const baseline = group.baseline === null ? "no baseline" :
    `baseline ${figure(group.baseline)}${group.samples ? ` (${group.successes} of ${group.samples} without a trace)` : ""}`;
  article.replaceChildren(element("div", {},
    element("h3", {}, `${group.task}, step ${group.step}, problem ${group.problem}`),
    data.runs.length > 1 ? element("div", { class: "quiet" }, `run ${group.run + 1}: ${data.runs[group.run]}`) : null,
    element("pre", {}, group.statement),
    element("div", { class: "quiet" }, `${baseline}; mean uplift ${signed(group.uplift)}`),
    ...drawOthers(group),
    drawBeside(group),
    drawShown(group)));
}
