import * as tf from '@tensorflow/tfjs';
import { fetchValues } from '../../core/checkpoint.js';
import { toImages } from '../../core/images.js';
import { flatten, initialize } from '../../core/params.js';
import { random } from '../../core/random.js';
import type { SceneOptions } from '../../data/scenes.js';
import { decode, divergence, drawLatents, encode, vaeSpec, type VaeConfig, type VaeParams } from '../../models/diffusion/index.js';
import type { Part, PartSettings } from './part.js';
import { diffusionPixels, exampleAt, writeSheet, type Example } from './pictures.js';

/** Weight of the divergence, a mean over latents, against absolute and squared error, means over pixels. Small: latents may be far from N(0, 1). */
const divergenceWeight = 5e-4;

/** The autoencoder: reconstruction by absolute and squared error, without an adversary. */
export function vaePart(config: VaeConfig, side: number, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const params = initialize(vaeSpec(config), seed, 'foundation.vae');
  const latentSize = side / 2 ** (config.blockOutChannels.length - 1);
  const pixelsOf = (examples: readonly Example[]) => diffusionPixels(examples.map(({ picture }) => picture));
  type Inputs = { pixels: tf.Tensor4D; noise: tf.Tensor4D };

  return {
    params,
    task: {
      name: 'vae',
      trainable: flatten(params),
      batch(step) {
        const examples = Array.from({ length: batchSize }, (_, i) => exampleAt(seed, step * batchSize + i, { split: 'train' }, side));
        const shape: [number, number, number, number] = [batchSize, latentSize, latentSize, config.latentChannels];
        const noise = tf.tensor4d(random(seed, 'vae noise', step).normals(tf.util.sizeFromShape(shape)), shape);
        return { ids: examples.map(({ id }) => id), inputs: { pixels: pixelsOf(examples), noise } };
      },
      loss(inputs) {
        const { pixels, noise } = inputs as Inputs;
        const posterior = encode(params, pixels, config);
        const latents = drawLatents(posterior, { ...config, scalingFactor: 1 }, noise);
        const error = decode(params, latents, config).sub(pixels);
        const absolute: tf.Scalar = error.abs().mean();
        const squared: tf.Scalar = error.square().mean();
        const kl: tf.Scalar = divergence(posterior).mean().div(latentSize * latentSize * config.latentChannels);
        return { loss: absolute.add(squared).add<tf.Scalar>(kl.mul(divergenceWeight)), absolute, squared, kl };
      },
    },
    async evaluate() {
      return {
        psnr: await psnr({ split: 'val' }),
        compositionPsnr: await psnr({ split: 'val', axis: 'composition' }),
        conceptPsnr: await psnr({ split: 'val', axis: 'concept' }),
      };
    },
    async draw(file) {
      const examples = Array.from({ length: 24 }, (_, i) => exampleAt(seed + 1, i, { split: 'val' }, side));
      const pixels = reconstruct(examples);
      const rebuilt = await toImages(pixels);
      pixels.dispose();
      await writeSheet(`${file}.png`, examples.flatMap(({ picture }, i) => [picture, rebuilt[i]]), 12);
    },
    finish: () => normalizeLatents(params, config, Array.from({ length: 512 }, (_, i) => exampleAt(seed, i, { split: 'train' }, side))),
    dispose: () => tf.dispose(params),
  };

  function reconstruct(examples: readonly Example[]): tf.Tensor4D {
    return tf.tidy(() => decode(params, encode(params, pixelsOf(examples), config).mean, config));
  }

  /** Mean over 128 held-out pictures of −10 log10 of the squared error of values in [0, 1], decoded from the posterior's mean and clipped. */
  async function psnr(options: SceneOptions): Promise<number> {
    let sum = 0;
    const [count, group] = [128, 32];
    for (let from = 0; from < count; from += group) {
      const examples = Array.from({ length: group }, (_, i) => exampleAt(seed + 1, from + i, options, side));
      const rebuilt = reconstruct(examples);
      const errors = tf.tidy(() => tf.clipByValue(rebuilt, -1, 1).sub(pixelsOf(examples)).div(2).square().mean([1, 2, 3]));
      for (const error of await errors.data()) sum += (-10 * Math.log10(error)) / count;
      tf.dispose([rebuilt, errors]);
    }
    return sum;
  }
}

/**
 * Shifts and scales each latent channel so that latents times the configuration's scaling factor have mean 0 and deviation 1 over `examples`.
 * Both 1×1 convolutions beside the latents take the change in, so pictures are decoded as before.
 */
export async function normalizeLatents(params: VaeParams, config: VaeConfig, examples: readonly Example[]): Promise<Record<string, number[]>> {
  const channels = config.latentChannels;
  const statistics = tf.tidy(() => {
    const { mean, logvar } = encode(params, diffusionPixels(examples.map(({ picture }) => picture)), config);
    const moments = tf.moments(mean, [0, 1, 2]);
    return { mean: moments.mean, deviation: moments.variance.add(logvar.exp().mean([0, 1, 2])).sqrt() };
  });
  const [means, deviations] = await Promise.all([statistics.mean.data(), statistics.deviation.data()]);
  tf.dispose(statistics);

  await fetchValues(params);
  const scales = deviations.map((deviation) => deviation * config.scalingFactor);
  const change = (variable: tf.Variable, update: (values: Float32Array) => void) => {
    const values = Float32Array.from(variable.dataSync());
    update(values);
    const next = tf.tensor(values, variable.shape);
    variable.assign(next);
    next.dispose();
  };
  const outputs = 2 * channels;
  change(params.quant_conv.weight, (w) => w.forEach((_, i) => (w[i] /= i % outputs < channels ? scales[i % outputs] : 1)));
  change(params.quant_conv.bias!, (b) => {
    for (let c = 0; c < channels; c++) {
      b[c] = (b[c] - means[c]) / scales[c];
      b[channels + c] -= 2 * Math.log(scales[c]);
    }
  });
  const inner = Float32Array.from(params.post_quant_conv.weight.dataSync()); // [in, out]
  change(params.post_quant_conv.bias!, (b) => {
    for (let c = 0; c < channels; c++) for (let o = 0; o < channels; o++) b[o] += inner[c * channels + o] * means[c];
  });
  change(params.post_quant_conv.weight, (w) => w.forEach((_, i) => (w[i] *= scales[Math.floor(i / channels)])));
  return { latentMeans: [...means], latentDeviations: [...deviations] };
}
