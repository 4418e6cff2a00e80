import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { hashFile, loadArtefact, loadParams, merged, openCheckpoint, type Artefact } from '../core/checkpoint.js';
import { covers, flatten, initialize, initialValues, specEntries } from '../core/params.js';
import { asFloat32, type StoredTensor, type TensorSource } from '../core/safetensors.js';
import type { DreamConfig } from '../dreamllm/config.js';
import { dreamSpec, type DreamParams } from '../dreamllm/model.js';
import { sha256 } from './files.js';
import type { Stage } from './stages.js';
import { conditionProjector, dreamQueries, visualProjector } from './stages.js';

/** What a stage starts from, and the hashes that say so. The caller disposes the parameters. */
export interface Start {
  params: DreamParams;
  /** Hashes of the foundation (or the name of a seed) and of the parent stages. */
  parents: string[];
}

export interface StartOptions {
  config: DreamConfig;
  /** Folder of the foundation; without one the model starts from random weights. */
  foundation?: string;
  /** Folders of the finished parent stages: a run, or its `checkpoints/final`. */
  parents: readonly string[];
}

const foundationFiles = ['lm', 'clip', 'vae', 'unet'] as const;
const addedParts = [visualProjector, dreamQueries, conditionProjector];
/** Tables with a row a token: the foundation has none for the tokens that DreamLLM adds. */
const tokenTables = ['model.embed_tokens.weight', 'lm_head.weight'];

/**
 * The parameters that `stage` starts from. Stage I: the foundation, with seeded random projectors, queries and rows of new tokens. Later stages: their
 * parents, each giving what it trained. Parents must be the stages that this one names, finished, of the same model and the same foundation.
 */
export function startStage(stage: Stage, options: StartOptions): Start {
  const { config, foundation, parents } = options;
  const base = foundation ? foundationHash(foundation) : `random weights of seed ${stage.seed}`;
  if (parents.length === 0) {
    // Only a model without a foundation may skip stages: it is there for tests.
    if (stage.parents.length > 0 && foundation) {
      throw new Error(`${stage.name} starts from ${stage.parents.join(' and ')}, and no parent was given. Train ${stage.parents.join(' and ')} first and pass --parent DIR for each.`);
    }
    const params = foundation ? loadFoundation(config, foundation, stage.seed) : initialize(dreamSpec(config), stage.seed);
    return { params, parents: [base] };
  }
  const opened = openParents(stage, options, base);
  try {
    return { params: joinParents(stage, config, opened), parents: [base, ...opened.map(({ artefact }) => artefact.hash)] };
  } finally {
    for (const { source } of opened) source.close();
  }
}

type OpenParent = { artefact: Artefact; source: TensorSource };

function openParents(stage: Stage, { config, parents }: StartOptions, base: string): OpenParent[] {
  const opened: OpenParent[] = [];
  try {
    for (const dir of parents) {
      const final = join(dir, 'checkpoints', 'final');
      opened.push(loadArtefact(existsSync(final) ? final : dir, { expectedSpec: dreamSpec(config), expectedParent: base }));
      const { artefact } = opened.at(-1)!;
      if (!stage.parents.some((name) => name === artefact.name)) {
        throw new Error(`${dir} is a result of ${artefact.name}, and ${stage.name} starts from ${stage.parents.join(' and ') || 'the foundation alone'}. Pass the right --parent.`);
      }
    }
    for (const name of stage.parents) {
      const count = opened.filter(({ artefact }) => artefact.name === name).length;
      if (count !== 1) throw new Error(`${stage.name} starts from one result of ${name}; found ${count} among ${parents.join(', ')}. Pass --parent DIR for each of ${stage.parents.join(', ')}.`);
    }
    return opened;
  } catch (error) {
    for (const { source } of opened) source.close();
    throw error;
  }
}

/** One model of what each parent trained; what none trained must be the same in all. */
function joinParents(stage: Stage, config: DreamConfig, parents: readonly OpenParent[]): DreamParams {
  const redrawn = (key: string) => stage.newTokenRows === 'redraw' && tokenTables.includes(key);
  const trainedBy = (key: string) => parents.filter(({ artefact }) => artefact.trainable.some((prefix) => covers(prefix, key)));
  const [first, ...others] = parents;
  const owners = new Map<string, TensorSource>();
  for (const key of first.source.tensors.keys()) {
    const trained = trainedBy(key);
    if (trained.length > 1) throw new Error(`"${key}" was trained by ${trained.map(({ artefact }) => artefact.name).join(' and ')}, so neither can be taken. Parents must train different parts.`);
    if (trained.length === 0 && !redrawn(key)) {
      const values = asFloat32(first.source.read(key).values);
      for (const { source, artefact } of others) {
        const other = asFloat32(source.read(key).values);
        if (other.some((value, i) => value !== values[i])) {
          throw new Error(`"${key}" was frozen in ${first.artefact.name} and ${artefact.name}, and yet differs between them: they started from other weights or another seed. Train them from one start.`);
        }
      }
    }
    owners.set(key, (trained[0] ?? first).source);
  }
  const params = loadParams(dreamSpec(config), {
    name: parents.map(({ source }) => source.name).join(' + '),
    metadata: {},
    tensors: first.source.tensors,
    read: (key) => owners.get(key)!.read(key),
    close: () => {},
  });
  if (stage.newTokenRows === 'redraw') redrawRows(params, config, stage.seed);
  return params;
}

/** Ids from this one on are tokens that DreamLLM adds. */
const firstAddedToken = ({ tokens }: DreamConfig): number => Math.min(...Object.values(tokens).filter((id) => id > tokens.eos));

/** Gives the rows of the added tokens new random values. */
function redrawRows(params: DreamParams, config: DreamConfig, seed: number): void {
  const variables = flatten(params);
  for (const key of tokenTables) {
    const variable = variables.get(key)!;
    const drawn = initialValues(specEntries(dreamSpec(config)).get(key)!, seed, `redrawn ${key}`);
    const values = Float32Array.from(variable.dataSync());
    const from = firstAddedToken(config) * config.language.hiddenSize;
    values.set(drawn.subarray(from), from);
    const next = tf.tensor(values, variable.shape);
    variable.assign(next);
    next.dispose();
  }
}

/** Hash over the weights of the four foundation models. */
export function foundationHash(folder: string): string {
  for (const name of foundationFiles) {
    const file = join(folder, `${name}.safetensors`);
    if (!existsSync(file)) throw new Error(`The foundation in ${folder} lacks ${name}.safetensors. Train it: dreamllm foundation train --only ${name} --out ${folder}.`);
  }
  return sha256(foundationFiles.map((name) => hashFile(join(folder, `${name}.safetensors`))).join('\n'));
}

/** A DreamLLM whose language model, CLIP, autoencoder and U-Net are the foundation's; what the paper adds is random, from `seed`. */
export function loadFoundation(config: DreamConfig, folder: string, seed: number): DreamParams {
  const spec = dreamSpec(config);
  const entries = specEntries(spec);
  const sources = foundationFiles.map((name) => {
    const source = openCheckpoint(join(folder, `${name}.safetensors`));
    if (name === 'lm') return withAddedRows(source, config, (key) => initialValues(entries.get(key)!, seed, key));
    return renamed(source, (key) => {
      if (name !== 'clip') return `stable_diffusion_head.${name}.${key}`;
      return key.startsWith('vision_model.') ? `model.clip_vision_embedding.clip_vision_model.${key}` : undefined;
    });
  });
  const source = merged(sources);
  try {
    return loadParams(spec, source, { allowMissing: { prefixes: addedParts, seed } });
  } finally {
    source.close();
  }
}

/** `source` under other keys; those that `rename` gives no key are left out. */
function renamed(source: TensorSource, rename: (key: string) => string | undefined): TensorSource {
  const keys = new Map([...source.tensors.keys()].flatMap((key) => (rename(key) === undefined ? [] : [[rename(key)!, key] as const])));
  return {
    ...source,
    tensors: new Map([...keys].map(([name, key]) => [name, source.tensors.get(key)!])),
    read: (name) => source.read(keys.get(name)!),
    readRaw: (name, scratch) => source.readRaw?.(keys.get(name)!, scratch),
  };
}

/** A language model with the rows of added tokens behind those that it has. */
function withAddedRows(source: TensorSource, config: DreamConfig, initial: (key: string) => Float32Array): TensorSource {
  const { vocabSize, hiddenSize } = config.language;
  const shape = [vocabSize, hiddenSize];
  const tensors = new Map([...source.tensors].map(([key, info]) => [key, tokenTables.includes(key) ? { ...info, shape } : info]));
  const read = (key: string): StoredTensor => {
    const stored = source.read(key);
    if (!tokenTables.includes(key)) return stored;
    const known = asFloat32(stored.values);
    const expected = firstAddedToken(config) * hiddenSize;
    if (known.length !== expected) throw new Error(`${source.name}: expected "${key}" to have ${expected / hiddenSize} rows, found [${stored.shape}]. Train the language model again for this preset.`);
    const values = initial(key);
    values.set(known);
    return { dtype: 'F32', shape, values };
  };
  return { ...source, tensors, read, readRaw: (key, scratch) => (tokenTables.includes(key) ? undefined : source.readRaw?.(key, scratch)) };
}

/** The parameters and the record of a finished stage. The caller disposes the parameters. */
export function loadStage(dir: string, config: DreamConfig): { params: DreamParams; artefact: Artefact } {
  const final = join(dir, 'checkpoints', 'final');
  const { artefact, source } = loadArtefact(existsSync(final) ? final : dir, { expectedSpec: dreamSpec(config) });
  try {
    return { params: loadParams(dreamSpec(config), source), artefact };
  } finally {
    source.close();
  }
}

