export { extractorId, features, fidExtractor, imagenetExtractor, type Extractor, type FeatureOptions } from './features.js';
export { fidInceptionSpec, inceptionBuffers } from './layout.js';
