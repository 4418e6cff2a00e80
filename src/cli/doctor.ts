import * as tf from '@tensorflow/tfjs';
import { existsSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { addonFolder, buildCommand } from '../core/engine/addon.js';
import { joinsVectors } from '../core/engine/wasm.js';
import { describeBackend, useBackend } from '../core/backend.js';
import { matmulSpeed, measure } from './bench/measure.js';
import { transformerTraining } from './bench/transformer.js';
import type { Command } from './command.js';

/** Two layers, two megaflops a token: a step that ends in milliseconds everywhere but on plain cpu. */
const small = { numLayers: 2, hiddenSize: 128, numHeads: 4, mlpSize: 352, vocab: 512 };

const command: Command = {
  name: 'doctor',
  summary: 'Says which backend runs and why, how fast it is, and what is missing.',
  usage: '[--json]',
  options: { json: { type: 'boolean', help: 'print one JSON object' } },
  async run({ values }) {
    const choice = await useBackend();
    const plain = choice.name === 'cpu';
    const matmul = Object.fromEntries((plain ? [128] : [256, 512, 1024]).map((size) => [size, round(matmulSpeed(size, plain ? 2 : 10))]));
    const step = await measure('step', () => transformerTraining(small, plain ? 1 : 4, 64), { repetitions: plain ? 1 : 5 });
    const report = {
      ...describeBackend(),
      cores: availableParallelism(),
      memoryGiB: round(totalmem() / 2 ** 30),
      reasons: choice.reasons,
      matmulGflops: matmul,
      trainingStepMs: round(step.ms),
      missing: missing(),
    };
    if (values.json) {
      console.log(JSON.stringify(report));
      return;
    }
    console.log(`backend    ${choice.name}: ${choice.engine}, ${choice.threads} thread${choice.threads === 1 ? '' : 's'}`);
    for (const reason of choice.reasons) console.log(`           ${reason}`);
    console.log(`machine    ${cpus()[0].model}, ${report.cores} cores, ${report.memoryGiB} GiB, ${process.platform} ${process.arch}`);
    console.log(`versions   node ${process.version}, tfjs ${tf.version_core}`);
    console.log(`matmul     ${Object.entries(matmul).map(([size, speed]) => `${size}: ${speed}`).join(', ')} GFLOP/s`);
    console.log(`training   ${report.trainingStepMs} ms a step (transformer, ${small.numLayers} layers, width ${small.hiddenSize}, ${plain ? 1 : 4} x 64 tokens)`);
    for (const line of report.missing) console.log(`missing    ${line}`);
  },
};
export default command;

const round = (x: number) => Number(x.toPrecision(3));

/** What would make this installation faster or more complete, and how to get it. */
function missing(): string[] {
  const lines: string[] = [];
  if (!existsSync(join(addonFolder, 'engine.node'))) lines.push(`the native engine, about twice as fast as WebAssembly: ${buildCommand} (needs a C compiler and Node's headers)`);
  if (process.arch === 'x64' && !joinsVectors) lines.push('Node 24 or newer, with which WebAssembly takes little more than half the time: https://nodejs.org, or npm exec --package=node@24 -- node …');
  const has = (name: string) => {
    try {
      import.meta.resolve(name);
      return true;
    } catch {
      return false; // not installed
    }
  };
  if (!has('webgpu') || !has('@tensorflow/tfjs-backend-webgpu')) lines.push('WebGPU, for a GPU of any maker: npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0');
  return lines;
}
