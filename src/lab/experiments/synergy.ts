import type { MainResult } from '../main-job.js';
import { measureComprehension, measureCreation } from '../measure-nano.js';
import type { DeclaredTable } from '../paper-tables.js';
import { synergyArmNames, synergyArms } from '../synergy.js';
import type { TrialRecord } from '../trial.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/**
 * The paper's line 6 adds a CLIP alignment loss to joint learning and finds that training collapses. It gives no formula and no weight: the loss is `alignmentLoss`,
 * the weight that of the language loss.
 */
const arms = { ...synergyArms, 'joint-alignment': { ...synergyArms.joint, alignment: 1 } };

type SynergyConfig = { arm: keyof typeof arms; interleaved: boolean };

/** Table 3: the losses of one task or of both, with and without interleaved documents, everything else equal. */
export const synergy = (options?: NanoOptions) =>
  nanoSweep<SynergyConfig>(
    {
      name: 'synergy',
      question: 'Does learning to draw help reading, and reading drawing? And what do interleaved documents add?',
      base: { arm: 'joint', interleaved: true },
      list: [...synergyArmNames.flatMap((arm) => [{ arm, interleaved: true }, { arm, interleaved: false }]), { arm: 'joint-alignment', interleaved: true }],
      seeds: [0, 1, 2, 3, 4],
      secondsPerTrial: 240,
      recipe({ arm, interleaved }) {
        const lossWeights = arms[arm];
        // Without documents the same number of updates is spent on what is left.
        return {
          changes: {
            'i-gpt': { lossWeights, ...(interleaved ? {} : { data: { pairs: 1 } }) },
            sft: { lossWeights, ...(interleaved ? {} : { data: { conversations: 80, pairs: 20 } }) },
          },
        };
      },
      measurements: {
        comprehension: { run: (subject, _config, how) => measureComprehension(subject, how) },
        creation: { run: (subject, _config, how) => measureCreation(subject, how) },
      },
    },
    options,
  );

const fid = { metric: 'fid', higherIsBetter: false } as const;
const vqa = { metric: 'vqa-accuracy', higherIsBetter: true } as const;

export const synergyTable: DeclaredTable = {
  sweeps: ['synergy', 'main-job'],
  title: 'Synergy',
  paperTable: 'table3_synergy_ablation',
  paperModel: '7B',
  projectModel: 'nano, emoji world',
  counterparts: [
    { label: 'creation-only', paper: { method: '1 Creation-only', benchmark: 'MS-COCO' }, where: { arm: 'creation-only', interleaved: false }, ...fid },
    { label: 'joint', paper: { method: '5 Joint-learning', benchmark: 'MS-COCO' }, where: { arm: 'joint', interleaved: true }, ...fid, against: 'creation-only' },
    { label: 'joint', paper: { method: '5 Joint-learning', benchmark: 'VQAv2' }, where: { arm: 'joint', interleaved: true }, ...vqa, against: 'comprehension-only' },
    { label: 'comprehension-only', where: { arm: 'comprehension-only', interleaved: false }, ...vqa },
    { label: 'creation-only, with documents', where: { arm: 'creation-only', interleaved: true }, ...fid },
    { label: 'comprehension-only, with documents', where: { arm: 'comprehension-only', interleaved: true }, ...vqa },
    { label: 'joint, without documents', where: { arm: 'joint', interleaved: false }, ...fid },
    { label: 'joint, without documents', where: { arm: 'joint', interleaved: false }, ...vqa },
    { label: 'joint with alignment', paper: { method: '6 Joint-learning + CLIP alignment loss', benchmark: 'MS-COCO' }, where: { arm: 'joint-alignment', interleaved: true }, ...fid, against: 'joint' },
    { label: 'joint with alignment', paper: { method: '6 Joint-learning + CLIP alignment loss', benchmark: 'VQAv2' }, where: { arm: 'joint-alignment', interleaved: true }, ...vqa, against: 'joint' },
  ],
};

/** The arms of a main job as records of a sweep with one seed, so that tables can be made before the sweep was run. */
export const mainJobRecords = ({ seed, arms, stages }: Pick<MainResult, 'seed' | 'arms' | 'stages'>): TrialRecord[] =>
  synergyArmNames.flatMap((arm) =>
    (['comprehension', 'creation'] as const).map((measurement) => ({
      sweep: 'main-job', trial: stages[arm].sft, config: { arm, interleaved: true }, seed, measurement, hash: stages[arm].sft, result: arms[arm][measurement], seconds: 0, worker: 'main job', token: 1,
    })),
  );
