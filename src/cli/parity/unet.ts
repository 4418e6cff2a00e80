import * as tf from '@tensorflow/tfjs';
import { loadParams } from '../../core/checkpoint.js';
import { flatten } from '../../core/params.js';
import { timestepSinusoids, unet, unetConfig, unetSpec } from '../../models/diffusion/index.js';
import { channelsFirst, channelsLast, compareActivations } from './activations.js';
import { compareGradients } from './gradients.js';
import type { Kind } from './kinds.js';

/** `UNet2DConditionModel` of diffusers. */
export const unetKind: Kind = {
  name: 'unet',
  matches: ({ config }) => config._class_name === 'UNet2DConditionModel',
  async run(fixture, report) {
    const config = unetConfig(fixture.config);
    const p = loadParams(unetSpec(config), fixture.path('model.safetensors'));
    const latents = channelsLast(fixture, 'sample');
    const condition = fixture.input<tf.Tensor3D>('encoder_hidden_states');
    const timesteps = await fixture.input('timesteps').data();
    const target = channelsLast(fixture, 'target');

    if (fixture.wants('act.time_proj')) await report.compare('act.time_proj', timestepSinusoids(timesteps, config.blockOutChannels[0], config));
    const predicted = await compareActivations(fixture, report, p, () => unet(p, latents, timesteps, condition, config));
    await report.compare('sample', channelsFirst(predicted));
    if (fixture.wants('odd_sample_out')) {
      const first = condition.slice<tf.Tensor3D>([0, 0, 0], [1, -1, -1]);
      await report.compare('odd_sample_out', channelsFirst(unet(p, channelsLast(fixture, 'odd_sample'), [500], first, config)));
    }

    const loss = () => unet(p, latents, timesteps, condition, config).sub(target).square().mean<tf.Scalar>();
    const inputs = new Map<string, tf.Tensor>([['sample', latents], ['encoder_hidden_states', condition]]);
    await compareGradients(fixture, report, loss, inputs, { lossName: 'loss', layout: channelsFirst });
    await compareGradients(fixture, report, loss, flatten(p));
    tf.dispose(p as tf.TensorContainer);
  },
};
