import { experiments } from 'dreamllm';

export default experiments.dreamQueries();
