import { adamwDefaults } from '../optimizer.js';
import { warmupCosine } from '../schedules.js';
import type { PartName, PartSettings } from './part.js';

const common = { optimizer: adamwDefaults, maxGradNorm: 1, seed: 42 };

/** How the committed foundation was trained. */
export const foundationSettings: Record<PartName, PartSettings> = {
  vae: { ...common, steps: 2200, batchSize: 16, schedule: warmupCosine(1e-3, 0.03), emaDecay: 0.995, checkpointEvery: 250, evaluateEvery: 250 },
  clip: { ...common, steps: 900, batchSize: 128, schedule: warmupCosine(1e-3, 0.05), optimizer: { ...adamwDefaults, beta2: 0.98, weightDecay: 0.1 }, checkpointEvery: 250, evaluateEvery: 250 },
  lm: { ...common, steps: 3700, batchSize: 16, schedule: warmupCosine(1.5e-3, 0.03), optimizer: { ...adamwDefaults, beta2: 0.95 }, checkpointEvery: 250, evaluateEvery: 250 },
  unet: { ...common, steps: 3200, batchSize: 64, schedule: warmupCosine(1e-3, 0.03), emaDecay: 0.999, weighting: { from: 1276, most: 10 }, checkpointEvery: 250, evaluateEvery: 500 },
  vision: {
    ...common, steps: 4000, batchSize: 144, schedule: warmupCosine(1e-3, 0.05), optimizer: { ...adamwDefaults, beta2: 0.98, weightDecay: 0.1 }, emaDecay: 0.998,
    checkpointEvery: 250, evaluateEvery: 250,
  },
  reading: {
    ...common, steps: 3400, batchSize: 128, schedule: warmupCosine(1e-3, 0.03), optimizer: { ...adamwDefaults, beta2: 0.98, weightDecay: 0.1 }, emaDecay: 0.998,
    words: { from: 1400 }, checkpointEvery: 100, evaluateEvery: 250,
  },
};
