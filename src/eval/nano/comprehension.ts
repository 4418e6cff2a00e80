import { captioning, mmbench, pope, popeSplits, rotations, vqa, type PopeSplit } from '../../data/benchmarks.js';
import { choicePrompt, prompts, shortPrompt } from '../../data/instructions.js';
import type { Axis, Question, Split } from '../../data/types.js';
import { questionPrompt } from '../../dreamllm/comprehend.js';
import type { Prompt } from '../../dreamllm/prompt.js';
import { measureCaptions, measureMmbench, measurePope, measureVqa } from '../measure.js';
import type { MmbenchRow } from '../mmbench.js';
import type { Measurement, Protocol } from '../protocol.js';
import { captionTokens } from '../ptb.js';
import { mean } from '../statistics.js';
import { continueAll, logProbabilities, picture, type Subject } from './subject.js';

/** What a test set is drawn from; the seed is that of the test, not of the model. */
export interface TestSet {
  readonly split: Split;
  readonly axis: Axis;
  readonly seed: number;
}

export const defaultTestSet: TestSet = { split: 'test', axis: 'cell', seed: 20230911 };

const common = (subject: Subject, { split, axis, seed }: TestSet): Protocol => ({
  dataset: 'emoji world', split: `${split}, new ${axis}`, testSeed: seed, modelScale: subject.modelScale, resolution: subject.model.config.vision.imageSize,
});

/** Asks questions about their pictures in the model's conversation template, and answers greedily. */
const ask = (subject: Subject, questions: readonly Asked[], maxNewTokens: number, signal?: AbortSignal): Promise<string[]> =>
  continueAll(subject, questions.map((each) => promptOf(subject, each)), { maxNewTokens, signal });

interface Asked {
  readonly image: string;
  readonly text: string;
}

const promptOf = ({ model: { config } }: Subject, { image, text }: Asked, blind = false): Prompt =>
  questionPrompt(blind ? [] : [picture(image, config.vision.imageSize)], text, config.template);

const letters = [...'ABCD'];

function rowOf(question: Question): MmbenchRow {
  const options = Object.fromEntries((question.options ?? []).map((text, i) => [letters[i], text]));
  return { index: question.index, question: question.question, hint: question.hint, options, answer: question.answer, category: question.category, l2Category: question['l2-category'] };
}

export interface ChoiceOptions {
  /** Questions of each of the 20 abilities. */
  readonly perAbility?: number;
  readonly testSet?: TestSet;
  readonly signal?: AbortSignal;
}

type MmbenchMeasurement = ReturnType<typeof measureMmbench>;

export interface MultipleChoice {
  /** The option whose text is likeliest as the answer. */
  readonly likelihood: MmbenchMeasurement;
  /** What the model writes, read by VLMEvalKit's matcher. */
  readonly generated: MmbenchMeasurement;
  /** The likeliest option without the picture: what language and habit alone give. */
  readonly blind: MmbenchMeasurement;
}

/** The matcher of `likelihood` and `blind`, as protocols name it. */
export const optionLikelihood = 'log-likelihood of the options';

/** MMBench over the emoji world, circular, by two matchers, with the blind baseline. */
export async function measureMultipleChoice(subject: Subject, { perAbility = 6, testSet = defaultTestSet, signal }: ChoiceOptions = {}): Promise<MultipleChoice> {
  const questions = mmbench(testSet.seed, { split: testSet.split, axis: testSet.axis, perAbility }).flatMap(rotations);
  const rows = questions.map(rowOf);
  const asked = questions.map(({ image, question, options, hint }) => ({ image, text: choicePrompt(question, options!, hint) }));
  const texts = await ask(subject, asked, 8, signal);

  const likeliest = async (blind: boolean) => {
    const candidates = rows.flatMap(({ options }, i) => {
      const prompt = promptOf(subject, asked[i], blind);
      return Object.entries(options).map(([letter, text]) => ({ row: i, letter, prompt, answer: ` ${text}` }));
    });
    // The mean over the tokens, so that a long answer is not unlikely for its length.
    const scores = (await logProbabilities(subject, candidates, { signal })).map(mean);
    const best = new Map<number, { letter: string; score: number }>();
    candidates.forEach(({ row, letter }, i) => {
      if (!(scores[i] <= (best.get(row)?.score ?? -Infinity))) best.set(row, { letter, score: scores[i] });
    });
    return new Map(rows.map(({ index }, i) => [index, best.get(i)!.letter]));
  };
  const protocol = { ...common(subject, testSet), dataset: 'emoji MMBench', perAbility, prompt: prompts.choice };
  const measure = (answers: Map<number, string>, how: Protocol) => measureMmbench(rows, answers, 'vlmevalkit', { ...protocol, ...how });
  return {
    likelihood: measure(await likeliest(false), { matcher: optionLikelihood, picture: true }),
    generated: measure(new Map(rows.map(({ index }, i) => [index, texts[i]])), { matcher: 'vlmevalkit', decoding: 'greedy', picture: true }),
    blind: measure(await likeliest(true), { matcher: optionLikelihood, picture: false }),
  };
}

export interface CountOptions {
  readonly count?: number;
  readonly testSet?: TestSet;
  readonly signal?: AbortSignal;
}

/** Open questions with one short answer each, which stands for all ten annotators. */
export async function measureOpenQuestions(subject: Subject, { count = 200, testSet = defaultTestSet, signal }: CountOptions = {}): Promise<ReturnType<typeof measureVqa>> {
  const questions = vqa(testSet.seed, { split: testSet.split, axis: testSet.axis, count });
  const texts = await ask(subject, questions.map(({ image, question }) => ({ image, text: shortPrompt(question) })), 8, signal);
  const items = questions.map(({ index, answer, category }, i) => ({ id: index, answers: Array<string>(10).fill(answer), prediction: texts[i], questionType: category }));
  return measureVqa(items, 'evalai', { ...common(subject, testSet), dataset: 'emoji VQA', answers: 'one, counted ten times', prompt: prompts.short, decoding: 'greedy' });
}

export interface CaptionOptions extends CountOptions {
  /** `instruct`: asked for in a conversation; `plain`: written on behind the picture, for a model that was not tuned to talk. */
  readonly style?: 'instruct' | 'plain';
}

/** CIDEr-D of generated captions against all true captions of a scene. */
export async function measureCaptioning(subject: Subject, { count = 96, testSet = defaultTestSet, style = 'instruct', signal }: CaptionOptions = {}): Promise<Measurement<{ perImage: number[] | number[][]; examples: { caption: string; reference: string }[] }>> {
  const images = captioning(testSet.seed, { split: testSet.split, axis: testSet.axis, count });
  const side = subject.model.config.vision.imageSize;
  const texts = style === 'instruct'
    ? await ask(subject, images.map(({ image }) => ({ image, text: prompts.describe[0] })), 24, signal)
    : await continueAll(subject, images.map(({ image }) => [picture(image, side)]), { maxNewTokens: 24, signal });
  const pairs = images.map(({ references }, i) => ({ id: i, candidate: captionTokens(texts[i]), references: references.map(captionTokens) }));
  const measured = measureCaptions('cider', pairs, {
    ...common(subject, testSet), dataset: 'emoji captions', prompt: style === 'instruct' ? prompts.describe[0] : 'the picture alone', decoding: 'greedy', tokenizer: 'Penn Treebank rules',
  });
  return { ...measured, details: { perImage: measured.details!.perImage, examples: images.slice(0, 8).map(({ references: [reference] }, i) => ({ caption: texts[i], reference })) } };
}

/** POPE in its three splits; `count` questions each. */
export async function measureHallucination(subject: Subject, { count = 100, testSet = defaultTestSet, signal }: CountOptions = {}): Promise<Record<PopeSplit, ReturnType<typeof measurePope>>> {
  const sets = popeSplits.map((split) => ({ split, questions: pope(testSet.seed, split, { split: testSet.split, axis: testSet.axis, count }) }));
  const all = sets.flatMap(({ questions }) => questions);
  const texts = await ask(subject, all.map(({ image, text }) => ({ image, text: shortPrompt(text) })), 4, signal);
  let next = 0;
  const measured = sets.map(({ split, questions }) => {
    const items = questions.map(({ question_id, label }) => ({ id: String(question_id), label, answer: texts[next++], split }));
    return [split, measurePope(items, { ...common(subject, testSet), dataset: `emoji POPE, ${split}`, prompt: prompts.short, decoding: 'greedy' })] as const;
  });
  return Object.fromEntries(measured) as Record<PopeSplit, ReturnType<typeof measurePope>>;
}
