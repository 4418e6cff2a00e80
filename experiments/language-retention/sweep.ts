import { experiments } from 'dreamllm';

export default experiments.languageRetention();
