import { warmupCosine, type Schedule } from './schedules.js';

/**
 * The stages of training as values. Three sets stand beside each other: `paper` (Table 13 and sections 3 and 4 of the paper), `released` (the configurations
 * of the reference code) and `nano` (this project's small model). `stagesTable` shows where sets differ.
 */
export const stageNames = ['alignment-comprehension', 'alignment-creation', 'i-gpt', 'sft'] as const;
export type StageName = (typeof stageNames)[number];

export interface Stage {
  name: StageName;
  /** Which halves of a sample are laid out: the picture to be read, the picture to be drawn, or both. */
  mode: 'comprehension' | 'creation' | 'joint';
  /** Data sets and the sizes by which they are mixed. */
  data: Readonly<Record<string, number>>;
  /** Prefixes of the parameters that train. Everything else is frozen. */
  trainable: readonly string[];
  /** `alignment` is the CLIP alignment loss of the paper's Table 3, `regression` fits conditions to CLIP's text states; no recipe uses either. */
  lossWeights: { lm: number; diffusion: number; alignment?: number; regression?: number };
  /**
   * Bound of the signal-to-noise ratio in min-SNR weighting of the diffusion loss, an option of the reference code that the paper does not use. A small
   * one weighs high noise up, where it is decided what a picture shows.
   */
  snrGamma?: number;
  schedule: Schedule;
  /** Samples per optimizer step: `microBatchSize` at a time on each of `devices`. */
  microBatchSize: number;
  devices: number;
  /** Micro-batches a device adds up before it takes a step. */
  accumulation: number;
  length: { epochs: number } | { steps: number };
  /** Longest sequence, in tokens. */
  maxTokens: number;
  /** Stages whose results this one starts from, beside the foundation. */
  parents: readonly StageName[];
  /**
   * Stage I trains beside eight new, random and frozen rows of the embedding and output tables. `redraw`: stage II draws other rows, as the released
   * code does by starting again from Vicuna. `keep`: it goes on with those that the stage I parts were fitted to.
   */
  newTokenRows: 'keep' | 'redraw';
  /** Images of a creation target are mirrored at random. */
  randomFlip: boolean;
  /** Global norm to which gradients are clipped. */
  maxGradNorm: number;
  seed: number;
}

export type StageSet = Readonly<Record<StageName, Stage>>;

export const visualProjector = 'model.clip_vision_embedding.projector';
export const dreamQueries = 'model.dream_embedding.dream_queries';
export const conditionProjector = 'stable_diffusion_head.projector';
export const languageModel = ['model.embed_tokens', 'model.layers', 'model.norm', 'lm_head'] as const;

/** What every stage of every set has in common: what trains (reference code, the freeze flags of its four configurations), and from what it starts. */
const stageI = { parents: [], newTokenRows: 'redraw', maxGradNorm: 1, randomFlip: true, accumulation: 1, maxTokens: 2048, seed: 42 } as const;
const comprehension = { ...stageI, name: 'alignment-comprehension', mode: 'comprehension', trainable: [visualProjector], lossWeights: { lm: 1, diffusion: 0 } } as const;
const creation = { ...stageI, name: 'alignment-creation', mode: 'creation', trainable: [dreamQueries, conditionProjector], lossWeights: { lm: 0, diffusion: 1 } } as const;
const everything = {
  ...stageI,
  mode: 'joint',
  trainable: [visualProjector, dreamQueries, conditionProjector, ...languageModel],
  lossWeights: { lm: 1, diffusion: 10 },
} as const;
const interleaved = { ...everything, name: 'i-gpt', parents: ['alignment-comprehension', 'alignment-creation'] } as const;
const instructions = { ...everything, name: 'sft', parents: ['i-gpt'], newTokenRows: 'keep' } as const;

/** Table 13 of the paper (v2), with the data sizes of its text. The weight of the diffusion loss is the released one: the paper does not state it. */
export const paper: StageSet = {
  'alignment-comprehension': {
    ...comprehension,
    data: { LLaVAPretrain: 558e3, 'BLIP-LAION': 8e6, LAION400M: 11e6, 'LAION-COCO': 11e6 },
    schedule: warmupCosine(2e-3, 0.003),
    microBatchSize: 8,
    devices: 128,
    length: { epochs: 1 },
  },
  'alignment-creation': {
    ...creation,
    data: { 'BLIP-LAION': 8e6, LAION400M: 11e6, 'LAION-COCO': 11e6 },
    schedule: warmupCosine(2e-3, 0.003),
    microBatchSize: 8,
    devices: 128,
    length: { epochs: 1 },
  },
  'i-gpt': {
    ...interleaved,
    data: { 'MMC4-Core': 2e6, 'BLIP-LAION': 2e6 },
    schedule: warmupCosine(2e-5, 0.003),
    microBatchSize: 8,
    devices: 128,
    length: { epochs: 1 },
  },
  sft: {
    ...instructions,
    data: { LLaVAInstruct: 80e3, InstructMMC4: 20e3, 'Instruct-BLIP-LAION': 20e3 },
    schedule: warmupCosine(4e-5, 0.003),
    microBatchSize: 8,
    devices: 128,
    length: { epochs: 3 },
  },
};

/** projects/dreamllm/configs of the reference code. It leaves the number of devices to the launcher; the paper's 128 is put in. */
export const released: StageSet = {
  'alignment-comprehension': {
    ...comprehension,
    data: { llava_pretrain: 558e3, laion400m_orig: 20e6, laion_coco: 20e6, blip_laion: 20e6, gqa: 13_532_530 },
    schedule: warmupCosine(2e-3, 0.003),
    microBatchSize: 16,
    devices: 128,
    length: { epochs: 1 },
  },
  'alignment-creation': {
    ...creation,
    data: { laion400m_orig: 20e6, laion_coco: 20e6, blip_laion: 20e6 },
    schedule: warmupCosine(2e-3, 0.003),
    microBatchSize: 16,
    devices: 128,
    length: { epochs: 1 },
  },
  'i-gpt': {
    ...interleaved,
    data: { mmc4_core: 7e6, blip_laion: 10e6 },
    schedule: warmupCosine(2e-5, 0.003),
    microBatchSize: 16,
    devices: 128,
    length: { epochs: 1 },
  },
  sft: {
    ...instructions,
    data: { 'llavav1.5_instruct': 665_298, blip_laion: 600e3, mmc4_instruct_filtered224: 20_231 },
    schedule: warmupCosine(4e-5, 0.003),
    microBatchSize: 16,
    devices: 128,
    length: { epochs: 1 },
  },
};

/**
 * The small model. Freezing, objectives and order are the paper's. Chosen for a run of minutes: steps, batches, sequence length, higher learning rates
 * (a few hundred steps must do what thousands do there), kept token rows, no mirroring (scenes have a left and a right), and the
 * reference code's min-SNR weighting, without which so few pictures do not teach what a prompt is about.
 */
export const nano: StageSet = {
  'alignment-comprehension': {
    ...comprehension,
    data: { pairs: 1 },
    schedule: warmupCosine(5e-3, 0.03),
    microBatchSize: 32,
    devices: 1,
    length: { steps: 900 },
    maxTokens: 256,
    newTokenRows: 'keep',
    randomFlip: false,
  },
  'alignment-creation': {
    ...creation,
    data: { pairs: 1 },
    schedule: warmupCosine(2e-3, 0.03),
    microBatchSize: 32,
    devices: 1,
    length: { steps: 500 },
    snrGamma: 0.1,
    maxTokens: 256,
    newTokenRows: 'keep',
    randomFlip: false,
  },
  'i-gpt': {
    ...interleaved,
    data: { documents: 7, pairs: 10 },
    schedule: warmupCosine(1e-3, 0.03),
    microBatchSize: 16,
    devices: 1,
    length: { steps: 160 },
    snrGamma: 0.1,
    maxTokens: 256,
    newTokenRows: 'keep',
    randomFlip: false,
  },
  sft: {
    ...instructions,
    data: { conversations: 80, 'instruct-documents': 20, pairs: 20 },
    schedule: warmupCosine(8e-4, 0.03),
    microBatchSize: 16,
    devices: 1,
    length: { steps: 300 },
    snrGamma: 0.1,
    maxTokens: 256,
    randomFlip: false,
  },
};

/** Samples that one optimizer step sees. */
export const batchSize = ({ microBatchSize, devices, accumulation }: Stage): number => microBatchSize * devices * accumulation;

/** Optimizer steps of a stage. */
export function stepsOf(stage: Stage): number {
  if ('steps' in stage.length) return stage.length.steps;
  const samples = Object.values(stage.data).reduce((a, b) => a + b, 0);
  return Math.ceil((samples * stage.length.epochs) / batchSize(stage));
}

/** One row for each setting in which the sets differ, one column a set; with `all`, every setting. */
export function stagesTable(sets: Readonly<Record<string, StageSet>>, { all = false } = {}): Record<string, string>[] {
  const rows: Record<string, string>[] = [];
  for (const name of stageNames) {
    const columns = Object.fromEntries(Object.entries(sets).map(([set, stages]) => [set, describe(stages[name])]));
    const [first] = Object.values(columns);
    for (const setting of Object.keys(first)) {
      const values = Object.entries(columns).map(([set, described]) => [set, described[setting]]);
      if (all || new Set(values.map(([, value]) => value)).size > 1) rows.push({ stage: name, setting, ...Object.fromEntries(values) });
    }
  }
  return rows;
}

/** The settings of a stage as short texts, in the order a reader asks for them. */
function describe(stage: Stage): Record<string, string> {
  const { shape, peak, warmupRatio } = stage.schedule;
  return {
    data: Object.entries(stage.data).map(([name, size]) => `${name} ${size.toLocaleString('en')}`).join(', '),
    mode: stage.mode,
    trainable: stage.trainable.join(', '),
    'loss weights': Object.entries(stage.lossWeights).map(([name, weight]) => `${name} ${weight}`).join(', '),
    'min-SNR': stage.snrGamma === undefined ? 'off' : String(stage.snrGamma),
    'learning rate': `${peak} ${shape}, warm-up ${warmupRatio}`,
    'batch size': `${batchSize(stage)} (${stage.microBatchSize} × ${stage.devices * stage.accumulation})`,
    length: 'epochs' in stage.length ? `${stage.length.epochs} ${stage.length.epochs === 1 ? 'epoch' : 'epochs'}` : `${stage.length.steps} steps`,
    steps: stepsOf(stage).toLocaleString('en'),
    'max tokens': String(stage.maxTokens),
    parents: stage.parents.join(', ') || 'foundation',
    'new token rows': stage.newTokenRows,
    'random flip': stage.randomFlip ? 'yes' : 'no',
    'max gradient norm': String(stage.maxGradNorm),
    seed: String(stage.seed),
  };
}
