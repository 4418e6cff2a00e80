import { compare, type ComparisonTable } from './comparison.js';
import { type PaperValue, paperValues } from './paper.js';
import type { CellState, PaperComparison, TableRow } from './tables.js';
import type { TrialRecord } from './trial.js';

/** What of one table of the paper a sweep of this project answers. */
export interface DeclaredTable extends ComparisonTable {
  /** Names of the sweeps whose records count. The first of them that has any is taken, so that no number is counted twice. */
  sweeps: readonly string[];
}

/** Tables that hold settings of a training: there is nothing to measure. */
const settingTables = ['table13_training_recipe', 'released_code_settings'];

/** Why values of a table have no counterpart here, beside those of other models, which this project does not run. */
const unanswered: Readonly<Record<string, string>> = {
  table1_comprehension: 'Image2Paragraph, OKVQA, VizWiz, TextVQA and MM-Vet have no counterpart in the emoji world; the second training of DreamLLM* is not repeated.',
  table2_text2image_fid: 'LN-COCO has long texts, which the emoji world does not.',
  table3_synergy_ablation: 'MM-Vet needs a judge. Lines 2 to 4 of the paper could not be read.',
  table4_language: 'PIQA, WinoGrande, BoolQ and MMLU are beyond a language model of the emoji world. `metrics.scoreLanguageTask` scores them where their files are.',
  table5_mmbench: 'The second training of DreamLLM* is not repeated.',
  table6_mmvet: 'MM-Vet needs GPT-4 as judge. `dreamllm eval mmvet` takes any judge and shows how far its calls differ.',
  table13_training_recipe: 'Settings, shown beside nano\'s by `stagesTable`.',
  released_code_settings: 'Settings, shown beside the paper\'s and nano\'s by `stagesTable`.',
  external_replication: 'Results of another group\'s training with other backbones. Nothing here stands against them.',
  text_numbers: 'Numbers that the tables hold too are answered there. People\'s judgements and counts of data are not measured here.',
};

/**
 * One table of the paper in full, each printed value a row, with this project's counterpart beside it where one is declared and its sweep was
 * run. Nothing is left out: a value without a counterpart says that it was not run.
 */
export function paperComparison(name: string, declared: readonly DeclaredTable[], records: readonly TrialRecord[]): PaperComparison {
  const printed = paperValues(name);
  const compared = declared.filter(({ paperTable }) => paperTable === name).map((table) => ({ table, made: compare(table, recordsOf(table, records)) }));
  const placed = new Map<PaperValue, TableRow>();
  const further: TableRow[] = [];
  for (const { table, made } of compared) {
    table.counterparts.forEach(({ paper }, i) => {
      const value = paper && printed.find((each) => Object.entries(paper).every(([key, wanted]) => each[key as keyof PaperValue] === wanted));
      const row = made.rows[i];
      if (!value) further.push(row);
      else if (placed.has(value)) throw new Error(`${name}: "${row.label}" and another counterpart stand for one printed value. Name method, benchmark and metric.`);
      else placed.set(value, { ...row, label: labelOf(value), metric: value.metric === row.metric ? row.metric : `${value.metric}; here ${row.metric}` });
    });
  }
  const state: CellState = settingTables.includes(name) ? 'setting, not a result' : 'not run';
  const rows = printed.map((value): TableRow => placed.get(value) ?? { label: labelOf(value), metric: value.metric, paper: { value: value.value, confidence: value.confidence }, state });
  return {
    title: titleOf(name, printed),
    paperModel: 'as printed',
    projectModel: compared[0]?.table.projectModel ?? 'nano',
    rows: [...rows, ...further],
    notes: [...compared.flatMap(({ table, made }) => [...made.notes.map((note) => (compared.length > 1 ? `${table.title}: ${note}` : note))]), ...(unanswered[name] ? [unanswered[name]] : [])],
  };
}

function recordsOf({ sweeps }: DeclaredTable, records: readonly TrialRecord[]): TrialRecord[] {
  const name = sweeps.find((each) => records.some(({ sweep }) => sweep === each));
  return records.filter(({ sweep }) => sweep === name);
}

const labelOf = ({ method, benchmark }: PaperValue): string => (benchmark ? `${method}, ${benchmark}` : method);

function titleOf(name: string, [first]: readonly PaperValue[]): string {
  const words = name.replace(/^table\d+[a-z]?_/, '').replaceAll('_', ' ');
  return /^table/.test(name) ? `${first.table}: ${words}` : words;
}
