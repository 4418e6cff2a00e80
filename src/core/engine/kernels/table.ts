import * as tf from '@tensorflow/tfjs';
import { composed } from '../../ops/kernel.js';
import type { DreamBackend } from '../dream-backend.js';

export type Inputs = { [name: string]: tf.TensorInfo };
// Attributes are checked by the operations that call the kernels.
export type Attributes = { [name: string]: any };

/** A kernel of the backend, or undefined from it where the plain cpu kernel of the same name, or the composition in core/ops, should run instead. */
export type Kernel = (backend: DreamBackend, inputs: Inputs, attributes: Attributes) => tf.TensorInfo | tf.TensorInfo[] | undefined;

export type KernelTable = { [name: string]: Kernel };

/** Registers a table for a backend, in front of the cpu kernels copied there. */
export function registerKernels(backendName: string, table: KernelTable): void {
  for (const [kernelName, kernel] of Object.entries(table)) {
    const stock = tf.getKernel(kernelName, 'cpu');
    if (tf.getKernel(kernelName, backendName)) tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: (call) => {
        const backend = call.backend as DreamBackend;
        const result = backend.attempt(() => kernel(backend, call.inputs as unknown as Inputs, (call.attrs ?? {}) as Attributes));
        return result ?? (stock?.kernelFunc ?? composed(kernelName))(call);
      },
    });
  }
}

export const isFloat = (...tensors: tf.TensorInfo[]): boolean => tensors.every(({ dtype }) => dtype === 'float32');

/** Whether elements are four bytes long, so that moving them needs no type. */
export const isWord = ({ dtype }: tf.TensorInfo): boolean => dtype === 'float32' || dtype === 'int32';
