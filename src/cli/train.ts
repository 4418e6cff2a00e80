import { useBackend } from '../core/backend.js';
import type { DatasetFiles } from '../data/formats/datasets.js';
import { preset, presetNames } from '../dreamllm/presets.js';
import { describeEstimate, peakMemory, stageSizes } from '../train/estimate.js';
import { parseDataOption, type FileReading } from '../train/sources.js';
import { override, stageSettings, type StageSettings } from '../train/overrides.js';
import { duration, progress } from '../train/progress.js';
import { nano, paper, released, stageNames, stagesTable, stepsOf, type StageName, type StageSet } from '../train/stages.js';
import { estimateStage, trainStage, type TrainStageOptions } from '../train/train-stage.js';
import { UsageError, type Arguments, type Command } from './command.js';
import { malformedPolicy } from './malformed.js';

/** The settings that a preset is trained with, unless `--recipe` says otherwise. */
const recipes: Record<string, StageSet> = { paper, released, nano };

const command: Command = {
  name: 'train',
  summary: 'Trains one stage. Its last state is DIR/checkpoints/final.',
  usage: 'STAGE --preset P --out DIR [--parent DIR]… [--resume] [--set key=value]…   |   train --table',
  options: {
    preset: { type: 'string', help: `the model: ${presetNames.join(', ')} (default nano)` },
    out: { type: 'string', help: 'the run folder' },
    parent: { type: 'string', multiple: true, help: 'a finished stage to start from (repeatable)' },
    foundation: { type: 'string', help: 'folder of the foundation (default: data/foundation for nano, none for micro)' },
    resume: { type: 'boolean', help: 'go on with an interrupted run' },
    recipe: { type: 'string', help: `settings to start from: ${Object.keys(recipes).join(', ')} (default nano)` },
    set: { type: 'string', multiple: true, help: 'change a setting: steps=100, checkpointEvery=10, seed=1, lossWeights.diffusion=5, … (repeatable)' },
    data: { type: 'string', multiple: true, help: 'NAME=FORMAT:FILE[:IMAGES]: train on files; NAME is mixed by data.NAME of the settings, 1 if the recipe has none (repeatable)' },
    'skip-up-to': { type: 'string', help: 'share of malformed records of --data that may be skipped, such as 0.01; none by default' },
    shuffle: { type: 'string', help: 'shuffle each pass through --data in a buffer of so many records, such as 1000; in the order of the files by default' },
    shard: { type: 'string', help: 'I/N: train on the I-th of N equal parts of the records of --data alone' },
    'held-out': { type: 'string', multiple: true, help: 'NAME=FORMAT:FILE[:IMAGES]: files to validate on (default: the emoji world, and nothing with --data) (repeatable)' },
    'dry-run': { type: 'boolean', help: 'say what time and memory it would take, and stop; also of a model too large for this machine' },
    table: { type: 'boolean', help: 'show where the recipes differ, and stop' },
    json: { type: 'boolean', help: 'print the result as JSON' },
  },
  async run({ positionals, values }, signal) {
    if (values.table) {
      printTable(stagesTable(recipes));
      return;
    }
    const [name, ...rest] = positionals;
    if (!name || rest.length > 0) throw new UsageError(`Expected one stage, found ${positionals.length}. There are ${stageNames.join(', ')}.`);
    if (!stageNames.includes(name as StageName)) throw new UsageError(`Unknown stage "${name}". There are ${stageNames.join(', ')}.`);
    const presetName = (values.preset as string | undefined) ?? 'nano';
    if (!presetNames.some((known) => known === presetName)) throw new UsageError(`Unknown preset "${presetName}". There are ${presetNames.join(', ')}.`);
    const out = values.out as string | undefined;
    if (!out && !values['dry-run']) throw new UsageError('--out DIR is missing: the folder that the run is written to.');
    const files = filesOf((values.data as string[] | undefined) ?? []);
    const heldOut = filesOf((values['held-out'] as string[] | undefined) ?? []);
    const reading = readingOf(values);
    if (!files && Object.keys(reading).length > 0) throw new UsageError('--skip-up-to, --shuffle and --shard say how --data is read, and there is no --data.');
    const settings = settingsOf(name as StageName, presetName, values.recipe as string | undefined, (values.set as string[] | undefined) ?? [], files);

    const options = {
      preset: presetName,
      settings,
      parents: values.parent as string[] | undefined,
      foundation: values.foundation as string | undefined,
      files,
      ...(files ? { reading } : {}),
      ...(heldOut ? { heldOut } : {}),
    };
    if (values['dry-run']) return dryRun(options, values.json === true);

    const { engine, threads } = await useBackend();
    const start = performance.now();
    const bar = progress(name, stepsOf(settings));
    bar.say(`Computing on ${engine}, ${threads} threads.`);
    const { params: _, artefact } = await trainStage({ ...options, out: out!, resume: values.resume === true, estimate: true, signal, progress: bar });
    const result = { stage: name, hash: artefact.hash, parents: artefact.parents, seconds: Math.round((performance.now() - start) / 1000) };
    console.log(values.json ? JSON.stringify(result) : `${name} is done after ${duration(result.seconds)}: ${out}/checkpoints/final (sha256 ${artefact.hash.slice(0, 12)}…)`);
  },
};

/** Prints the estimate. A model without weights here is known by its sizes alone. */
async function dryRun(options: Omit<TrainStageOptions, 'out'>, json: boolean): Promise<void> {
  const { preset: name, settings } = options;
  const isHere = name === 'nano' || name === 'micro';
  if (isHere) await useBackend();
  const { sizes, probed } = isHere ? await estimateStage(options) : { sizes: stageSizes({ ...preset(name), maxTokens: settings.maxTokens }, settings), probed: undefined };
  console.log(json ? JSON.stringify({ ...sizes, ...probed, ...(probed ? { peakBytes: peakMemory(sizes, probed) } : {}) }) : describeEstimate(settings, sizes, probed));
}

function settingsOf(
  name: StageName, preset: string, recipe: string | undefined, assignments: readonly string[], files: Readonly<Record<string, DatasetFiles>> | undefined,
): StageSettings {
  const set = recipes[recipe ?? 'nano'];
  if (!set) throw new UsageError(`Unknown recipe "${recipe}". There are ${Object.keys(recipes).join(', ')}.`);
  // Micro has room for few tokens.
  const fitted = preset === 'micro' ? { ...set[name], maxTokens: 128, microBatchSize: 4 } : set[name];
  // Files take the places of what the recipe mixes; a name that it does not know starts with weight 1.
  const base = files ? { ...fitted, data: Object.fromEntries(Object.keys(files).map((each) => [each, fitted.data[each] ?? 1])) } : fitted;
  try {
    return override(stageSettings(base), assignments);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function filesOf(texts: readonly string[]): Record<string, DatasetFiles> | undefined {
  try {
    return texts.length > 0 ? Object.fromEntries(texts.map(parseDataOption)) : undefined;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function readingOf(values: Arguments['values']): FileReading {
  const malformed = malformedPolicy(values);
  const { shuffle, shard } = values as { shuffle?: string; shard?: string };
  if (shuffle !== undefined && !/^[1-9]\d*$/.test(shuffle)) throw new UsageError(`--shuffle: expected a number of records, such as 1000, found "${shuffle}".`);
  const [part, count] = (/^(\d+)\/(\d+)$/.exec(shard ?? '')?.slice(1) ?? []).map(Number);
  if (shard !== undefined && !(part >= 1 && part <= count)) throw new UsageError(`--shard: expected I/N with I from 1 to N, such as 1/4, found "${shard}".`);
  return {
    ...(malformed === 'stop' ? {} : { malformed }),
    ...(shuffle === undefined ? {} : { shuffle: Number(shuffle) }),
    ...(shard === undefined ? {} : { shard: { index: part - 1, count } }),
  };
}

function printTable(rows: readonly Record<string, string>[]): void {
  const columns = Object.keys(rows[0] ?? {});
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => row[column].length)));
  const line = (cells: readonly string[]) => cells.map((cell, i) => cell.padEnd(widths[i])).join('  ').trimEnd();
  console.log(line(columns));
  for (const row of rows) console.log(line(columns.map((column) => row[column])));
}

export default command;
