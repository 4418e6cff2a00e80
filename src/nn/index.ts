export * from './conv.js';
export * from './embedding.js';
export * from './linear.js';
export * from './mlp.js';
export * from './norms.js';
export * from './rope.js';
