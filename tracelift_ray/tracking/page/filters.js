// Which groups the fields of the form let through, and in which order.

const KINDS = {
  passed: (group) => group.traces.some((trace) => trace.success !== null && trace.success > 0),
  failed: (group) => group.traces.some((trace) => trace.success !== null && trace.success < 1),
  mixed: (group) => new Set(known(group.traces.map((trace) => trace.success))).size > 1,
  malformed: (group) => group.traces.some((trace) => trace.malformed !== null),
  leaked: (group) => group.traces.some((trace) => trace.leaked),
  masked: (group) => group.traces.some((trace) => trace.masked !== null),
};

let searched = { words: "", hits: [] }; // the last search: other fields change without another

function matching(words) {
  if (searched.words !== words) searched = { words, hits: data.lowered.map((each) => each.includes(words)) };
  const hits = searched.hits;
  return (group) => group.searched.some((number) => number >= 0 && hits[number]);
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

function filtered(groups) {
  const dimension = byId("dimension").value;
  for (const group of groups) group.rubric = mean(known(group.traces.map((trace) => rubricOf(trace, dimension))));
  const words = byId("search").value.trim().toLowerCase();
  const [run, task, kind, verdict] = ["run", "task", "kind", "verdict"].map((id) => byId(id).value);
  const tests = [
    bounds("reward", "reward-least", "reward-most"), bounds("uplift", "uplift-least", "uplift-most"),
    bounds("rubric", "rubric-least", "rubric-most"), bounds("stale", "stale-least", null),
  ];
  if (run !== "") tests.push((group) => group.run === Number(run));
  if (task !== "") tests.push((group) => group.task === task);
  if (kind !== "") tests.push(KINDS[kind]);
  if (verdict !== "")
    tests.push((group) => group.traces.some((trace) => trace.all.some((each) => each.outcome === verdict)));
  if (words !== "") tests.push(matching(words));
  const field = byId("sort").value;
  const order = Number(byId("order").value);
  const rank = (group) => (group[field] === null ? Infinity : order * group[field]); // what is not known comes last
  const left = groups.filter((group) => tests.every((test) => test(group)));
  return left.sort((a, b) => rank(a) - rank(b) || a.step - b.step || a.serial - b.serial);
}

const REASONS = { // why a row stands where it does, where its first line does not say so
  spread: (group) => `spread ${figure(group.spread)}`,
  baseline: (group) => `baseline ${figure(group.baseline)}`,
  rubric: (group) => `rubric ${figure(group.rubric)}`,
  stale: (group) => `staleness ${figure(group.stale, 0)}`,
  verdict: (group) => (group.verdict === null ? "no verdict" : data.outcomes[group.verdict].replaceAll("_", " ")),
  leak: (group) => (group.leak === 1 ? "1 leak" : `${group.leak} leaks`),
};
