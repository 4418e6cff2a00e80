import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { describeBackend } from '../../core/backend.js';
import { packageRoot } from '../../core/process.js';
import { caption } from '../../data/captions.js';
import { sceneAt } from '../../data/scenes.js';
import { draw } from '../../dreamllm/create.js';
import { nano } from '../../dreamllm/presets.js';
import { defaultTestSet } from '../../eval/nano/comprehension.js';
import type { Subject } from '../../eval/nano/subject.js';
import { measurement, type Measurement } from '../../eval/protocol.js';
import { estimate } from '../../eval/statistics.js';
import { loadFoundation } from '../../train/hand-off.js';
import { drawFromText } from '../foundation-drawings.js';
import { nanoClipJudge, type MeasureOptions } from '../measure-nano.js';
import type { DeclaredTable } from '../paper-tables.js';
import { nanoSweep, type NanoOptions } from './nano.js';

const models = ['DreamLLM', 'text-conditioned U-Net'] as const;
type LatencyConfig = { model: (typeof models)[number]; steps: number };

/** Table 9b: seconds per picture, of DreamLLM and of the same U-Net conditioned by CLIP's text, which stands for Stable Diffusion. One training; seeds repeat the clock. */
export const latency = (options?: NanoOptions) =>
  nanoSweep<LatencyConfig>(
    {
      name: 'latency',
      question: 'What does drawing through the language model cost beside the U-Net alone?',
      base: { model: 'DreamLLM', steps: 50 },
      grid: { model: models, steps: [50, 100, 150] },
      seeds: [0, 1, 2],
      secondsPerTrial: 30,
      maxWorkers: 1,
      recipe: () => ({ seed: 0 }),
      measurements: { seconds: { run: measureSeconds } },
    },
    options,
  );

/** Wall-clock seconds of one picture at a time, after one that is not counted. */
async function measureSeconds(subject: Subject, { model, steps }: LatencyConfig, { sizes, foundation = join(packageRoot(), 'data/foundation'), signal }: MeasureOptions): Promise<Measurement[]> {
  const count = Math.min(8, sizes?.pictures ?? 8);
  const one = model === 'DreamLLM' ? drawOne(subject, steps, signal) : drawWithoutLanguage(foundation, steps, signal);
  const seconds: number[] = [];
  try {
    for (let i = 0; i <= count; i++) {
      const start = performance.now();
      await one.draw(i);
      if (i > 0) seconds.push((performance.now() - start) / 1000);
    }
  } finally {
    one.dispose();
  }
  const { mean, ci } = estimate(seconds, 'pictures');
  const { engine, threads, processor } = describeBackend();
  return [
    measurement({
      metric: 'seconds-per-picture', value: mean, n: count, ci,
      protocol: { dataset: 'emoji world, single objects', size: count, resolution: nano.imageSize, sampler: 'DDIM, eta 0', steps, guidanceScale: 2, batch: 1, modelScale: 'nano', model, engine, threads, processor, clock: 'wall' },
    }),
  ];
}

interface Painter {
  draw(index: number): Promise<unknown>;
  dispose(): void;
}

function drawOne({ model, tokenizer }: Subject, steps: number, signal?: AbortSignal): Painter {
  const { split, axis, seed } = defaultTestSet;
  const prompt = (index: number) => caption(sceneAt(seed, index, { split, axis, kinds: { single: 1 } }), 'full');
  return { draw: (index) => draw(model, tokenizer, [prompt(index)], [index], { steps, guidanceScale: 2, signal }), dispose: () => undefined };
}

function drawWithoutLanguage(foundation: string, steps: number, signal?: AbortSignal): Painter {
  const params = loadFoundation(nano, foundation, 0);
  const judge = nanoClipJudge(foundation);
  const { unet, vae } = params.stable_diffusion_head;
  return {
    draw: (index) => drawFromText({ unet, vae, judge }, { count: 1, first: index, steps, guidanceScale: 2, unprompted: false, signal }),
    dispose() {
      tf.dispose(params as unknown as tf.TensorContainer);
      judge.dispose();
    },
  };
}

const rows = (model: LatencyConfig['model'], method: string) =>
  [50, 100, 150].map((steps) => ({
    label: `${model}, ${steps} steps`,
    paper: { method, benchmark: `${steps} diffusion steps` },
    where: { model, steps },
    metric: 'seconds-per-picture',
    higherIsBetter: false,
    ...(model === 'DreamLLM' ? { against: `text-conditioned U-Net, ${steps} steps` } : {}),
  }));

export const latencyTable: DeclaredTable = {
  sweeps: ['latency'],
  title: 'Inference latency',
  paperTable: 'table9b_inference_latency',
  paperModel: '7B on one A800',
  projectModel: 'nano; the machine is in the protocol',
  counterparts: [...rows('DreamLLM', 'DreamLLM-7B'), ...rows('text-conditioned U-Net', 'Stable Diffusion v2.1')],
};
