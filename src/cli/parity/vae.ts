import * as tf from '@tensorflow/tfjs';
import { loadParams } from '../../core/checkpoint.js';
import { currentVaeKey, decode, decodeLatents, divergence, drawLatents, encode, vaeConfig, vaeSpec } from '../../models/diffusion/index.js';
import { channelsFirst, channelsLast, compareActivations } from './activations.js';
import { compareGradients } from './gradients.js';
import type { Kind } from './kinds.js';

/** `AutoencoderKL` of diffusers, with attention keys of either age. */
export const vaeKind: Kind = {
  name: 'vae',
  matches: ({ config }) => config._class_name === 'AutoencoderKL',
  async run(fixture, report) {
    const config = vaeConfig(fixture.config);
    const p = loadParams(vaeSpec(config), fixture.path('model.safetensors'), { rename: currentVaeKey });
    const image = channelsLast(fixture, 'image');
    const latents = channelsLast(fixture, 'latents');
    const layout = channelsFirst;

    const posterior = await compareActivations(fixture, report, p, () => encode(p, image, config));
    const scaled = drawLatents(posterior, config, channelsLast(fixture, 'sample_noise'));
    await report.compare('mean', channelsFirst(posterior.mean));
    await report.compare('logvar', channelsFirst(posterior.logvar));
    await report.compare('std', channelsFirst(posterior.logvar.mul(0.5).exp()));
    await report.compare('scaled_latents', channelsFirst(scaled));
    await report.compare('sampled', channelsFirst(scaled.div(config.scalingFactor)));
    await report.compare('kl', divergence(posterior));
    await report.compare('decoded', channelsFirst(decodeLatents(p, latents, config)));
    const reconstruction = await compareActivations(fixture, report, p, () => decode(p, posterior.mean, config));
    await report.compare('reconstruction', channelsFirst(reconstruction));

    const encoded = () => encode(p, image, config).mean.square().mean<tf.Scalar>();
    await compareGradients(fixture, report, encoded, new Map([['image_from_mean_sq', image]]), { layout });
    const decoded = () => decodeLatents(p, latents, config).square().mean<tf.Scalar>();
    await compareGradients(fixture, report, decoded, new Map([['latents_from_decoded_sq', latents]]), { layout });
    tf.dispose(p as tf.TensorContainer);
  },
};
