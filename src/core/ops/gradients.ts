import * as tf from '@tensorflow/tfjs';
import { disposeUntaken } from './kernel.js';

/**
 * A loss and its gradients with respect to `variables`, by their keys. The caller disposes both. A variable that the loss does not depend
 * on is an error, or has a gradient of zeros if `allowUnused`.
 */
export function valueAndGrads(
  loss: () => tf.Scalar,
  variables: ReadonlyMap<string, tf.Tensor>,
  { allowUnused = false } = {},
): { value: tf.Scalar; grads: Map<string, tf.Tensor> } {
  if (variables.size === 0) throw new Error('valueAndGrads: expected at least one variable, found none.');
  const keys = [...variables.keys()];
  const xs = [...variables.values()];
  const engine = tf.engine();
  try {
    const { value, grads } = engine.gradients(loss, xs, undefined, true);
    const unused = keys.filter((_, i) => grads[i] == null);
    if (unused.length > 0 && !allowUnused) {
      tf.dispose([value, ...grads.filter((grad) => grad != null)]);
      throw new Error(
        `valueAndGrads: the loss does not depend on ${unused.length} of ${keys.length} variables, first "${unused[0]}". ` +
          'Leave them out, or pass allowUnused to have zeros.',
      );
    }
    return { value, grads: new Map(keys.map((key, i) => [key, grads[i] ?? tf.zerosLike(xs[i])])) };
  } catch (error) {
    releaseTape();
    throw error;
  } finally {
    disposeUntaken();
  }
}

/** What tfjs saved for a backward pass that was never finished. */
function releaseTape(): void {
  const { state } = tf.engine();
  if (state.gradientDepth > 0) return;
  for (const { saved } of state.activeTape ?? []) tf.dispose(saved);
  state.activeTape = [];
}
