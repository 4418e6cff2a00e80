/** The fused operations: one tfjs kernel each, with its gradient, fast on the backend `dream` and composed of stock operations elsewhere. */
export { activation, gated, gatedSplit, type ActivationKind, type GateOrder } from './activations.js';
export { attention, attentionWeights, rope, type AttentionOptions } from './attention.js';
export { cacheAppend, decodeLayer, type Cached, type DecodeOptions, type DecodeWeights } from './cache.js';
export { crossEntropy, IGNORED } from './cross-entropy.js';
export { valueAndGrads } from './gradients.js';
export { addRows, conv2d, upsampleNearest, type ConvOptions, type Padding } from './images.js';
export { kernelNames, runningKernel } from './kernel.js';
export { embedding, linear, linears } from './linear.js';
export { groupNorm, layerNorm, rmsNorm } from './norms.js';
export { adamw, clipFactor, globalNorm, registerAdamW, type AdamW, type AdamWOptions, type Moments } from './optimizer.js';
