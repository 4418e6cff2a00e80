import * as tf from '@tensorflow/tfjs';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { loadParams, merged, openCheckpoint, prefixed, requireFit, type LoadOptions } from '../core/checkpoint.js';
import { loadPacked, type PackedFormat } from '../core/packed.js';
import { specEntries } from '../core/params.js';
import type { TensorSource } from '../core/safetensors.js';
import { currentVaeKey } from '../models/diffusion/index.js';
import { embedTokens, llamaSpec, llamaStates, lmHead, StreamedLlama, type StreamOptions } from '../models/llama/index.js';
import type { DreamConfig } from './config.js';
import { dreamSpec, residentModel, type DreamModel, type DreamPlugins } from './model.js';

/** Files that a release holds beside its language model, and where their keys stand in the whole model. */
const pluginFiles: Record<string, string> = {
  'clip_vision_embedding.bin': 'model.clip_vision_embedding',
  'dream_embedding.bin': 'model.dream_embedding',
  'stable_diffusion_head.bin': 'stable_diffusion_head',
};

/** The same of older training runs: a bare tensor and two state dicts of projectors. */
const legacyFiles: Record<string, string> = {
  'dream_queries.pt': 'model.dream_embedding',
  'clip_vision_model_projector.pt': 'model.clip_vision_embedding.projector',
  'unet_projector.pt': 'stable_diffusion_head.projector',
};

/** How keys of released files become parameters of `dreamSpec`. */
export const dreamLoadOptions: LoadOptions = {
  ignore: /rotary_emb\.inv_freq$|embeddings\.position_ids$/,
  rename: (key) => (key.startsWith('stable_diffusion_head.vae.') ? currentVaeKey(key) : key),
};

/**
 * Opens a whole DreamLLM under the keys of `dreamSpec`: a file, or a folder with the language model and the plugin files of a release. A release whose
 * plugins are missing is opened too; loading it lists what it lacks (the reference code would go on with random queries).
 */
export function openDream(path: string): TensorSource {
  const opened = [openCheckpoint(path)];
  try {
    for (const [file, prefix] of Object.entries({ ...pluginFiles, ...legacyFiles })) {
      const at = join(path, file);
      if (!existsSync(at)) continue;
      const plugin = openCheckpoint(at);
      // A bare tensor is called `tensor`; the only one that a release saves so are the queries.
      opened.push(plugin.tensors.has('tensor') ? bareTensor(plugin, `${prefix}.dream_queries`) : prefixed(plugin, prefix));
    }
    return opened.length === 1 ? opened[0] : merged(opened);
  } catch (error) {
    opened.forEach((source) => source.close());
    throw error;
  }
}

function bareTensor(source: TensorSource, key: string): TensorSource {
  return {
    name: source.name,
    metadata: source.metadata,
    tensors: new Map([[key, source.tensors.get('tensor')!]]),
    read: () => source.read('tensor'),
    close: () => source.close(),
  };
}

export interface OpenModel extends DreamModel {
  /** Where the weights came from. */
  name: string;
  /** What a pass of a streamed language model cost, such as `6.3 s a pass, …`; undefined for a model in memory. */
  describeCost(): string | undefined;
  dispose(): void;
}

export interface OpenOptions {
  /** Read the language model layer by layer from disk in every pass, for models larger than memory. */
  stream?: StreamOptions;
  /** Keep the language model's matrices in 16, 8 or 4 bits; they become floats inside the kernels. Needs the backend `dream`. */
  weights?: PackedFormat;
  note?: (line: string) => void;
}

/** Loads a model to draw and talk with, strictly: what the file lacks or has too much is an error that lists it. Dispose it after use. */
export function loadDream(source: TensorSource, config: DreamConfig, { stream, weights, note }: OpenOptions = {}): OpenModel {
  if (stream && weights) throw new Error('Expected one of `stream` and `weights`: a streamed model keeps no weights.');
  const spec = dreamSpec(config);
  const name = basename(source.name);
  try {
    if (!stream && !weights) {
      const params = loadParams(spec, source, { ...dreamLoadOptions, note });
      source.close();
      return { ...residentModel(params, config), name, describeCost: () => undefined, dispose: () => tf.dispose(params as unknown as tf.TensorContainer) };
    }
    requireFit(specEntries(spec), source, dreamLoadOptions);
    const { dream_embedding, clip_vision_embedding } = spec.model;
    const pluginSpec = { model: { dream_embedding, clip_vision_embedding }, stable_diffusion_head: spec.stable_diffusion_head };
    const isLanguage = (key: string) => /^(model\.(embed_tokens|layers|norm)\.|lm_head\.)/.test(key);
    const plugins = loadParams(pluginSpec, source, { ...dreamLoadOptions, rename: (key) => (isLanguage(key) ? null : dreamLoadOptions.rename!(key)), note }) as unknown as DreamPlugins;
    const language = weights ? packedLanguage(source, config, weights, note) : streamedLanguage(source, config, stream!);
    return {
      ...language,
      config,
      name,
      plugins,
      dispose() {
        language.dispose();
        tf.dispose(plugins as unknown as tf.TensorContainer);
      },
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

type OpenLanguage = Pick<OpenModel, 'language' | 'describeCost' | 'dispose'>;

function packedLanguage(source: TensorSource, { language: config }: DreamConfig, weights: PackedFormat, note?: (line: string) => void): OpenLanguage {
  const params = loadPacked(llamaSpec(config), source, weights);
  source.close();
  note?.(`Matrices of the language model are kept as ${weights}; sums are float32.`);
  return {
    language: {
      embed: (ids) => embedTokens(params, ids),
      forward: async (embeds, options) => llamaStates(params, embeds, config, options),
      head: (states) => lmHead(params, states),
    },
    describeCost: () => undefined,
    dispose: () => tf.dispose(params as unknown as tf.TensorContainer),
  };
}

function streamedLanguage(source: TensorSource, { language: config }: DreamConfig, options: StreamOptions): OpenLanguage {
  const language = new StreamedLlama(source, config, options);
  return {
    language: { embed: (ids) => language.embed(ids), forward: (embeds, options) => language.states(embeds, options), head: (states) => language.head(states) },
    describeCost: () => language.describeCost(),
    dispose: () => language.dispose(),
  };
}
