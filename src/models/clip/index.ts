export * from './config.js';
export * from './contrastive.js';
export { clipTextTokens } from './text-tokens.js';
export { clipTextHiddenStates, clipTextPooled, clipTextSpec, clipTextStates, poolText, type ClipTextParams } from './text.js';
export { clipAttentionWeights, clipBuffers, clipImagePooled, clipPatches, clipVisionSpec, clipVisionStates, numPatches, poolImage, type ClipVisionParams } from './vision.js';
