import * as tf from '@tensorflow/tfjs';
import { toImages } from '../../core/images.js';
import { flatten, initialize } from '../../core/params.js';
import { random } from '../../core/random.js';
import { caption, type CaptionForm } from '../../data/captions.js';
import { sceneAt, renderScene, weighted, type Scene, type SceneOptions } from '../../data/scenes.js';
import { clipTextStates, type ClipConfig, type ClipParams } from '../../models/clip/index.js';
import {
  addNoise, decodeLatents, encode, noiseSchedule, sample, scheduler, seededNoise, snr, stableDiffusionSchedule, unet, unetSpec,
  type DdimConfig, type UNetConfig, type VaeConfig, type VaeParams,
} from '../../models/diffusion/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import { clipTextTokens } from './clip-text.js';
import type { Part, PartSettings } from './part.js';
import { diffusionPixels, writeSheet } from './pictures.js';

/** Training pictures are encoded once; later epochs differ in caption, noise and the draw from the posterior. */
const poolSize = 40_000;
/** How often each form of a caption is read. Most name the background: what the text leaves open, the picture cannot be judged by. */
const forms: Record<CaptionForm, number> = { short: 15, ground: 30, styled: 15, full: 35, tagged: 5 };
/** Share of captions replaced by the empty text, which guidance leads away from (Ho and Salimans 2022). */
const dropout = 0.1;

/** Samples for the eye and for the evaluation: DDIM without noise. */
export const previewSampler: DdimConfig = {
  kind: 'ddim',
  ...stableDiffusionSchedule,
  timestepSpacing: 'leading',
  stepsOffset: 1,
  eta: 0,
  setAlphaToOne: false,
  limit: { kind: 'none' },
};

const previewPrompts = [
  'a red apple on a white background', 'a dog on a green background', 'a rocket on a black background', 'a flat picture of a house on a blue background',
  'a glossy picture of a banana on a pink background', 'a sun on a grey background', 'three red apples on a white background', 'a cat left of a dog on a yellow background',
  'a blob picture of a penguin on a blue background', 'a police car on a white background', 'a red outlined star left of a blue outlined key on a white background', 'a big pizza and a small lemon on a green background',
];

export interface FrozenParts {
  clip: { params: ClipParams; config: ClipConfig };
  vae: { params: VaeParams; config: VaeConfig };
  tokenizer: NanoTokenizer;
}

/** The text-conditioned latent U-Net: noise prediction under Stable Diffusion's schedule, conditioned on CLIP's last text states. */
export function unetPart(config: UNetConfig, { clip, vae, tokenizer }: FrozenParts, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const side = clip.config.vision.imageSize;
  const params = initialize(unetSpec(config), seed, 'foundation.unet');
  const schedule = noiseSchedule(stableDiffusionSchedule);
  const latentShape = [side / 2 ** (vae.config.blockOutChannels.length - 1), side / 2 ** (vae.config.blockOutChannels.length - 1), vae.config.latentChannels] as const;
  const latentLength = latentShape[0] * latentShape[1] * latentShape[2];
  type Inputs = { noisy: tf.Tensor4D; noise: tf.Tensor4D; condition: tf.Tensor3D; timesteps: number[]; weights?: tf.Tensor4D };

  const textStates = (texts: readonly string[]): tf.Tensor3D =>
    tf.tidy(() => clipTextStates(clip.params, clipTextTokens(texts, tokenizer, clip.config.text), clip.config.text));

  const encodeScenes = async (scenes: readonly Scene[]) => {
    const pixels = diffusionPixels(scenes.map((scene) => ({ width: side, height: side, data: renderScene(scene, side) })));
    const { mean, logvar } = encode(vae.params, pixels, vae.config);
    const values = { mean: (await mean.data()) as Float32Array, deviation: Float32Array.from(await logvar.data(), (x) => Math.exp(x / 2)) };
    tf.dispose([pixels, mean, logvar]);
    return values;
  };

  let pool: { scenes: Scene[]; means: Float32Array; deviations: Float32Array } | undefined;
  const poolOf = async () => {
    if (pool) return pool;
    const scenes = Array.from({ length: poolSize }, (_, i) => sceneAt(seed, i, { split: 'train' }));
    const [means, deviations] = [new Float32Array(poolSize * latentLength), new Float32Array(poolSize * latentLength)];
    for (let from = 0; from < poolSize; from += 100) {
      const { mean, deviation } = await encodeScenes(scenes.slice(from, from + 100));
      means.set(mean, from * latentLength);
      deviations.set(deviation, from * latentLength);
    }
    return (pool = { scenes, means, deviations });
  };

  let order = { epoch: -1, indices: [] as number[] };
  const indexAt = (position: number) => {
    const epoch = Math.floor(position / poolSize);
    if (order.epoch !== epoch) order = { epoch, indices: random(seed, 'unet order', epoch).shuffle(Array.from({ length: poolSize }, (_, i) => i)) };
    return order.indices[position % poolSize];
  };

  /** Noised latents and condition from clean scaled latents, texts and a stream. */
  const inputsOf = (latents: Float32Array, texts: readonly string[], timesteps: number[], noise: Float32Array): Inputs => {
    const shape: [number, number, number, number] = [texts.length, ...latentShape];
    const target = tf.tensor4d(noise, shape);
    const clean = tf.tensor4d(latents, shape);
    const noisy = addNoise(schedule, clean, target, timesteps);
    clean.dispose();
    return { noisy, noise: target, condition: textStates(texts), timesteps };
  };
  const loss = ({ noisy, noise, condition, timesteps, weights }: Inputs): tf.Scalar =>
    tf.tidy(() => {
      const squared = unet(params, noisy, timesteps, condition, config).sub(noise).square();
      return (weights ? squared.mul(weights) : squared).mean();
    });
  const { weighting } = settings;
  const weightsOf = (timesteps: readonly number[]): tf.Tensor4D =>
    tf.tensor4d(timesteps.map((t) => Math.min(1 / snr(schedule, t), weighting!.most)), [timesteps.length, 1, 1, 1]);

  return {
    params,
    task: {
      name: 'unet',
      trainable: flatten(params),
      async batch(step) {
        const { scenes, means, deviations } = await poolOf();
        const stream = random(seed, 'unet step', step);
        const latents = new Float32Array(batchSize * latentLength);
        const texts: string[] = [];
        const timesteps: number[] = [];
        const drawn = stream.normals(2 * batchSize * latentLength);
        for (let i = 0; i < batchSize; i++) {
          const index = indexAt(step * batchSize + i);
          for (let j = 0, from = index * latentLength, to = i * latentLength; j < latentLength; j++) {
            latents[to + j] = (means[from + j] + deviations[from + j] * drawn[to + j]) * vae.config.scalingFactor;
          }
          texts.push(stream.uniform() < dropout ? '' : caption(scenes[index], weighted(stream, forms)));
          timesteps.push(stream.integer(schedule.betas.length));
        }
        const inputs = inputsOf(latents, texts, timesteps, drawn.slice(batchSize * latentLength));
        if (weighting && step >= weighting.from) inputs.weights = weightsOf(timesteps);
        return { ids: texts, inputs };
      },
      loss: (inputs) => ({ loss: loss(inputs as Inputs) }),
    },
    evaluate: async () => ({ ...(await validation('cell')), ...(await validation('composition')) }),
    async draw(file) {
      const texts = previewPrompts.flatMap((prompt) => [prompt, prompt]);
      const drawn = await drawTexts(texts, 3);
      const pictures = await toImages(drawn);
      drawn.dispose();
      await writeSheet(`${file}.png`, pictures, 8, texts);
    },
    dispose() {
      tf.dispose([params, clip.params, vae.params]);
    },
  };

  /** The loss on held-out scenes, with fixed noise, in four equal stretches of time steps and over all. */
  async function validation(axis: NonNullable<SceneOptions['axis']>): Promise<Record<string, number>> {
    const count = 64;
    const scenes = Array.from({ length: count }, (_, i) => sceneAt(seed + 1, i, { split: 'val', axis }));
    const clean = (await encodeScenes(scenes)).mean.map((x) => x * vae.config.scalingFactor);
    const results: Record<string, number> = {};
    const bins = 4;
    for (let bin = 0; bin < bins; bin++) {
      const stream = random(seed, 'unet validation', bin);
      const width = schedule.betas.length / bins;
      const timesteps = scenes.map((_, i) => Math.floor(width * (bin + (i + 0.5) / count)));
      const inputs = inputsOf(clean, scenes.map((scene) => caption(scene, 'full')), timesteps, stream.normals(count * latentLength));
      const value = loss(inputs);
      [results[`${axis}Loss${bin * width}`]] = await value.data();
      tf.dispose([value, Object.values(inputs).filter((each) => each instanceof tf.Tensor)]);
    }
    results[`${axis}Loss`] = Object.values(results).reduce((a, b) => a + b, 0) / bins;
    return results;
  }

  /** Pictures of texts in [-1, 1], [texts, side, side, 3]. */
  async function drawTexts(texts: readonly string[], guidanceScale: number): Promise<tf.Tensor4D> {
    const [condition, unconditional] = [textStates(texts), textStates([''])];
    const noise = seededNoise(texts.map((_, i) => i), latentShape);
    const latents = await sample({
      predict: (x, timestep, states) => unet(params, x, Array<number>(x.shape[0]).fill(timestep), states, config),
      scheduler: scheduler(previewSampler, 25),
      condition,
      unconditional,
      guidanceScale,
      noise,
    });
    const pictures = decodeLatents(vae.params, latents, vae.config);
    tf.dispose([condition, unconditional, noise, latents]);
    return pictures;
  }
}
