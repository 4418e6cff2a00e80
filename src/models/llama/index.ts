export * from './beam-search.js';
export * from './cache.js';
export * from './config.js';
export * from './decoder.js';
export * from './generate.js';
export * from './loss.js';
export * from './stream.js';
export { embedTokens, llama, llamaAttentionWeights, llamaBuffers, llamaHiddenStates, llamaSpec, llamaStates, lmHead, type LlamaOptions, type LlamaParams } from './model.js';
