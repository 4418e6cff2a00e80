import type * as tf from '@tensorflow/tfjs';
import * as ops from '../core/ops/index.js';
import { normal, param, type Init, type Params } from '../core/params.js';

/** A table of vectors. Default initialisation: PyTorch's N(0, 1). */
export const embeddingSpec = (vocab: number, dim: number, init: Init = normal(1)) => ({ weight: param<tf.Rank.R2>([vocab, dim], init) });

export type EmbeddingParams = Params<ReturnType<typeof embeddingSpec>>;

/** ids int32 [batch, tokens] -> [batch, tokens, dim] */
export const embedding = (p: EmbeddingParams, ids: tf.Tensor2D): tf.Tensor3D => ops.embedding(p.weight, ids) as tf.Tensor3D;
