import { parentPort, workerData } from 'node:worker_threads';
import type { Features } from './features.js';
import { factored, moments } from './frechet.js';

const result = factored(moments(workerData as Features));
parentPort!.postMessage(result, [result.mean.buffer, result.covariance.buffer, result.factor.values.buffer] as ArrayBuffer[]);
