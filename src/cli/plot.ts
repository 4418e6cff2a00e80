import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import { renderFigure, stopDrawing } from '../kernel/static-figure.js';
import { latencyFigure } from '../lab/chapters.js';
import { lossCurve } from '../lab/figures/curves.js';
import type { Figure } from '../lab/figures/figure.js';
import {
  abilitiesFromRecords, barsFromRecords, curveFromRecords, differencesFromRecords, lossesFromRecords, paretoFromRecords, queryMapsFromRecords, radarFromRecords, samplesFromRecords,
} from '../lab/figures/from-records.js';
import { renderPage } from '../lab/page.js';
import { readRecords } from '../lab/records.js';
import { readReferenceCurves, referenceOf } from '../train/reference-curves.js';
import { readEvents } from '../train/run-folder.js';
import { UsageError, type Arguments, type Command } from './command.js';

const kinds = ['curve', 'bars', 'pareto', 'differences', 'radar', 'abilities', 'latency', 'loss', 'samples', 'query-maps'] as const;
const extensions = ['.png', '.svg', '.json', '.html'];

const command: Command = {
  name: 'plot',
  summary: 'Draws a figure from the records of a sweep, or the losses of a run folder; the interactive and the static one are the same.',
  usage: `${kinds.join('|')} --out FILE.{png,svg,json,html} [--records FILE | --run DIR]`,
  options: {
    records: { type: 'string', multiple: true, help: 'results.jsonl of a sweep (repeatable)' },
    run: { type: 'string', help: 'run folder of a stage, for its own loss; --metric loss is drawn on the band of nano\'s reference curve where there is one' },
    seed: { type: 'string', help: 'seed whose samples or query-maps are shown; the smallest by default' },
    out: { type: 'string', help: 'picture (png, svg), plotly figure (json) or page (html)' },
    metric: { type: 'string', multiple: true, help: 'metric to draw; several for radar, "x then y" for pareto; lm or diffusion for the losses of records' },
    x: { type: 'string', help: 'setting along the horizontal axis' },
    by: { type: 'string', help: 'setting that makes curves, groups, points or polygons' },
    against: { type: 'string', help: 'value of --by that differences are taken to' },
    where: { type: 'string', multiple: true, help: 'SETTING=VALUE: only these trials' },
    protocol: { type: 'string', multiple: true, help: 'FIELD=VALUE: only numbers measured so, such as matcher=vlmevalkit' },
    title: { type: 'string', help: 'title of the figure' },
  },
  async run(args) {
    const [kind, ...more] = args.positionals;
    if (!kinds.includes(kind as (typeof kinds)[number]) || more.length) throw new UsageError(`plot takes one kind of ${kinds.join(', ')}, found "${args.positionals.join(' ')}".`);
    const out = text(args, 'out');
    if (!extensions.includes(extname(out))) throw new UsageError(`--out: expected a file that ends in ${extensions.join(', ')}, found "${out}".`);
    const figure = figureOf(kind as (typeof kinds)[number], args);
    mkdirSync(dirname(out), { recursive: true });
    await writeFigure(figure, out);
    console.log(out);
  },
};

function figureOf(kind: (typeof kinds)[number], args: Arguments): Figure {
  if (kind === 'loss' && !args.values.records) return lossFigure(args);
  if (kind === 'latency' && !args.values.records) return latencyFigure();
  const records = list(args, 'records').flatMap(readRecords);
  if (records.length === 0) throw new UsageError(`plot ${kind} needs --records FILE with at least one record.`);
  const metrics = list(args, 'metric');
  const selection = { where: pairs(args, 'where'), protocol: pairs(args, 'protocol') as Record<string, string>, ...(title(args) ? { title: title(args) } : {}) };
  const by = typeof args.values.by === 'string' ? { by: args.values.by } : {};
  const seed = typeof args.values.seed === 'string' ? { seed: wholeNumber('--seed', args.values.seed) } : {};
  const metric = () => {
    if (metrics.length !== 1) throw new UsageError(`plot ${kind} takes one --metric, found ${metrics.length}.`);
    return metrics[0];
  };
  switch (kind) {
    case 'curve':
      return curveFromRecords(records, { metric: metric(), x: text(args, 'x'), ...by, ...selection });
    case 'loss':
      return lossesFromRecords(records, { loss: metric(), by: text(args, 'by'), ...selection });
    case 'abilities':
      return abilitiesFromRecords(records, { by: text(args, 'by'), ...selection });
    case 'samples':
      return samplesFromRecords(records, { by: text(args, 'by'), ...(metrics.length ? { metric: metric() } : {}), ...seed, ...selection });
    case 'query-maps':
      return queryMapsFromRecords(records, { ...seed, ...selection });
    case 'latency':
      return curveFromRecords(records, { title: 'Seconds per picture', metric: 'seconds-per-picture', x: 'steps', by: 'model', ...by, ...selection });
    case 'bars':
      return barsFromRecords(records, { metric: metric(), x: text(args, 'x'), ...by, ...selection });
    case 'pareto':
      if (metrics.length !== 2) throw new UsageError(`plot pareto takes two --metric, x then y, found ${metrics.length}.`);
      return paretoFromRecords(records, { x: metrics[0], y: metrics[1], by: text(args, 'by'), ...selection });
    case 'differences':
      return differencesFromRecords(records, { metric: metric(), by: text(args, 'by'), against: text(args, 'against'), ...selection });
    case 'radar':
      if (metrics.length < 3) throw new UsageError(`plot radar takes three --metric at least, found ${metrics.length}.`);
      return radarFromRecords(records, { metrics, by: text(args, 'by'), ...selection });
  }
}

/** The numbers of a run by step: its losses, or those that --metric names, which may be of its evaluations. The whole loss is drawn on the band of its reference. */
function lossFigure(args: Arguments): Figure {
  const run = text(args, 'run');
  const events = readEvents(run).filter(({ type }) => type === 'step' || type === 'evaluation');
  const metrics = list(args, 'metric');
  const series = (metrics.length > 0 ? metrics : ['lm', 'diffusion']).map((name) => {
    const logged = events.filter((event) => typeof event[name] === 'number');
    return { name, steps: logged.map(({ step }) => step!), values: logged.map((event) => event[name] as number) };
  });
  const absent = metrics.find((_, i) => series[i].values.length === 0);
  if (absent) throw new UsageError(`${run} logged no "${absent}". There are ${[...new Set(events.flatMap((event) => Object.keys(event)))].filter((key) => !['type', 'time', 'step'].includes(key)).join(', ')}.`);
  const reference = metrics.includes('loss') ? referenceOf(run, readReferenceCurves()) : undefined;
  const band = reference && { name: 'reference, with its band', x: reference.steps.map((step) => step + reference.width / 2), y: reference.loss, low: reference.low, high: reference.high };
  return lossCurve(title(args) ?? 'Losses', series.filter(({ values }) => metrics.length > 0 || values.some((value) => value > 0)), { band });
}

async function writeFigure(figure: Figure, out: string): Promise<void> {
  const kind = extname(out);
  if (kind === '.json') return writeFileSync(out, `${JSON.stringify(figure, null, 1)}\n`);
  if (kind === '.html') return writeFileSync(out, renderPage({ title: titleText(figure), sections: [{ title: '', blocks: [{ kind: 'figure', figure, height: 480 }] }] }));
  try {
    writeFileSync(out, kind === '.png' ? await renderFigure(figure, { format: 'png' }) : await renderFigure(figure, { format: 'svg' }));
  } finally {
    await stopDrawing();
  }
}

function wholeNumber(name: string, value: string): number {
  if (!/^\d+$/.test(value)) throw new UsageError(`${name}: expected a whole number, found "${value}".`);
  return Number(value);
}

const titleText = (figure: Figure) => String((figure.layout.title as { text?: string } | undefined)?.text ?? 'Figure').replace(/<br>/g, ', ').replace(/<[^>]+>/g, '');
const title = ({ values }: Arguments) => (typeof values.title === 'string' ? values.title : undefined);
const list = ({ values }: Arguments, name: string) => (values[name] as string[] | undefined) ?? [];

function text({ values }: Arguments, name: string): string {
  const value = values[name];
  if (typeof value !== 'string') throw new UsageError(`This plot needs --${name}. See dreamllm plot --help.`);
  return value;
}

const pairs = (args: Arguments, name: string): Record<string, string> =>
  Object.fromEntries(
    list(args, name).map((each) => {
      const at = each.indexOf('=');
      if (at < 1) throw new UsageError(`--${name}: expected KEY=VALUE, found "${each}".`);
      return [each.slice(0, at), each.slice(at + 1)];
    }),
  );

export default command;
