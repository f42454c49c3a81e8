// What the page holds of its runs: unpacks it, and makes groups, traces and verdicts of it.
// Each line of the data is JSON, compressed and in base64: first all figures, then the texts, part by part.
"use strict";

const byId = (id) => document.getElementById(id);
const data = { texts: [], lowered: [] };
const text = (number) => (number < 0 ? null : data.texts[number]);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const largest = (values) => (values.length ? Math.max(...values) : null);
const known = (values) => values.filter((value) => value !== null);
const figure = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const signed = (value) => (value === null ? "–" : (value > 0 ? "+" : "") + value.toFixed(2));

async function unpacked(line) {
  const packed = atob(line);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

async function readData(progress) { // part by part, so that the page can be scrolled meanwhile
  const lines = byId("data").textContent.split("\n");
  Object.assign(data, await unpacked(lines[0]));
  for (let number = 1; number < lines.length; number++) {
    for (const each of await unpacked(lines[number])) {
      data.texts.push(each);
      data.lowered.push(each.toLowerCase()); // what is searched
    }
    progress(number / lines.length);
  }
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

function commonest(traces) { // the verdict that most answers have, as its place in the order; of several the last
  const counts = data.outcomes.map(() => 0);
  for (const trace of traces) for (const each of trace.all) counts[data.outcomes.indexOf(each.outcome)] += 1;
  const most = Math.max(...counts);
  return most ? counts.lastIndexOf(most) : null;
}

function readGroup(row) {
  const [run, step, serial, problem, task, statement, baseline, successes, samples, traces, without] = row;
  const read = traces.map((trace) => readTrace(trace, data.dimensions[task] || []));
  const rewards = known(read.map((trace) => trace.reward));
  const artifacts = [...without, ...traces.flatMap((trace) => [...trace[10], ...(trace[11] ? [trace[11]] : [])])];
  return {
    run, step, serial, problem: text(problem), task, statement: text(statement), baseline, successes, samples,
    key: `${problem} ${statement}`, // each text has one number in all runs
    searched: [problem, statement, ...traces.map((trace) => trace[0]), ...artifacts.map((verdict) => verdict[1])],
    traces: read,
    without: without.map(readVerdict), // the executor's answers without a trace; none where they were not kept
    reward: mean(rewards),
    spread: rewards.length ? Math.max(...rewards) - Math.min(...rewards) : null,
    uplift: mean(known(read.map((trace) => trace.uplift))),
    success: mean(known(read.map((trace) => trace.success))),
    rubric: null, // of the dimension that is chosen; see filter
    stale: largest(known(read.map((trace) => trace.stale))),
    verdict: commonest(read),
    leak: read.filter((trace) => trace.leaked).length,
  };
}
