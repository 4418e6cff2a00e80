import type * as tf from '@tensorflow/tfjs';
import { activation } from '../core/ops/index.js';
import { uniform, type Params } from '../core/params.js';
import { biasedLinearSpec, linear, linearSpec } from '../nn/index.js';

/** The linear map of the paper, or for a depth above 1 linear maps with GELU between them (mlp_projector.py; the SDXL variant sees through two). */
export interface ProjectorConfig {
  inSize: number;
  outSize: number;
  depth: number;
  bias: boolean;
  /** Factor on the initial values of the last map; 1 is PyTorch's own initialisation. */
  initialScale?: number;
}

type LinearSpec = ReturnType<typeof linearSpec>;
type ProjectorSpec = { projector: LinearSpec | { [index: string]: LinearSpec } };
export type ProjectorParams = { projector: Params<LinearSpec> | { [index: string]: Params<LinearSpec> } };

/** Parameters under the reference's names: `projector.weight`, or `projector.0.weight`, `projector.2.weight`, … as in a Sequential. */
export function projectorSpec({ inSize, outSize, depth, bias, initialScale = 1 }: ProjectorConfig): ProjectorSpec {
  const layer = (from: number, scale: number): LinearSpec => {
    const init = uniform(scale / Math.sqrt(from));
    return bias ? biasedLinearSpec(from, outSize, init, init) : linearSpec(from, outSize, init);
  };
  if (depth === 1) return { projector: layer(inSize, initialScale) };
  return { projector: Object.fromEntries(Array.from({ length: depth }, (_, i) => [String(2 * i), layer(i === 0 ? inSize : outSize, i === depth - 1 ? initialScale : 1)])) };
}

/** x […, inSize] -> […, outSize] */
export function project<T extends tf.Tensor>({ projector }: ProjectorParams, x: T): T {
  if ('weight' in projector) return linear(projector as Params<LinearSpec>, x);
  const layers = Object.values(projector as { [index: string]: Params<LinearSpec> }); // integer keys come in rising order
  return layers.reduce((value, layer, i) => linear(layer, i === 0 ? value : activation(value, 'gelu')), x);
}
