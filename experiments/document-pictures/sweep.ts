import { experiments } from 'dreamllm';

export default experiments.documentPictures();
