import { experiments } from 'dreamllm';

export default experiments.trainingLength();
