import * as tf from '@tensorflow/tfjs';
import { valueAndGrads } from '../../core/ops/index.js';
import type { Fixture } from './fixture.js';
import type { Report } from './report.js';

/** Convolution kernels [height, width, in, out] as files have them; anything else as it is. */
export const fileLayout = (x: tf.Tensor): tf.Tensor => (x.rank === 4 ? x.transpose([3, 2, 0, 1]) : x.clone());

export interface GradientOptions {
  lossName?: string;
  gradName?(key: string): string;
  /** A gradient as the file has it. */
  layout?(gradient: tf.Tensor): tf.Tensor;
}

/** Compares the loss, if it is stored, and the gradients stored under `grad.`; those of `variables` that are not stored are not computed. */
export async function compareGradients(
  fixture: Fixture,
  report: Report,
  loss: () => tf.Scalar,
  variables: ReadonlyMap<string, tf.Tensor>,
  { lossName, gradName = (key) => `grad.${key}`, layout = fileLayout }: GradientOptions = {},
): Promise<void> {
  const wanted = new Map([...variables].filter(([key]) => fixture.outputs.has(gradName(key))));
  const { value, grads } = valueAndGrads(loss, wanted);
  if (lossName) await report.compare(lossName, value);
  for (const [key, grad] of grads) {
    const inFile = layout(grad);
    await report.compare(gradName(key), inFile);
    inFile.dispose();
  }
  tf.dispose([value, ...grads.values()]);
}
