import * as tf from '@tensorflow/tfjs';
import { registerAdamW } from '../ops/optimizer.js';
import { DreamBackend } from './dream-backend.js';
import type { Engine } from './engine.js';
import { attentionKernels } from './kernels/attention.js';
import { convKernels } from './kernels/conv.js';
import { elementwiseKernels } from './kernels/elementwise.js';
import { layoutKernels } from './kernels/layout.js';
import { adamwOn, lossKernels } from './kernels/loss.js';
import { matmulKernels } from './kernels/matmul.js';
import { normKernels } from './kernels/norms.js';
import { reduceKernels } from './kernels/reduce.js';
import { registerKernels, type KernelTable } from './kernels/table.js';

export const dreamKernels: KernelTable = {
  ...matmulKernels,
  ...convKernels,
  ...attentionKernels,
  ...normKernels,
  ...elementwiseKernels,
  ...reduceKernels,
  ...layoutKernels,
  ...lossKernels,
};

/** Makes a backend of an engine, under `name`: all kernels of the plain cpu backend, with the engine's in front. */
export function registerDreamBackend(engine: Engine, name = 'dream'): void {
  registerBackend(new DreamBackend(engine), name);
}

export function registerBackend(backend: DreamBackend, name: string): void {
  tf.registerBackend(name, () => backend);
  if (!tf.getKernel('Identity', name)) tf.copyRegisteredKernels('cpu', name);
  registerKernels(name, dreamKernels);
  registerAdamW(name, adamwOn(() => backend));
}
