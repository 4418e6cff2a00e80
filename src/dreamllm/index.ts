/** DreamLLM: what the paper adds to a language model, a CLIP and a diffusion model. */
export { dreamLoadOptions, loadDream, openDream, type OpenModel, type OpenOptions } from './checkpoint.js';
export * from './collate.js';
export { answer, continueText, questionPrompt, untrainedTokens, without, type AnswerOptions } from './comprehend.js';
export * from './config.js';
export * from './conversation.js';
export * from './create.js';
export * from './forward.js';
export * from './interleaved.js';
export * from './layout.js';
export * from './loss.js';
export * from './model.js';
export * from './presets.js';
export { embedPrompts, promptSequence, type Prompt } from './prompt.js';
export * from './special-tokens.js';
export { QueryAttention } from './query-attention.js';
export { gatherBlocks, splice, type Replacements } from './splice.js';
