import * as tf from '@tensorflow/tfjs';
import { attentionWeights } from '../../core/ops/index.js';
import { observe } from './observe.js';
import { unet, type UNetConfig, type UNetParams } from './unet.js';

/** Where one cross-attention of the U-Net looks: for every position of its picture, the share that each token of the condition gets. */
export interface AttentionMap {
  /** Such as `up_blocks.1.attentions.0.transformer_blocks.0.attn2`. */
  readonly name: string;
  /** The mean over heads, [images, height, width, tokens]; over tokens it sums to 1. The caller disposes it. */
  readonly weights: tf.Tensor4D;
}

/** The U-Net's cross-attention at one step of sampling, layer by layer (figure 6 of the paper shows it averaged over steps). Arguments as of `unet`. */
export function crossAttentionMaps(
  params: UNetParams,
  latents: tf.Tensor4D,
  timesteps: ArrayLike<number>,
  condition: tf.Tensor3D,
  config: UNetConfig,
): AttentionMap[] {
  const sizes = levelSizes(latents.shape, config);
  const maps: AttentionMap[] = [];
  const attention = (name: string, query: tf.Tensor3D, key: tf.Tensor3D, numHeads: number) => {
    if (!name.endsWith('attn2')) return;
    const size = sizes.get(query.shape[1])!;
    const weights = tf.tidy(() => attentionWeights(query, key, { numHeads }).mean(1).reshape<tf.Tensor4D>([query.shape[0], ...size, key.shape[1]]));
    maps.push({ name, weights: tf.keep(weights) });
  };
  observe(params, { attention }, () => unet(params, latents, timesteps, condition, config)).dispose();
  return maps;
}

/** Height and width of each level by its number of positions. */
function levelSizes([, height, width]: number[], { blockOutChannels }: UNetConfig): Map<number, [number, number]> {
  const sizes = new Map<number, [number, number]>();
  for (const _ of blockOutChannels) {
    sizes.set(height * width, [height, width]);
    [height, width] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  }
  return sizes;
}

/** The mean of maps, each enlarged to `height`×`width` by nearest neighbours: [images, height, width, tokens]. */
export function meanAttention(maps: readonly AttentionMap[], height: number, width: number): tf.Tensor4D {
  if (maps.length === 0) throw new Error('meanAttention: expected at least one map, found none.');
  return tf.tidy(() => {
    const enlarged = maps.map(({ weights }) => tf.image.resizeNearestNeighbor(weights, [height, width]));
    return tf.addN(enlarged).div<tf.Tensor4D>(maps.length);
  });
}
