import { barsFromRecords, curveFromRecords, differencesFromRecords, paretoFromRecords } from '../figures/from-records.js';
import type { Figure } from '../figures/figure.js';
import type { TrialRecord } from '../trial.js';

type Draw = (records: readonly TrialRecord[]) => Figure;

const likelihood = { matcher: 'log-likelihood of the letters', picture: true } as const;

/** A metric of both tasks against one setting. */
const bothTasks = (x: string, by?: string): Record<string, Draw> => ({
  fid: (records) => curveFromRecords(records, { title: `FID against ${x}`, metric: 'fid', x, ...(by ? { by } : {}) }),
  'vqa-accuracy': (records) => curveFromRecords(records, { title: `Open questions against ${x}`, metric: 'vqa-accuracy', x, ...(by ? { by } : {}) }),
});

/** The figures of each sweep, by its name and theirs. */
export const sweepFigures: Readonly<Record<string, Readonly<Record<string, Draw>>>> = {
  'best-of-k': {
    fid: (records) => curveFromRecords(records, { title: 'FID of the best of k by CLIP score', metric: 'fid', x: 'bestOf' }),
    'clip-score': (records) => curveFromRecords(records, { title: 'CLIP score of the best of k by the same CLIP', metric: 'clip-score', x: 'bestOf' }),
  },
  'comprehension-creation-ratio': bothTasks('dose', 'equal'),
  'data-noise': bothTasks('noise'),
  'dream-queries': bothTasks('numDreamQueries'),
  'guidance-scale': {
    fid: (records) => curveFromRecords(records, { title: 'FID against guidance', metric: 'fid', x: 'guidanceScale' }),
    front: (records) => paretoFromRecords(records, { title: 'FID and CLIP score over guidance scales', x: 'fid', y: 'clip-score', by: 'guidanceScale' }),
  },
  latency: { seconds: (records) => curveFromRecords(records, { title: 'Seconds per picture', metric: 'seconds-per-picture', x: 'steps', by: 'model' }) },
  'sampling-steps': { fid: (records) => curveFromRecords(records, { title: 'FID against sampling steps', metric: 'fid', x: 'steps' }) },
  synergy: {
    fid: (records) => barsFromRecords(records, { title: 'FID by arm, with and without documents', metric: 'fid', x: 'arm', by: 'interleaved' }),
    'fid-difference': (records) => differencesFromRecords(records, { title: 'FID: difference to joint', metric: 'fid', by: 'arm', against: 'joint', where: { interleaved: true } }),
    'vqa-difference': (records) => differencesFromRecords(records, { title: 'Open questions: difference to joint', metric: 'vqa-accuracy', by: 'arm', against: 'joint', where: { interleaved: true } }),
    'multiple-choice': (records) => barsFromRecords(records, { title: 'Circular multiple choice by arm', metric: 'mmbench-circular', protocol: likelihood, x: 'arm', by: 'interleaved' }),
  },
};
