import { optionLikelihood } from '../../eval/nano/index.js';
import type { Finding } from '../findings.js';

const fid: Finding = { metric: 'fid', title: 'FID', better: 'lower' };
const clipScore: Finding = { metric: 'clip-score', title: 'CLIP score', better: 'higher' };
const identification: Finding = { metric: 'identification', title: 'object of ten', better: 'higher' };
const promptLoss: Finding = { metric: 'diffusion-loss', title: 'diffusion loss', better: 'lower' };
const questions: Finding = { metric: 'vqa-accuracy', title: 'open questions', better: 'higher' };
const captions: Finding = { metric: 'cider-d', title: 'CIDEr-D', better: 'higher' };
const choices: Finding = { metric: 'mmbench-circular', title: 'multiple choice', protocol: { matcher: optionLikelihood, picture: true }, better: 'higher' };
const drawing = [fid, clipScore, identification];
const both = [choices, questions, captions, ...drawing, promptLoss];

/** What is told of each sweep, by its name. */
export const sweepFindings: Readonly<Record<string, readonly Finding[]>> = {
  'best-of-k': drawing,
  'clip-regression': drawing,
  'comprehension-creation-ratio': both,
  'data-noise': both,
  'document-pictures': [
    fid, identification,
    { metric: 'clip-match', title: 'CLIP score above other sentences', protocol: { captionPolicy: 'the matched sentence' }, better: 'higher' },
    { metric: 'clip-match', title: 'CLIP score above other captions', protocol: { captionPolicy: 'full caption' }, better: 'higher' },
  ],
  'dream-queries': both,
  'few-shot': [questions],
  'guidance-scale': drawing,
  'in-context': [identification, { metric: 'ground-identification', title: 'ground of ten', better: 'higher' }, { metric: 'ink-identification', title: 'ink of eight', better: 'higher' }],
  'language-retention': [{ metric: 'definition-accuracy', title: 'definitions', better: 'higher' }, { metric: 'log-likelihood-per-token', title: 'log-likelihood a token', better: 'higher' }],
  'language-scale': [{ metric: 'language-perplexity', title: 'perplexity before stage I', better: 'lower' }, ...both],
  latency: [{ metric: 'seconds-per-picture', title: 'seconds a picture', better: 'lower' }],
  'many-images': [{ metric: 'dream-token-f1', title: 'F1 of placed pictures', better: 'higher' }],
  'query-microscope': [
    { metric: 'effective-rank', title: 'effective rank' }, { metric: 'prompt-share', title: 'share of the prompt', better: 'higher' },
    { metric: 'query-ablation', title: 'rise of the loss without a query', protocol: { how: 'zero' } },
  ],
  'rewrite-then-generate': drawing,
  'sampling-steps': drawing,
  synergy: both,
  'training-length': both,
};
