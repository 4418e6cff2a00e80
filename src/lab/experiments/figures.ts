import { optionLikelihood } from '../../eval/nano/index.js';
import {
  abilitiesFromRecords, barsFromRecords, curveFromRecords, differencesFromRecords, lossesFromRecords, paretoFromRecords, queryMapsFromRecords, samplesFromRecords,
} from '../figures/from-records.js';
import type { Figure } from '../figures/figure.js';
import { contextTasks } from '../../data/subjects.js';
import type { TrialRecord } from '../trial.js';

type Draw = (records: readonly TrialRecord[]) => Figure;

const likelihood = { matcher: optionLikelihood, picture: true } as const;

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
  'clip-regression': {
    fid: (records) => barsFromRecords(records, { title: 'FID by what the queries learn from', metric: 'fid', x: 'objective' }),
    'fid-difference': (records) => differencesFromRecords(records, { title: 'FID: difference to the diffusion loss', metric: 'fid', by: 'objective', against: 'raw-space' }),
    identification: (records) => barsFromRecords(records, { title: 'Objects recognised, by what the queries learn from', metric: 'identification', x: 'objective' }),
  },
  'comprehension-creation-ratio': bothTasks('dose', 'equal'),
  'data-noise': bothTasks('noise'),
  'document-pictures': {
    fid: (records) => barsFromRecords(records, { title: 'FID of the pictures of documents', metric: 'fid', x: 'from' }),
    'fid-difference': (records) => differencesFromRecords(records, { title: 'FID: difference to the whole document', metric: 'fid', by: 'from', against: 'document' }),
    samples: (records) => samplesFromRecords(records, { title: 'Pictures of documents', by: 'from' }),
  },
  'dream-queries': bothTasks('numDreamQueries'),
  'few-shot': { 'vqa-accuracy': (records) => curveFromRecords(records, { title: 'Open questions against solved examples', metric: 'vqa-accuracy', x: 'shots', by: 'answers' }) },
  'guidance-scale': {
    fid: (records) => curveFromRecords(records, { title: 'FID against guidance', metric: 'fid', x: 'guidanceScale' }),
    front: (records) => paretoFromRecords(records, { title: 'FID and CLIP score over guidance scales', x: 'fid', y: 'clip-score', by: 'guidanceScale' }),
    samples: (records) => samplesFromRecords(records, { title: 'The same noise at each guidance scale', by: 'guidanceScale' }),
  },
  'in-context': Object.fromEntries(
    contextTasks.flatMap((task) => {
      const where = { trained: 'in-context', task };
      return [
        [`${task}-identification`, (records) => barsFromRecords(records, { title: `Subject kept, ${task}`, metric: 'identification', x: 'given', by: 'trained', where: { task } })],
        [`${task}-difference`, (records) => differencesFromRecords(records, { title: `Subject kept, ${task}: difference to its own picture`, metric: 'identification', by: 'given', against: 'own', where })],
        [`${task}-samples`, (records) => samplesFromRecords(records, { title: `${task}, by the given picture`, metric: 'identification', by: 'given', where })],
      ] as [string, Draw][];
    }),
  ),
  'language-retention': {
    definitions: (records) => barsFromRecords(records, { title: 'Definitions told apart before and after pictures', metric: 'definition-accuracy', x: 'stage' }),
    likelihood: (records) => barsFromRecords(records, { title: 'Log-likelihood a token of held-out English', metric: 'log-likelihood-per-token', x: 'stage' }),
  },
  'language-scale': {
    ...bothTasks('scale'),
    perplexity: (records) => curveFromRecords(records, { title: 'Held-out perplexity of the pretrained language models', metric: 'language-perplexity', x: 'scale' }),
  },
  latency: { seconds: (records) => curveFromRecords(records, { title: 'Seconds per picture', metric: 'seconds-per-picture', x: 'steps', by: 'model' }) },
  'many-images': { placement: (records) => curveFromRecords(records, { title: 'Pictures placed right against pictures in the document', metric: 'dream-token-f1', x: 'pictures', by: 'trained' }) },
  'query-microscope': {
    maps: (records) => queryMapsFromRecords(records, { where: { stage: 'sft' } }),
    rank: (records) => barsFromRecords(records, { title: 'Effective rank of the conditions of one prompt', metric: 'effective-rank', x: 'stage' }),
    'prompt-share': (records) => barsFromRecords(records, { title: 'Share of the conditions that the prompt makes', metric: 'prompt-share', x: 'stage' }),
    ablation: (records) => barsFromRecords(records, { title: 'Rise of the loss without one query', metric: 'query-ablation', protocol: { how: 'zero' }, x: 'stage' }),
  },
  'rewrite-then-generate': {
    fid: (records) => barsFromRecords(records, { title: 'FID by the way from prompt to picture', metric: 'fid', x: 'pipeline' }),
    'fid-difference': (records) => differencesFromRecords(records, { title: 'FID: difference to end to end', metric: 'fid', by: 'pipeline', against: 'end-to-end' }),
    samples: (records) => samplesFromRecords(records, { title: 'The same prompts and noise', by: 'pipeline' }),
  },
  'sampling-steps': { fid: (records) => curveFromRecords(records, { title: 'FID against sampling steps', metric: 'fid', x: 'steps' }) },
  synergy: {
    fid: (records) => barsFromRecords(records, { title: 'FID by arm, with and without documents', metric: 'fid', x: 'arm', by: 'interleaved' }),
    'fid-difference': (records) => differencesFromRecords(records, { title: 'FID: difference to joint', metric: 'fid', by: 'arm', against: 'joint', where: { interleaved: true } }),
    'vqa-difference': (records) => differencesFromRecords(records, { title: 'Open questions: difference to joint', metric: 'vqa-accuracy', by: 'arm', against: 'joint', where: { interleaved: true } }),
    abilities: (records) => abilitiesFromRecords(records, { title: 'Abilities by arm, circular accuracy', by: 'arm', where: { interleaved: true }, protocol: likelihood }),
    'multiple-choice': (records) => barsFromRecords(records, { title: 'Circular multiple choice by arm', metric: 'mmbench-circular', protocol: likelihood, x: 'arm', by: 'interleaved' }),
  },
  'training-length': {
    'multiple-choice': (records) => curveFromRecords(records, { title: 'Circular multiple choice against steps of stage III', metric: 'mmbench-circular', protocol: likelihood, x: 'steps' }),
    ...bothTasks('steps'),
    'language-loss': (records) => lossesFromRecords(records, { title: 'Language loss of the last stage', by: 'share', loss: 'lm' }),
    'diffusion-loss': (records) => lossesFromRecords(records, { title: 'Diffusion loss of the last stage', by: 'share', loss: 'diffusion' }),
  },
};
