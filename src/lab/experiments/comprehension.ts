import { optionLikelihood } from '../../eval/nano/index.js';
import type { DeclaredTable } from '../paper-tables.js';

const joint = { where: { arm: 'joint', interleaved: true }, higherIsBetter: true } as const;
const dreamllm = { method: 'DreamLLM-7B' } as const;
const common = { sweeps: ['synergy', 'main-job'], paperModel: '7B', projectModel: 'nano, emoji world' } as const;
const likelihood = { matcher: optionLikelihood, picture: true } as const;

const choice = (label: string, benchmark: string, ability?: string) => ({
  label, paper: { ...dreamllm, benchmark }, metric: 'mmbench-circular', protocol: likelihood, ...(ability ? { detail: ['abilities', 'l2', ability, 'accuracy'] } : {}), ...joint,
});

const pope = (split: 'Random' | 'Adversarial', metric: string, detail?: string) => ({
  label: `${split.toLowerCase()}, ${metric.toLowerCase()}`, paper: { ...dreamllm, benchmark: `POPE (COCO val2014) / ${split}`, metric },
  metric: 'pope-accuracy', protocol: { dataset: `emoji POPE, ${split.toLowerCase()}` }, ...(detail ? { detail: [detail] } : {}), ...joint,
});

/** Tables 1, 5 and 7 show levels of one model: what the joint arm of the synergy sweep measures stands beside them, and no trend is judged. */
export const comprehensionTables: readonly DeclaredTable[] = [
  {
    ...common, title: 'Comprehension', paperTable: 'table1_comprehension',
    counterparts: [
      { label: 'captions', paper: { ...dreamllm, benchmark: 'COCO' }, metric: 'cider-d', ...joint },
      { label: 'open questions', paper: { ...dreamllm, benchmark: 'VQAv2' }, metric: 'vqa-accuracy', ...joint },
      choice('multiple choice', 'MMBench'),
    ],
  },
  {
    ...common, title: 'Abilities', paperTable: 'table5_mmbench',
    counterparts: [
      choice('attribute reasoning', 'MMBench dev / AR (attribute reasoning)', 'attribute_reasoning'), choice('relation reasoning', 'MMBench dev / RR (relation reasoning)', 'relation_reasoning'),
      choice('overall', 'MMBench dev / Overall'),
    ],
  },
  {
    ...common, title: 'Numbers in the text', paperTable: 'text_numbers',
    counterparts: [choice('multiple choice', 'MMBench'), { label: 'pictures', paper: { ...dreamllm, benchmark: 'MS-COCO', metric: 'FID (zero-shot)' }, metric: 'fid', ...joint, higherIsBetter: false }],
  },
  {
    ...common, title: 'Hallucination', paperTable: 'table7_pope',
    counterparts: [
      pope('Random', 'Accuracy'), pope('Random', 'Precision', 'precision'), pope('Random', 'Recall', 'recall'), pope('Random', 'F1', 'f1'), pope('Random', 'Yes ratio', 'yesRatio'),
      pope('Adversarial', 'Accuracy'), pope('Adversarial', 'F1', 'f1'),
    ],
  },
];
