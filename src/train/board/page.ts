/** The board's page. It asks its server for new lines of the logs every two seconds and draws them with plotly. */
export const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>dreamllm board</title>
<style>
  body { margin: 0; font: 14px/1.4 system-ui, sans-serif; display: grid; grid-template-columns: minmax(260px, 24%) 1fr; height: 100vh; }
  aside { overflow: auto; border-right: 1px solid #ddd; padding: 8px; }
  main { overflow: auto; padding: 8px 16px; }
  h1 { font-size: 16px; margin: 4px 0 8px; }
  label.run { display: block; padding: 4px; border-radius: 4px; cursor: pointer; }
  label.run:hover { background: #f2f2f2; }
  .run small { display: block; color: #666; margin-left: 22px; }
  progress { width: 100%; height: 6px; }
  #chart { height: 52vh; }
  #samples img { max-width: 100%; image-rendering: pixelated; border: 1px solid #ddd; }
  #state { color: #a00; }
</style>
<aside><h1>Runs</h1><div id="state" role="status"></div><div id="runs"></div></aside>
<main>
  <p>
    <label>Show <select id="metric"></select></label>
    <label>Smoothing <input id="smoothing" type="range" min="0" max="0.98" step="0.02" value="0.8"></label>
    <label><input id="log" type="checkbox"> logarithmic</label>
  </p>
  <div id="chart"></div>
  <h1>Samples</h1>
  <p><select id="sample"></select></p>
  <div id="samples"></div>
</main>
<script>
const token = new URLSearchParams(location.search).get('token');
const api = (path, query = {}) => path + '?' + new URLSearchParams({ token, ...query });
const script = document.createElement('script');
script.src = api('/plotly.js');
script.onload = tick;
document.head.append(script);

const logs = new Map(); // run -> { next, events }
const chosen = new Set();
let known = [];
const element = (id) => document.getElementById(id);

async function tick() {
  try {
    known = await (await fetch(api('/runs'))).json();
    if (chosen.size === 0 && known.length > 0) chosen.add([...known].sort((a, b) => b.lastEvent - a.lastEvent)[0].name);
    for (const name of chosen) await follow(name);
    showRuns();
    showChart();
    await showSamples();
    element('state').textContent = '';
  } catch (error) {
    element('state').textContent = 'The server does not answer: ' + error.message;
  }
  setTimeout(tick, 2000);
}

async function follow(name) {
  const log = logs.get(name) ?? { next: 0, events: [] };
  const { text, next } = await (await fetch(api('/events', { run: name, from: log.next }))).json();
  if (next < log.next) log.events = [];
  for (const line of text.split('\\n')) {
    if (!line) continue;
    const event = JSON.parse(line);
    if (event.type === 'resume') log.events = log.events.filter(({ step }) => step === undefined || step < event.step);
    log.events.push(event);
  }
  log.next = next;
  logs.set(name, log);
}

const time = (s) => s < 90 ? s + ' s' : s < 5400 ? Math.round(s / 60) + ' min' : (s / 3600).toFixed(1) + ' h';

function showRuns() {
  element('runs').replaceChildren(...known.map((run) => {
    const label = document.createElement('label');
    label.className = 'run';
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: chosen.has(run.name) });
    box.onchange = async () => {
      if (box.checked) { chosen.add(run.name); await follow(run.name); } else chosen.delete(run.name);
      showChart();
      await showSamples();
    };
    const small = document.createElement('small');
    const parts = [run.steps ? run.step + ' of ' + run.steps + ' steps' : run.step + ' steps'];
    if (run.loss !== undefined) parts.push('loss ' + run.loss.toPrecision(4));
    if (run.samplesPerSecond !== undefined) parts.push(run.samplesPerSecond + ' samples/s');
    parts.push(run.isFinished ? 'finished' : run.secondsLeft !== undefined ? time(run.secondsLeft) + ' left' : 'no step yet');
    small.textContent = parts.join(', ');
    const bar = Object.assign(document.createElement('progress'), { max: run.steps || 1, value: run.step });
    label.append(box, ' ' + run.name, small, bar);
    return label;
  }));
}

const names = (events) => {
  const found = new Set();
  for (const { type, ...fields } of events) {
    if (type !== 'step' && type !== 'evaluation') continue;
    for (const [name, value] of Object.entries(fields)) if (typeof value === 'number' && name !== 'time' && name !== 'step') found.add(name);
  }
  return found;
};

function fill(select, values) {
  const before = select.value;
  if (values.join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...values.map((value) => new Option(value, value)));
    if (values.includes(before)) select.value = before;
  }
}

function showChart() {
  const all = new Set();
  for (const name of chosen) for (const metric of names(logs.get(name)?.events ?? [])) all.add(metric);
  fill(element('metric'), [...all]);
  const metric = element('metric').value;
  const keep = Number(element('smoothing').value);
  const traces = [...chosen].map((name) => {
    const points = (logs.get(name)?.events ?? []).filter((event) => (event.type === 'step' || event.type === 'evaluation') && typeof event[metric] === 'number');
    let mean = 0;
    let weight = 0;
    const y = points.map((event) => {
      mean = keep * mean + (1 - keep) * event[metric];
      weight = keep * weight + (1 - keep);
      return mean / weight;
    });
    return { name, x: points.map(({ step }) => step), y, mode: points.length < 30 ? 'lines+markers' : 'lines' };
  });
  Plotly.react('chart', traces, {
    margin: { t: 10, r: 10 }, xaxis: { title: { text: 'step' } }, showlegend: true, uirevision: metric,
    yaxis: { title: { text: metric }, type: element('log').checked ? 'log' : 'linear' },
  }, { responsive: true, displaylogo: false });
}

async function showSamples() {
  const lists = await Promise.all([...chosen].map(async (run) => (await (await fetch(api('/samples', { run }))).json()).map((name) => run + ' · ' + name)));
  const values = lists.flat().reverse();
  fill(element('sample'), values);
  const value = element('sample').value;
  const box = element('samples');
  if (box.dataset.shown === value) return;
  box.dataset.shown = value;
  const [run, name] = value.split(' · ');
  box.replaceChildren(...(value ? [Object.assign(new Image(), { src: api('/sample', { run, name }), alt: 'Samples of ' + value })] : []));
}

for (const id of ['metric', 'smoothing', 'log']) element(id).oninput = showChart;
element('sample').onchange = showSamples;
</script>
</html>
`;
