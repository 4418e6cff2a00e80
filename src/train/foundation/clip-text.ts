export { clipTextTokens } from '../../models/clip/index.js';
