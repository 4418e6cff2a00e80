import * as tf from '@tensorflow/tfjs';
import { defineGradient, defineKernel, run, runLookup, shapeError } from './kernel.js';

/** The label of a row that does not count, PyTorch's. */
export const IGNORED = -100;

/** −log softmax(logits)[label] of each row, 0 where the label is −100. logits [rows, vocab], labels int32 [rows] -> [rows]. */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor1D {
  if (logits.rank !== 2 || labels.rank !== 1 || logits.shape[0] !== labels.shape[0]) {
    shapeError('crossEntropy', 'logits [rows, vocab] and labels [rows]', { logits, labels });
  }
  const [loss, logSumExp] = runLookup('DreamCrossEntropy', labels, logits.shape[1], IGNORED, { logits, labels }) as tf.Tensor[];
  logSumExp.dispose();
  return loss as tf.Tensor1D;
}

/** 1 where a row counts. [rows] */
const counts = (labels: tf.Tensor) => labels.notEqual(IGNORED).toFloat();

/** 1 at each row's label, zeros in an ignored row. [rows, vocab] */
const targets = (labels: tf.Tensor, vocab: number) => tf.oneHot(labels.maximum(tf.scalar(0, 'int32')), vocab).toFloat().mul(counts(labels).expandDims(1));

defineKernel('DreamCrossEntropy', ({ logits, labels }) => {
  // oneHot gives such a label no target. A GPU would have to wait for the check; here the numbers lie ready.
  if (tf.getBackend() === 'cpu' && labels.dataSync().some((label: number) => label !== IGNORED && !(label >= 0 && label < logits.shape[1]))) {
    throw new Error('crossEntropy: a label lies outside of the vocabulary.');
  }
  const logSumExp = logits.logSumExp(1);
  const target = logits.mul(targets(labels, logits.shape[1])).sum(1);
  return [logSumExp.sub(target).mul(counts(labels)), logSumExp];
});

defineGradient('DreamCrossEntropy', { inputs: ['logits', 'labels'], outputs: [false, true] }, (dy, [logits, labels, logSumExp]) => ({
  logits: () => run('DreamCrossEntropyGrad', { logits, labels, logSumExp, dy }) as tf.Tensor,
}));

defineKernel('DreamCrossEntropyGrad', ({ logits, labels, logSumExp, dy }) => {
  const probabilities = logits.sub(logSumExp.expandDims(1)).exp().mul(counts(labels).expandDims(1));
  return probabilities.sub(targets(labels, logits.shape[1])).mul(dy.expandDims(1));
});
