import type * as tf from '@tensorflow/tfjs';
import { IGNORED } from '../../ops/cross-entropy.js';
import type { AdamW } from '../../ops/optimizer.js';
import { size, type DreamBackend } from '../dream-backend.js';
import type { Memory } from '../engine.js';
import type { KernelTable } from './table.js';

export const lossKernels: KernelTable = {
  DreamCrossEntropy: (backend, { logits, labels }) => {
    const loss = backend.output(labels.shape);
    const logSumExp = backend.output(labels.shape);
    const tensors = [backend.floats(logits), backend.memoryOf(labels), backend.floats(loss), backend.floats(logSumExp)];
    backend.lookUp('cross_entropy', tensors, logits.shape, labels, logits.shape[1], IGNORED);
    return [loss, logSumExp];
  },
  DreamCrossEntropyGrad: (backend, { logits, labels, logSumExp, dy }) => {
    const dlogits = backend.output(logits.shape);
    backend.run(
      'cross_entropy_grad',
      [backend.floats(logits), backend.memoryOf(labels), backend.floats(logSumExp), backend.floats(dy), backend.floats(dlogits)],
      logits.shape,
    );
    return dlogits;
  },
};

/** AdamW in place, one kernel call a parameter. */
export const adamwOn = (backend: () => DreamBackend): AdamW => (parameters, gradients, moments, { learningRate, beta1, beta2, eps, weightDecay, step, gradientScale = 1 }) => {
  const dream = backend();
  const numbers = [learningRate, beta1, beta2, eps, 1 - learningRate * weightDecay, 1 - beta1 ** step, 1 - beta2 ** step, gradientScale];
  parameters.forEach((parameter, i) => {
    const { first, second } = moments[i];
    const tensors = [own(dream, parameter), dream.floats(gradients[i]), own(dream, first), own(dream, second)];
    dream.run('adamw', tensors, [size(parameter.shape), ...numbers]);
  });
};

/** A variable's buffer, made its own first when another tensor shares it, which must keep its values. */
function own(backend: DreamBackend, variable: tf.Variable): Memory {
  if (backend.refCount(variable.dataId) > 1) {
    const copy = variable.add(0);
    variable.assign(copy);
    copy.dispose();
  }
  return backend.floats(variable);
}
