import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadArtefact } from '../core/checkpoint.js';
import { useBackend } from '../core/backend.js';
import { decodeImage, type RgbImage } from '../core/images.js';
import { packedFormats, type PackedFormat } from '../core/packed.js';
import { loadDream, openDream, type OpenModel } from '../dreamllm/checkpoint.js';
import { readDreamConfig } from '../dreamllm/config.js';
import { preset, presetNames } from '../dreamllm/presets.js';
import { loadTokenizer } from '../text/load.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { tokenizerOf } from '../train/train-stage.js';
import { UsageError, type Arguments, type Option } from './command.js';

/** Options of commands that use a model. */
export const modelOptions: Record<string, Option> = {
  model: { type: 'string', help: 'folder of a finished stage, or of a DreamLLM checkpoint with its config.json' },
  preset: { type: 'string', help: `the stage's preset, where its record does not name it: ${presetNames.join(', ')}` },
  stream: { type: 'boolean', help: 'read the language model from disk in every pass, for models larger than memory (slow)' },
  weights: { type: 'string', help: `keep the language model in fewer bits: ${packedFormats.join(', ')} (default float32)` },
  seed: { type: 'string', help: 'names all random draws (default 0)' },
};

/** Loads the model and tokenizer that the options name. Says on standard error what a person should know. */
export async function openModel({ values }: Arguments, signal: AbortSignal): Promise<{ model: OpenModel; tokenizer: Tokenizer }> {
  if (values.model === undefined) throw new UsageError('Expected --model DIR: the folder of a finished stage or of a checkpoint.');
  const folder = String(values.model);
  if (!existsSync(folder)) throw new UsageError(`--model: ${folder} does not exist.`);
  const note = (line: string) => console.error(line);
  const { engine } = await useBackend();
  note(`Computing on ${engine} in float32.`);
  const onLayer = ({ layer, numLayers, seconds }: { layer: number; numLayers: number; seconds: number }) => {
    if (process.stderr.isTTY) process.stderr.write(`\rlayer ${layer + 1} of ${numLayers}, ${seconds.toFixed(1)} s `);
  };
  const weights = values.weights as PackedFormat | undefined;
  if (weights !== undefined && !packedFormats.includes(weights)) throw new UsageError(`--weights: expected one of ${packedFormats.join(', ')}, found "${weights}".`);
  const options = { note, weights, ...(values.stream ? { stream: { signal, onLayer } } : {}) };

  if (isReleaseFolder(folder)) {
    const { config } = readDreamConfig(folder);
    return { model: loadDream(openDream(folder), config, options), tokenizer: loadTokenizer(folder) };
  }
  const final = join(folder, 'checkpoints', 'final');
  const dir = existsSync(final) ? final : folder;
  const { artefact, source } = loadArtefact(dir);
  const name = values.preset ?? artefact.about.preset;
  if (typeof name !== 'string') {
    source.close();
    throw new UsageError(`${dir} does not say which preset it is of. Pass --preset ${presetNames.join('|')}.`);
  }
  return { model: loadDream(source, preset(name), options), tokenizer: tokenizerOf(name) };
}

function isReleaseFolder(folder: string): boolean {
  const file = join(folder, 'config.json');
  return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { model_type?: string }).model_type === 'dreamllm';
}

/** An option as a number within bounds. */
export function numberOption({ values }: Arguments, name: string, fallback: number, { min = -Infinity, max = Infinity, integer = false } = {}): number {
  const text = values[name];
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text === '' || !(value >= min && value <= max) || (integer && !Number.isInteger(value))) {
    throw new UsageError(`--${name}: expected ${integer ? 'a whole number' : 'a number'}${min > -Infinity ? ` from ${min}` : ''}${max < Infinity ? ` to ${max}` : ''}, found "${text}".`);
  }
  return value;
}

/** A repeatable option as texts. */
export const listOption = ({ values }: Arguments, name: string): string[] => ((values[name] as string[] | undefined) ?? []).map(String);

/** The pictures that a repeatable option names. */
export const imagesOption = (args: Arguments, name: string): Promise<RgbImage[]> => Promise.all(listOption(args, name).map((file) => decodeImage(file)));
