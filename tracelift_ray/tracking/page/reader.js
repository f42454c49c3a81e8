// The reader of traces: draws the rows that are visible, moves between them, and shows the chosen group.

const ROW = 46;
const groups = [];
const ofProblem = new Map();
let shown = [];
let chosen = 0;

function filter() {
  shown = filtered(groups);
  const traces = shown.reduce((sum, group) => sum + group.traces.length, 0);
  const left = data.total > groups.length ? `; the page holds ${groups.length} of ${data.total}, evenly over the run` : "";
  byId("count").textContent =
    `${shown.length} of ${groups.length} groups, ${traces} traces${left}. / searches, arrow keys move.`;
  byId("list").scrollTop = 0;
  choose(0);
}

function drawRow(index) {
  const group = shown[index];
  const reason = REASONS[byId("sort").value];
  const row = element("div",
    { class: "row", role: "option", id: `row-${index}`, "aria-selected": String(index === chosen) },
    element("div", {}, `${data.runs.length > 1 ? `run ${group.run + 1}  ` : ""}step ${group.step}` + // the end may be cut
      `  reward ${signed(group.reward)}  uplift ${signed(group.uplift)}  success ${figure(group.success)}`),
    element("div", { class: "quiet" }, reason ? element("b", {}, `${reason(group)}  `) : null, group.statement));
  row.style.top = `${index * ROW}px`;
  row.addEventListener("click", () => choose(index));
  return row;
}

function drawRows() {
  const list = byId("list");
  const rows = byId("rows");
  rows.style.height = `${shown.length * ROW}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const drawn = [];
  for (let index = first; index < last; index++) drawn.push(drawRow(index));
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

function fillForm() {
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
}

function listen() {
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
}

async function start() {
  if (!("DecompressionStream" in window)) {
    byId("count").textContent = "The reader needs a newer browser: Chrome 80, Firefox 113, Safari 16.4 or later.";
    return;
  }
  await readData((share) => { byId("count").textContent = `Reading the traces: ${Math.round(100 * share)} %`; });
  for (const [number, row] of data.groups.entries()) {
    const group = readGroup(row);
    groups.push(group);
    if (!ofProblem.has(group.key)) ofProblem.set(group.key, []);
    ofProblem.get(group.key).push(group);
    if (number % 500 === 499) await new Promise((done) => { setTimeout(done); }); // the page can be scrolled meanwhile
  }
  fillForm();
  listen();
  filter();
}

start();
