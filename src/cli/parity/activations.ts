import * as tf from '@tensorflow/tfjs';
import { observe } from '../../models/diffusion/index.js';
import type { Fixture } from './fixture.js';
import type { Report } from './report.js';

/** [images, height, width, channels] as files have it; other ranks as they are. */
export const channelsFirst = (x: tf.Tensor): tf.Tensor => (x.rank === 4 ? x.transpose([0, 3, 1, 2]) : x.clone());

/** An input [images, channels, height, width] with its channels last. */
export const channelsLast = (fixture: Fixture, name: string): tf.Tensor4D => fixture.input(name).transpose<tf.Tensor4D>([0, 2, 3, 1]);

/** Runs a network and compares the outputs of its modules stored as `act.<module>`. Of a module that runs twice the last output counts. */
export async function compareActivations<T>(fixture: Fixture, report: Report, params: object, run: () => T): Promise<T> {
  const seen = new Map<string, tf.Tensor>();
  const module = (name: string, output: tf.Tensor) => {
    const key = `act.${name}`;
    if (!fixture.outputs.has(key)) return;
    seen.get(key)?.dispose();
    seen.set(key, tf.keep(channelsFirst(output)));
  };
  const result = observe(params, { module }, run);
  for (const [key, output] of seen) {
    await report.compare(key, output);
    output.dispose();
  }
  return result;
}
