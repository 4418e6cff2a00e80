import { wilson } from './statistics.js';
import { measurement, type Measurement, type Protocol } from './protocol.js';

/** Sum of the log-probabilities of the continuation's tokens after the prompt. */
export type LogLikelihood = (prompt: string, continuation: string) => Promise<number>;

/** A question as candidates to be compared. `normalizer` divides a candidate's log-likelihood. */
export interface Choice {
  readonly candidates: readonly { readonly prompt: string; readonly continuation: string; readonly normalizer?: number }[];
  /** Index of the right candidate. */
  readonly answer: number;
}

/** A row of a data set, as its JSON Lines or CSV hold it. */
export type Row = Readonly<Record<string, unknown>>;

/** How a task turns rows into choices, with the prompts of the DreamLLM repository's language evaluation. */
export interface LanguageTask {
  readonly name: string;
  readonly prompt: string;
  choice(row: Row, examples: readonly Row[]): Choice;
}

export const languageTasks = {
  piqa: {
    name: 'PIQA',
    prompt: 'Question: … Answer:',
    choice: (row) => ({
      candidates: [text(row, 'sol1'), text(row, 'sol2')].map((solution) => ({ prompt: `Question: ${text(row, 'goal')}\nAnswer:`, continuation: ` ${solution}` })),
      answer: integer(row, 'label', 0, 1),
    }),
  },
  siqa: {
    name: 'SIQA',
    prompt: 'Read the context. Choose A, B or C …',
    choice: (row) => {
      const options = ['A', 'B', 'C'].map((letter) => `${letter}. ${text(row, `answer${letter}`)}`).join('\n');
      const prompt = `Read the context. Choose A, B or C to answer the question.\nContext: ${text(row, 'context')}\nQuestion: ${text(row, 'question')}\n${options}\nAnswer:`;
      return { candidates: ['A', 'B', 'C'].map((letter) => ({ prompt, continuation: ` ${letter}` })), answer: integer(row, 'label', 1, 3) - 1 };
    },
  },
  hellaswag: {
    name: 'HellaSwag',
    prompt: 'context, endings by log-likelihood a character',
    choice: (row) => ({
      candidates: list(row, 'endings').map((ending) => ({ prompt: text(row, 'ctx'), continuation: ` ${ending}`, normalizer: Math.max(1, ending.length) })),
      answer: integer(row, 'label', 0, list(row, 'endings').length - 1),
    }),
  },
  winogrande: {
    name: 'WinoGrande',
    prompt: 'text after the blank, given each option in it',
    choice: (row) => {
      const parts = text(row, 'sentence').split('_');
      if (parts.length !== 2) throw new Error(`expected one blank "_" in the sentence, found ${parts.length - 1}`);
      return {
        candidates: [text(row, 'option1'), text(row, 'option2')].map((option) => ({ prompt: parts[0] + option, continuation: parts[1] })),
        answer: integer(row, 'answer', 1, 2) - 1,
      };
    },
  },
  boolq: {
    name: 'BoolQ',
    prompt: 'Choose yes or no to answer the question.',
    choice: (row) => ({
      candidates: ['No', 'Yes'].map((answer) => ({
        prompt: `${text(row, 'passage')}\nChoose yes or no to answer the question.\nQuestion: ${text(row, 'question')}?\nAnswer:`.replace(/\?+\n/, '?\n'), continuation: ` ${answer}`,
      })),
      answer: boolean(row, 'answer') ? 1 : 0,
    }),
  },
  mmlu: {
    name: 'MMLU',
    prompt: 'questions with examples before, letters A to D',
    choice: (row, examples) => {
      const options = 'ABCD'.split('');
      const ask = (of: Row) => `${text(of, 'question')}\n${options.map((letter) => `${letter}. ${text(of, letter)}`).join('\n')}\nAnswer:`;
      const letter = (of: Row) => {
        const answer = text(of, 'answer');
        if (!options.includes(answer)) throw new Error(`expected the answer A, B, C or D, found "${answer}"`);
        return answer;
      };
      const subject = typeof row.subject === 'string' ? ` about ${row.subject.replaceAll('_', ' ')}` : '';
      const before = examples.map((example) => `${ask(example)} ${letter(example)}\n\n`).join('');
      const prompt = `The following are multiple choice questions (with answers)${subject}.\n\n${before}${ask(row)}`;
      return { candidates: options.map((option) => ({ prompt, continuation: ` ${option}` })), answer: options.indexOf(letter(row)) };
    },
  },
} satisfies Record<string, LanguageTask>;

/** Accuracy of choosing the candidate with the highest log-likelihood. `examples` are shown before each question, where the task has that. */
export async function scoreLanguageTask(
  task: LanguageTask, rows: readonly Row[], score: LogLikelihood, protocol: Protocol = {}, examples: readonly Row[] = [],
): Promise<Measurement<{ chosen: number[]; answers: number[] }>> {
  if (rows.length === 0) throw new Error(`${task.name}: expected at least one question, found none.`);
  const chosen: number[] = [];
  const answers: number[] = [];
  for (const [i, row] of rows.entries()) {
    let choice: Choice;
    try {
      choice = task.choice(row, examples);
    } catch (error) {
      throw new Error(`${task.name}, row ${i}: ${(error as Error).message}.`);
    }
    const values: number[] = [];
    for (const { prompt, continuation, normalizer = 1 } of choice.candidates) values.push((await score(prompt, continuation)) / normalizer);
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new Error(`${task.name}, row ${i}: the log-likelihood of candidate ${wrong} is ${values[wrong]}.`);
    chosen.push(values.indexOf(Math.max(...values)));
    answers.push(choice.answer);
  }
  const hits = chosen.filter((index, i) => index === answers[i]).length;
  return measurement({
    metric: `${task.name} accuracy`, value: hits / rows.length, n: rows.length, ci: wilson(hits, rows.length),
    protocol: { ...protocol, dataset: task.name, size: rows.length, prompt: task.prompt, shots: examples.length, matcher: 'log-likelihood' },
    details: { chosen, answers },
  });
}

function text(row: Row, field: string): string {
  const value = row[field];
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'string' || value === '') throw new Error(`expected text in "${field}", found ${JSON.stringify(value)}`);
  return value;
}

function list(row: Row, field: string): string[] {
  const value = row[field];
  if (!Array.isArray(value) || value.length < 2 || value.some((item) => typeof item !== 'string')) throw new Error(`expected a list of texts in "${field}", found ${JSON.stringify(value)}`);
  return value as string[];
}

function integer(row: Row, field: string, low: number, high: number): number {
  const value = typeof row[field] === 'string' && row[field] !== '' ? Number(row[field]) : row[field];
  if (!Number.isInteger(value) || (value as number) < low || (value as number) > high) throw new Error(`expected ${low} to ${high} in "${field}", found ${JSON.stringify(row[field])}`);
  return value as number;
}

function boolean(row: Row, field: string): boolean {
  const value = row[field];
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new Error(`expected true or false in "${field}", found ${JSON.stringify(value)}`);
}
