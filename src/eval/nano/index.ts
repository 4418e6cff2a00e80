export * from './autoencoder.js';
export * from './clip.js';
export * from './comprehension.js';
export * from './creation.js';
export * from './documents.js';
export * from './likelihood.js';
export * from './subject.js';
