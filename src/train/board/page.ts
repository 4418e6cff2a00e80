/** The board's page. It asks its server for new lines of the logs every two seconds and draws them with plotly. */
export const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>dreamllm board</title>
<link rel="icon" href="data:,">
<style>
  * { box-sizing: border-box; }
  body { margin: 0; font: 14px/1.4 system-ui, sans-serif; color: #222; display: grid; grid-template-columns: 320px minmax(0, 1fr); }
  aside { overflow: auto; position: sticky; top: 0; height: 100vh; border-right: 1px solid #ddd; padding: 12px; background: #fafafa; }
  main { padding: 12px 20px 40px; }
  h1 { font-size: 15px; margin: 0 0 8px; }
  h2 { font-size: 14px; margin: 20px 0 6px; }
  #filter { width: 100%; padding: 5px 8px; border: 1px solid #ccc; border-radius: 4px; font: inherit; margin-bottom: 8px; }
  label.run { display: grid; grid-template-columns: auto 10px 1fr; gap: 2px 7px; align-items: center; padding: 6px; border-radius: 6px; cursor: pointer; }
  label.run:hover { background: #eee; }
  .run b { font-weight: 500; overflow-wrap: anywhere; }
  .run i, td i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; }
  .run small, .run progress { grid-column: 3; color: #666; }
  .run input { margin: 0; }
  progress { width: 100%; height: 5px; appearance: none; border: 0; background: #e2e2e2; border-radius: 3px; overflow: hidden; }
  progress::-webkit-progress-bar { background: #e2e2e2; }
  progress::-webkit-progress-value { background: #0072b2; }
  progress::-moz-progress-bar { background: #0072b2; }
  .controls { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; margin: 0; }
  .controls label { display: flex; gap: 6px; align-items: center; }
  select { font: inherit; padding: 2px 4px; }
  #chart { height: 46vh; min-height: 300px; }
  #speed { height: 190px; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  td, th { text-align: left; padding: 3px 18px 3px 0; border-bottom: 1px solid #eee; vertical-align: top; max-width: 340px; overflow-wrap: anywhere; font-weight: 400; }
  th { color: #666; white-space: nowrap; }
  tr.head td { font-weight: 500; }
  figure { margin: 0 0 16px; }
  figcaption { color: #666; margin-bottom: 4px; }
  figure img { max-width: 100%; border: 1px solid #ddd; display: block; }
  .none { color: #777; }
  #state { color: #a00; }
  @media (max-width: 800px) { body { display: block; } aside { position: static; height: auto; border-right: 0; border-bottom: 1px solid #ddd; max-height: 40vh; } }
</style>
<aside>
  <h1>Runs</h1>
  <input id="filter" type="search" placeholder="filter by name" aria-label="Filter runs by name">
  <div id="state" role="status"></div>
  <div id="runs"></div>
</aside>
<main>
  <div class="controls">
    <label>Show <select id="metric"></select></label>
    <label>over <select id="axis"><option value="step">steps</option><option value="hours">hours of training</option></select></label>
    <label>Smoothing <input id="smoothing" type="range" min="0" max="0.98" step="0.02" value="0.8"></label>
    <label><input id="log" type="checkbox"> logarithmic</label>
  </div>
  <div id="chart"></div>
  <h2>Throughput</h2>
  <div id="speed"></div>
  <h2>Comparison</h2>
  <div id="comparison"></div>
  <h2>Samples</h2>
  <div class="controls"><label>Up to <select id="sample"></select></label></div>
  <div id="samples"></div>
  <h2>Attention of the dream queries</h2>
  <div id="attention"></div>
</main>
<script>
const token = new URLSearchParams(location.search).get('token');
const api = (path, query = {}) => path + '?' + new URLSearchParams({ token, ...query });
const ask = async (path, query) => {
  const answer = await fetch(api(path, query));
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};
const script = document.createElement('script');
script.src = api('/plotly.js');
script.onload = tick;
document.head.append(script);

const colours = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000'];
const logs = new Map(); // run -> { next, events, settings, reference, pictures }
const chosen = new Set();
let known = [];
let isFirst = true;
const element = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
/** A run keeps the colour that it had first, whatever runs come later. */
const given = new Map();
const colourOf = (name) => {
  if (!given.has(name)) given.set(name, colours[given.size % colours.length]);
  return given.get(name);
};

async function tick() {
  try {
    known = await ask('/runs');
    if (isFirst && known.length > 0) chosen.add([...known].sort((a, b) => b.lastEvent - a.lastEvent)[0].name);
    isFirst &&= known.length === 0;
    for (const name of [...chosen]) if (!known.some((run) => run.name === name)) chosen.delete(name);
    for (const name of chosen) await follow(name);
    showAll();
    element('state').textContent = known.length === 0 ? 'No run has begun here yet.' : '';
  } catch (error) {
    element('state').textContent = 'The server does not answer: ' + error.message;
  }
  setTimeout(tick, 2000);
}

async function follow(name) {
  const log = logs.get(name) ?? { next: 0, events: [], ...(await ask('/run', { run: name })), pictures: [] };
  const { text, next } = await ask('/events', { run: name, from: log.next });
  if (next < log.next) log.events = [];
  for (const line of text.split('\\n')) {
    if (!line) continue;
    const event = JSON.parse(line);
    if (event.type === 'resume') log.events = log.events.filter(({ step }) => step === undefined || step < event.step);
    log.events.push(event);
  }
  if (log.reference && next > log.next) Object.assign(log, await ask('/run', { run: name }));
  log.next = next;
  log.pictures = await ask('/samples', { run: name });
  logs.set(name, log);
}

function showAll() {
  showRuns();
  showChart();
  showComparison();
  showPictures();
}

const time = (s) => s < 90 ? Math.round(s) + ' s' : s < 5400 ? Math.round(s / 60) + ' min' : (s / 3600).toFixed(1) + ' h';
const short = (value) => typeof value !== 'number' ? String(value) : Number.isInteger(value) ? String(value) : Number(value.toPrecision(4)).toString();
const stateOf = (run) => run.state === 'running' ? (run.secondsLeft === undefined ? 'no step yet' : time(run.secondsLeft) + ' left') : run.state;

let listed = '';
function showRuns() {
  const filter = element('filter').value.toLowerCase();
  const shown = known.filter(({ name }) => name.toLowerCase().includes(filter));
  const now = JSON.stringify([shown, [...chosen]]);
  if (now === listed) return;
  listed = now;
  element('runs').replaceChildren(...shown.map((run) => {
    const box = make('input', { type: 'checkbox', checked: chosen.has(run.name) });
    box.onchange = async () => {
      if (box.checked) { chosen.add(run.name); await follow(run.name); } else chosen.delete(run.name);
      showAll();
    };
    const parts = [run.steps ? run.step + ' of ' + run.steps + ' steps' : run.step + ' steps'];
    if (run.loss !== undefined) parts.push('loss ' + short(run.loss));
    if (run.samplesPerSecond !== undefined && run.state === 'running') parts.push(short(run.samplesPerSecond) + ' samples/s');
    parts.push(stateOf(run));
    const mark = make('i');
    mark.style.background = chosen.has(run.name) ? colourOf(run.name) : 'transparent';
    return make('label', { className: 'run' }, box, mark, make('b', { textContent: run.name }),
      make('small', { textContent: parts.join(' · ') }), make('progress', { max: run.steps || 1, value: run.step, ariaLabel: 'Progress of ' + run.name }));
  }));
}

const isPoint = ({ type }) => type === 'step' || type === 'evaluation';
function names(events) {
  const found = new Set();
  for (const { type, time, step, ...fields } of events) if (isPoint({ type })) for (const [name, value] of Object.entries(fields)) if (typeof value === 'number') found.add(name);
  return found;
}

function fill(select, values, labels = values) {
  const before = select.value;
  if (values.join() === [...select.options].map((option) => option.value).join()) return;
  select.replaceChildren(...values.map((value, i) => new Option(labels[i], value)));
  if (values.includes(before)) select.value = before;
}

/** Hours of training at each event: the time of steps alone, so that a pause does not stretch the axis. */
function hours(events) {
  let ms = 0;
  return new Map(events.map((event) => [event, (ms += event.type === 'step' ? event.ms ?? 0 : 0) / 3.6e6]));
}

function traceOf(name, metric, keep) {
  const events = logs.get(name)?.events ?? [];
  const points = events.filter((event) => isPoint(event) && typeof event[metric] === 'number');
  const at = element('axis').value === 'hours' ? hours(events) : undefined;
  const isNoisy = points.length > 0 && points[0].type === 'step'; // an evaluation always sees the same
  let [mean, weight] = [0, 0];
  const raw = points.map((event) => event[metric]);
  const y = raw.map((value) => {
    mean = keep * mean + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return mean / weight;
  });
  const x = points.map((event) => at ? at.get(event) : event.step);
  const color = colourOf(name);
  const line = { name, x, y: isNoisy ? y : raw, mode: points.length < 30 ? 'lines+markers' : 'lines', line: { color, width: 2 }, marker: { color, size: 6 } };
  return isNoisy && keep > 0 ? [{ x, y: raw, mode: 'lines', line: { color, width: 1 }, opacity: 0.25, hoverinfo: 'skip', showlegend: false }, line] : [line];
}

/** What the loss of a run is expected to be, as a band. */
function bandOf(name) {
  const { reference } = logs.get(name) ?? {};
  if (!reference || element('metric').value !== 'loss' || element('axis').value !== 'step') return [];
  const { low, high, loss, width } = reference;
  const steps = reference.steps.map((step) => step + width / 2);
  return [
    { x: [...steps, ...[...steps].reverse()], y: [...high, ...[...low].reverse()], fill: 'toself', fillcolor: 'rgba(120,120,120,0.18)', line: { width: 0 }, mode: 'lines', hoverinfo: 'skip', name: 'reference band', showlegend: true },
    { x: steps, y: loss, mode: 'lines', line: { color: '#777', width: 1, dash: 'dot' }, name: 'reference', showlegend: false },
  ];
}

const looks = {
  font: { family: 'system-ui, sans-serif', size: 12, color: '#222' }, hovermode: 'x unified', showlegend: true,
  legend: { orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom' },
};
function axisOf(title, more = {}) {
  return { title: { text: title, standoff: 8 }, gridcolor: '#e8e8e8', zerolinecolor: '#ccc', automargin: true, ...more };
}

let hasPreferred = false;
function showChart() {
  const all = new Set();
  for (const name of chosen) for (const metric of names(logs.get(name)?.events ?? [])) all.add(metric);
  fill(element('metric'), [...all]);
  if (!hasPreferred && all.has('loss')) { element('metric').value = 'loss'; hasPreferred = true; }
  const metric = element('metric').value;
  const keep = Number(element('smoothing').value);
  const across = element('axis').value === 'hours' ? 'hours of training' : 'step';
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ['select2d', 'lasso2d'] };
  const bands = [...chosen].flatMap(bandOf).slice(0, 2);
  Plotly.react('chart', [...bands, ...[...chosen].flatMap((name) => traceOf(name, metric, keep))], {
    ...looks, margin: { t: 30, r: 10, b: 40, l: 60 }, uirevision: metric + across,
    xaxis: axisOf(across), yaxis: axisOf(metric, { type: element('log').checked ? 'log' : 'linear' }),
  }, options);
  Plotly.react('speed', [...chosen].flatMap((name) => traceOf(name, 'samplesPerSecond', keep)), {
    ...looks, showlegend: false, margin: { t: 8, r: 10, b: 40, l: 60 }, uirevision: across, xaxis: axisOf(across), yaxis: axisOf('samples/s', { rangemode: 'tozero' }),
  }, { ...options, displayModeBar: false });
}

function leaves(value, prefix = '', found = new Map()) {
  if (value && typeof value === 'object' && Object.keys(value).length > 0 && !Array.isArray(value)) for (const [key, child] of Object.entries(value)) leaves(child, prefix ? prefix + '.' + key : key, found);
  else found.set(prefix, Array.isArray(value) ? value.join(', ') : short(value));
  return found;
}

/** How the chosen runs stand, and the settings in which they differ. */
function showComparison() {
  const runs = known.filter(({ name }) => chosen.has(name));
  const last = (name, key) => logs.get(name)?.events.findLast((event) => isPoint(event) && typeof event[key] === 'number')?.[key];
  const mean = (name, key) => {
    const values = (logs.get(name)?.events ?? []).filter((event) => typeof event[key] === 'number').slice(-20).map((event) => event[key]);
    return values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined;
  };
  const spent = (name) => (logs.get(name)?.events ?? []).reduce((sum, { ms = 0 }) => sum + ms, 0) / 1000;
  const rows = [
    ['steps', ({ step, steps }) => steps ? step + ' of ' + steps : step],
    ['time spent', ({ name }) => time(spent(name))],
    ['state', stateOf],
    ['loss, last 20 steps', ({ name }) => mean(name, 'loss')],
    ['validation loss', ({ name }) => last(name, 'valLoss')],
    ['samples/s, last 20 steps', ({ name }) => mean(name, 'samplesPerSecond')],
    ['gradient cosine, all layers', ({ name }) => last(name, 'conflict.layers')],
    ['within the reference band', ({ name }) => { const kept = logs.get(name)?.comparison; return kept && kept.inside + ' of ' + kept.stretches + ' stretches'; }],
  ];
  const settings = new Map(runs.map(({ name }) => [name, leaves(logs.get(name)?.settings ?? {})]));
  const keys = new Set([...settings.values()].flatMap((each) => [...each.keys()]));
  for (const key of keys) {
    const values = runs.map(({ name }) => settings.get(name).get(key));
    if (runs.length > 1 && new Set(values).size > 1) rows.push([key, ({ name }) => settings.get(name).get(key)]);
  }
  const table = make('table', {}, make('tr', { className: 'head' }, make('th'), ...runs.map(({ name }) => {
    const mark = make('i');
    mark.style.background = colourOf(name);
    return make('td', {}, mark, ' ' + name);
  })));
  for (const [title, value] of rows) {
    const cells = runs.map((run) => value(run));
    if (cells.every((cell) => cell === undefined)) continue;
    table.append(make('tr', {}, make('th', { textContent: title }), ...cells.map((cell) => make('td', { textContent: cell === undefined ? '–' : short(cell) }))));
  }
  element('comparison').replaceChildren(runs.length ? table : make('p', { className: 'none', textContent: 'Choose runs on the left.' }));
}

const stepOf = (file) => Number(file.match(/^\\d+/)?.[0] ?? 0);

/** The newest pictures of each chosen run up to the chosen step, side by side with those of the others. */
function showPictures() {
  const steps = [...new Set([...chosen].flatMap((name) => logs.get(name)?.pictures ?? []).map(stepOf))].sort((a, b) => b - a);
  fill(element('sample'), ['latest', ...steps.map(String)], ['the latest', ...steps.map((step) => step + ' steps')]);
  const limit = element('sample').value === 'latest' ? Infinity : Number(element('sample').value);
  for (const [id, belongs] of [['samples', (file) => !file.includes('-attention')], ['attention', (file) => file.includes('-attention')]]) {
    const shown = [...chosen].flatMap((run) => {
      const files = (logs.get(run)?.pictures ?? []).filter((file) => belongs(file) && stepOf(file) <= limit);
      const newest = files.length ? stepOf(files.at(-1)) : undefined;
      return files.filter((file) => stepOf(file) === newest).map((file) => ({ run, file }));
    });
    const box = element(id);
    const now = JSON.stringify(shown);
    if (box.dataset.shown === now) continue;
    box.dataset.shown = now;
    box.replaceChildren(...(shown.length ? shown.map(({ run, file }) => make('figure', {},
      make('figcaption', { textContent: run + ', after ' + stepOf(file) + ' steps' }),
      make('img', { src: api('/sample', { run, name: file }), alt: (id === 'samples' ? 'Samples of ' : 'Attention of the dream queries of ') + run })))
      : [make('p', { className: 'none', textContent: 'The chosen runs drew none yet.' })]));
  }
}

for (const id of ['metric', 'smoothing', 'log', 'axis']) element(id).oninput = showChart;
element('sample').onchange = showPictures;
element('filter').oninput = showRuns;
</script>
</html>
`;
