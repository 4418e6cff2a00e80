import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { loadParams, openCheckpoint } from '../core/checkpoint.js';
import { caption } from '../data/captions.js';
import { parseSceneRef } from '../data/scenes.js';
import { nanoTokenizer } from '../data/tokenizer.js';
import type { ImageRef } from '../data/types.js';
import { nanoClip } from '../dreamllm/presets.js';
import { clipSpec, clipTextStates, clipTextTokens, type ClipParams } from '../models/clip/index.js';

/** What the regression loss fits the conditions of pictures to. The tensors belong to the caller. */
export interface RegressionTargets {
  /** [images, queries, dim] */
  of(pictures: readonly ImageRef[]): tf.Tensor3D;
  dispose(): void;
}

/**
 * Text states of the foundation's CLIP, of the caption that says all of a picture (object, style and ground): what the U-Net was trained with, cut to
 * `queries` positions. Pictures must be scenes of the emoji world, which know their captions.
 */
export function clipTextTargets(foundation: string, queries: number): RegressionTargets {
  const source = openCheckpoint(join(foundation, 'clip.safetensors'));
  let params: ClipParams;
  try {
    params = loadParams(clipSpec(nanoClip), source);
  } finally {
    source.close();
  }
  return { of: (pictures) => textConditions(params, pictures.map((ref) => caption(parseSceneRef(ref), 'full')), queries), dispose: () => tf.dispose(params) };
}

/** The first `queries` text states of CLIP, `<s>` first. Longer texts lose their end. [texts, queries, dim] */
export function textConditions(params: ClipParams, texts: readonly string[], queries: number): tf.Tensor3D {
  const { maxPositions } = nanoClip.text;
  if (queries > maxPositions) throw new Error(`CLIP has states at ${maxPositions} positions, which cannot be fitted by ${queries} dream queries. Use at most ${maxPositions}.`);
  return tf.tidy(() => clipTextStates(params, clipTextTokens(texts, nanoTokenizer(), nanoClip.text), nanoClip.text).slice([0, 0, 0], [-1, queries, -1]));
}
