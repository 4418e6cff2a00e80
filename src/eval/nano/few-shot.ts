import { random } from '../../core/random.js';
import { vqa } from '../../data/benchmarks.js';
import { prompts, shortPrompt } from '../../data/instructions.js';
import { questionAt } from '../../data/questions.js';
import type { Question } from '../../data/types.js';
import type { RgbImage } from '../../core/images.js';
import { rounds, type Template } from '../../dreamllm/conversation.js';
import type { Prompt } from '../../dreamllm/prompt.js';
import { measureVqa } from '../measure.js';
import { defaultTestSet, type CountOptions } from './comprehension.js';
import { continueAll, picture, type Subject } from './subject.js';

export interface FewShotOptions extends CountOptions {
  /** Solved examples before each question. */
  readonly shots?: number;
  /** `permuted`: the examples' answers are those of other questions of their kind, so that only form and answer words can be learned from them. */
  readonly answers?: 'true' | 'permuted';
}

/** Solved examples are taken from this many training questions. */
const poolSize = 600;

/**
 * Open questions with solved examples of the same kind in context, each a picture, a question and its answer as a round of the conversation. Training has one
 * picture a conversation, so that reading several is itself new.
 */
export async function measureFewShot(subject: Subject, options: FewShotOptions = {}): Promise<ReturnType<typeof measureVqa>> {
  const { shots = 0, answers = 'true', count = 200, testSet = defaultTestSet, signal } = options;
  const { config } = subject.model;
  const questions = vqa(testSet.seed, { split: testSet.split, axis: testSet.axis, count });
  const pool = Array.from({ length: shots > 0 ? poolSize : 0 }, (_, i) => questionAt(testSet.seed, i, { split: 'train' }));
  const asked = questions.map((question, i): Prompt => {
    const stream = random(testSet.seed, 'few-shot', i);
    const ofKind = pool.filter(({ category }) => category === question.category);
    const enough = ofKind.length > shots ? ofKind : pool;
    const examples = stream.shuffle([...enough]).slice(0, shots);
    const told = answers === 'true' ? examples : examples.map((example) => ({ ...example, answer: stream.choice(enough).answer }));
    return fewShotPrompt(told, question, config.template, config.vision.imageSize);
  });
  const texts = await continueAll(subject, asked, { maxNewTokens: 8, batchSize: shots > 1 ? 16 : 32, signal });
  const items = questions.map(({ index, answer, category }, i) => ({ id: index, answers: Array<string>(10).fill(answer), prediction: texts[i], questionType: category }));
  return measureVqa(items, 'evalai', {
    dataset: 'emoji VQA', split: `${testSet.split}, new ${testSet.axis}`, testSeed: testSet.seed, modelScale: subject.modelScale, resolution: config.vision.imageSize,
    answers: 'one, counted ten times', prompt: prompts.short, decoding: 'greedy', shots, ...(shots > 0 ? { examples: `training questions of the same kind, ${answers} answers` } : {}),
  });
}

/** A conversation whose earlier rounds are solved examples, up to where the answer begins. */
export function fewShotPrompt(
  examples: readonly Pick<Question, 'image' | 'question' | 'answer'>[], { image, question }: Pick<Question, 'image' | 'question'>, template: Template, side: number,
): Prompt {
  const turns = [...examples, { image, question, answer: '' }].flatMap((each) => [
    { from: 'human' as const, value: `<image>\n${shortPrompt(each.question)}` },
    { from: 'gpt' as const, value: each.answer },
  ]);
  const shown: (string | RgbImage)[] = [];
  rounds(turns, template).forEach(({ before, answer }, i, all) => {
    const [head, tail] = before.split('<image>');
    const isLast = i === all.length - 1;
    shown.push(head, picture(isLast ? image : examples[i].image, side), isLast ? tail : `${tail}${answer}</s>`);
  });
  return shown;
}
