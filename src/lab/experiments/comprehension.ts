import type { DeclaredTable } from '../paper-tables.js';

const joint = { where: { arm: 'joint', interleaved: true }, higherIsBetter: true } as const;
const dreamllm = { method: 'DreamLLM-7B' } as const;

/** Tables 1, 5 and 7 show levels of one model: what the joint arm of the synergy sweep measures stands beside them, and no trend is judged. */
export const comprehensionTables: readonly DeclaredTable[] = [
  {
    sweeps: ['synergy', 'main-job'], title: 'Comprehension', paperTable: 'table1_comprehension', paperModel: '7B', projectModel: 'nano, emoji world',
    counterparts: [
      { label: 'captions', paper: { ...dreamllm, benchmark: 'COCO' }, metric: 'cider-d', ...joint },
      { label: 'open questions', paper: { ...dreamllm, benchmark: 'VQAv2' }, metric: 'vqa-accuracy', ...joint },
      { label: 'multiple choice', paper: { ...dreamllm, benchmark: 'MMBench' }, metric: 'mmbench-circular', protocol: { matcher: 'log-likelihood of the letters', picture: true }, ...joint },
    ],
  },
];
