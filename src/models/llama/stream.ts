import * as tf from '@tensorflow/tfjs';
import { fit, loadParams, openCheckpoint } from '../../core/checkpoint.js';
import { countParameters, specEntries } from '../../core/params.js';
import { elementCount, elementSize, reusedScratch, type TensorSource } from '../../core/safetensors.js';
import { embedding, embeddingSpec, linear, linearSpec, rmsNorm, rmsNormSpec } from '../../nn/index.js';
import type { LlamaConfig } from './config.js';
import { decoderOf, type Decoder, type DecoderParts, type Prompt } from './decoder.js';
import { layerContext, llamaBuffers, llamaLayer, llamaLayerSpec, llamaSpec, type LayerContext, type LlamaLayerParams, type LlamaOptions } from './model.js';

export interface StreamOptions {
  /** Layers kept in memory after they were read once. Default 0: a pass needs the memory of one layer, and reads all of them. */
  residentLayers?: number;
  signal?: AbortSignal;
  /** Told after each layer. */
  onLayer?(progress: { layer: number; numLayers: number; seconds: number; bytesRead: number }): void;
}

/** How long a pass took and what it read; a pass makes one token, or all states of a prompt. */
export interface PassCost {
  seconds: number;
  readSeconds: number;
  bytesRead: number;
}

/** How many layers fit into `bytes` of memory beside the embeddings and the head, all in float32; one more is in use while it is read. */
export function layersWithin(bytes: number, config: LlamaConfig): number {
  const size = (spec: Parameters<typeof countParameters>[0]) => 4 * countParameters(spec);
  const layer = size(llamaLayerSpec(config));
  const ends = size(llamaSpec({ ...config, numLayers: 0 }));
  return Math.max(0, Math.min(config.numLayers, Math.floor((bytes - ends) / layer) - 1));
}

/**
 * A LLaMA whose layers are read from its checkpoint when they are needed, one at a time, for models larger than memory. The embeddings, the
 * last norm and the head stay in memory. Without gradients. Dispose it after use.
 */
export class StreamedLlama {
  /** Of the last pass. */
  cost: PassCost = { seconds: 0, readSeconds: 0, bytesRead: 0 };
  #source: TensorSource;
  #scratch = reusedScratch();
  #ends;
  #resident = new Map<number, LlamaLayerParams>();

  constructor(checkpoint: string | TensorSource, private readonly config: LlamaConfig, private readonly options: StreamOptions = {}) {
    this.#source = typeof checkpoint === 'string' ? openCheckpoint(checkpoint) : checkpoint;
    const { missing, mismatched } = fit(specEntries(llamaSpec(config)), this.#source, { ignore: llamaBuffers });
    if (missing.length > 0 || mismatched.length > 0) {
      const what = [...missing.map((key) => `${key} is missing`), ...mismatched];
      this.#source.close();
      throw new Error(`${this.#source.name} does not hold this LLaMA: ${what.slice(0, 5).join('; ')}${what.length > 5 ? `; and ${what.length - 5} more` : ''}.`);
    }
    this.#ends = {
      embed: this.#load(embeddingSpec(config.vocabSize, config.hiddenSize), 'model.embed_tokens'),
      norm: this.#load(rmsNormSpec(config.hiddenSize), 'model.norm'),
      head: this.#load(linearSpec(config.hiddenSize, config.vocabSize), 'lm_head'),
    };
  }

  #load<S extends Parameters<typeof loadParams>[0]>(spec: S, prefix: string) {
    return loadParams(spec, this.#source, { prefix, ignore: llamaBuffers, scratch: this.#scratch });
  }

  /** ids int32 [batch, tokens] -> [batch, tokens, dim] */
  embed(ids: tf.Tensor2D): tf.Tensor3D {
    return embedding(this.#ends.embed, ids);
  }

  /** states […, dim] -> logits […, vocab] */
  head<T extends tf.Tensor>(states: T): T {
    return linear(this.#ends.head, states);
  }

  /** As `llamaStates`. embeds [batch, tokens, dim] -> same */
  async states(embeds: tf.Tensor3D, options: LlamaOptions = {}): Promise<tf.Tensor3D> {
    const { numLayers, normEps } = this.config;
    const { signal, onLayer } = this.options;
    const start = performance.now();
    this.cost = { seconds: 0, readSeconds: 0, bytesRead: 0 };
    const context = tf.tidy(() => layerContext(embeds, this.config, options) as unknown as tf.TensorContainer) as unknown as LayerContext;
    let hidden = embeds.clone();
    try {
      for (let layer = 0; layer < numLayers; layer++) {
        signal?.throwIfAborted();
        const p = this.#layer(layer);
        const next = tf.tidy(() => llamaLayer(p, hidden, layer, context));
        hidden.dispose();
        hidden = next;
        if (!this.#resident.has(layer)) {
          await hidden.data(); // a GPU may still be reading the weights
          tf.dispose(p as tf.TensorContainer);
        }
        this.cost.seconds = (performance.now() - start) / 1000;
        onLayer?.({ layer, numLayers, seconds: this.cost.seconds, bytesRead: this.cost.bytesRead });
        await new Promise(setImmediate); // lets an interruption through
      }
      options.cache?.advance(embeds.shape[1]);
      return rmsNorm(this.#ends.norm, hidden, normEps);
    } finally {
      tf.dispose([hidden, context.angles.cos, context.angles.sin, ...(context.bias ? [context.bias] : [])]);
    }
  }

  #layer(index: number): LlamaLayerParams {
    const kept = this.#resident.get(index);
    if (kept) return kept;
    const start = performance.now();
    const prefix = `model.layers.${index}`;
    const p = this.#load(llamaLayerSpec(this.config), prefix);
    this.cost.readSeconds += (performance.now() - start) / 1000;
    for (const [key, { dtype, shape }] of this.#source.tensors) {
      if (key.startsWith(`${prefix}.`)) this.cost.bytesRead += elementCount(shape) * elementSize(dtype);
    }
    if (index < (this.options.residentLayers ?? 0)) this.#resident.set(index, p);
    return p;
  }

  /** This model as decoders and DreamLLM take one. */
  get parts(): DecoderParts {
    return { embed: (ids) => this.embed(ids), forward: (embeds, options) => this.states(embeds, options), head: (states) => this.head(states) };
  }

  /** Continues prompts as `llamaDecoder` does. */
  decoder(prompt: Prompt, mask?: readonly (readonly number[])[]): Decoder {
    return decoderOf(this.parts, prompt, mask);
  }

  /** Such as `6.3 s a pass, 5.1 s of them reading 13.0 GB (2.5 GB/s)`. */
  describeCost(): string {
    const { seconds, readSeconds, bytesRead } = this.cost;
    const gigabytes = bytesRead / 1e9;
    return `${seconds.toFixed(1)} s a pass, ${readSeconds.toFixed(1)} s of them reading ${gigabytes.toFixed(1)} GB (${(gigabytes / Math.max(readSeconds, 1e-9)).toFixed(1)} GB/s)`;
  }

  dispose(): void {
    tf.dispose([this.#ends as unknown as tf.TensorContainer, ...([...this.#resident.values()] as unknown as tf.TensorContainer[])]);
    this.#resident.clear();
    this.#source.close();
  }
}
