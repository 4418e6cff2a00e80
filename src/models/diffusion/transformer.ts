import * as tf from '@tensorflow/tfjs';
import { attention, gatedSplit, linears } from '../../core/ops/index.js';
import type { Params } from '../../core/params.js';
import {
  biasedConv2dSpec,
  biasedLinearSpec,
  conv2d,
  groupNorm,
  layerNorm,
  linear,
  linearSpec,
  normSpec,
  type Conv2dParams,
  type LinearParams,
} from '../../nn/index.js';
import { shown, shownApart, shownAttention } from './observe.js';

/** Queries from `dim` channels, keys and values from `contextDim`. */
const attentionSpec = (dim: number, contextDim: number) => ({
  to_q: linearSpec(dim, dim),
  to_k: linearSpec(contextDim, dim),
  to_v: linearSpec(contextDim, dim),
  to_out: [biasedLinearSpec(dim, dim)],
});

const blockSpec = (dim: number, contextDim: number) => ({
  norm1: normSpec(dim),
  attn1: attentionSpec(dim, dim),
  norm2: normSpec(dim),
  attn2: attentionSpec(dim, contextDim),
  norm3: normSpec(dim),
  ff: { net: { 0: { proj: biasedLinearSpec(dim, 8 * dim) }, 2: biasedLinearSpec(4 * dim, dim) } },
});

type ProjectionSpec = ReturnType<typeof biasedLinearSpec> | ReturnType<typeof biasedConv2dSpec>;

/** Attention over the positions of an image and to the condition. The projections around it are linear or, in older checkpoints, 1×1 convolutions. */
export const transformerSpec = (dim: number, contextDim: number, linearProjection: boolean) => {
  const projection = (): ProjectionSpec => (linearProjection ? biasedLinearSpec(dim, dim) : biasedConv2dSpec(dim, dim, 1));
  return {
    norm: normSpec(dim),
    proj_in: projection(),
    transformer_blocks: [blockSpec(dim, contextDim)],
    proj_out: projection(),
  };
};
export type TransformerParams = Params<ReturnType<typeof transformerSpec>>;

const GROUP_NORM_EPS = 1e-6; // fixed in diffusers, unlike the U-Net's own
const LAYER_NORM_EPS = 1e-5;

/** x [images, height, width, dim], context [images, tokens, contextDim] -> like x */
export function transformer(
  p: TransformerParams,
  x: tf.Tensor4D,
  context: tf.Tensor3D,
  { numHeads, normGroups, linearProjection }: { numHeads: number; normGroups: number; linearProjection: boolean },
): tf.Tensor4D {
  const [images, height, width, dim] = x.shape;
  const project = (layer: TransformerParams['proj_in'], t: tf.Tensor4D, residual?: tf.Tensor4D): tf.Tensor4D =>
    linearProjection ? linear(layer as LinearParams, t, residual) : conv2d(layer as Conv2dParams, t, { residual });

  const projected = project(p.proj_in, groupNorm(p.norm, x, normGroups, GROUP_NORM_EPS));
  let h: tf.Tensor3D = projected.reshape([images, height * width, dim]); // [images, positions, dim]
  for (const block of p.transformer_blocks) h = transformerBlock(block, h, context, numHeads);
  return shown(p, project(p.proj_out, h.reshape(x.shape), x));
}

function transformerBlock(p: Params<ReturnType<typeof blockSpec>>, x: tf.Tensor3D, context: tf.Tensor3D, numHeads: number): tf.Tensor3D {
  const norm1 = layerNorm(p.norm1, x, LAYER_NORM_EPS);
  const h1 = mix(p.attn1, norm1, norm1, numHeads, x);
  const h2 = mix(p.attn2, layerNorm(p.norm2, h1, LAYER_NORM_EPS), context, numHeads, h1);
  return shown(p, feedForward(p.ff, layerNorm(p.norm3, h2, LAYER_NORM_EPS), h2));
}

/** Multi-head attention from x [images, positions, dim] to context [images, tokens, contextDim], added to the residual. */
function mix(p: Params<ReturnType<typeof attentionSpec>>, x: tf.Tensor3D, context: tf.Tensor3D, numHeads: number, residual: tf.Tensor3D): tf.Tensor3D {
  const [q, k, v] = x === context ? linears(x, [p.to_q, p.to_k, p.to_v]) : [linear(p.to_q, x), ...linears(context, [p.to_k, p.to_v])];
  shownAttention(p, q, k, numHeads);
  const mixed = attention(q, k, v, { numHeads });
  shownApart(p, () => linear(p.to_out[0], mixed));
  return linear(p.to_out[0], mixed, residual);
}

/** GEGLU (Shazeer 2020) on one joint projection, value first; added to the residual. */
function feedForward(p: Params<ReturnType<typeof blockSpec>>['ff'], x: tf.Tensor3D, residual: tf.Tensor3D): tf.Tensor3D {
  const inner = gatedSplit(linear(p.net[0].proj, x), 'gelu', 'value-gate');
  shownApart(p, () => linear(p.net[2], inner));
  return linear(p.net[2], inner, residual);
}
