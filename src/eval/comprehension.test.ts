import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { matchLetter, matchText, matchVlmEvalKit, rotations, scoreMmbench, type MmbenchRow } from './mmbench.js';
import { parseYesNo, popeScores } from './pope.js';
import { evalAiNormalize, groupMeans, normalizeDigitsArticles, normalizePunctuation, vqaAccuracy, type VqaItem } from './vqa.js';

const read = <T>(name: string) => JSON.parse(readFileSync(`data/fixtures/metrics/${name}.json`, 'utf8')) as T;
const close = (found: number, expected: number, tolerance = 1e-9) => assert.ok(Math.abs(found - expected) <= tolerance, `expected ${expected}, found ${found}`);

describe('VQA accuracy', () => {
  const stored = read<{
    items: { question_id: number; answers: string[]; prediction: string; question_type: string; answer_type: string }[];
    accuracy: { overall: number; perAnswerType: Record<string, number>; perQuestionType: Record<string, number> }; per_question: number[];
    normalisation: { text: string; after_punctuation: string; after_both: string }[];
    evalai: { accuracy: number; per_question: number[]; normalisation: { text: string; processed: string }[] };
    dreamllm_repository_variant: { accuracy: { overall: number }; per_question: number[] };
  }>('vqa');
  const items: VqaItem[] = stored.items.map((item) => ({ id: item.question_id, answers: item.answers, prediction: item.prediction, questionType: item.question_type, answerType: item.answer_type }));

  test('agrees with the official evaluation', () => {
    const { accuracy, perQuestion } = vqaAccuracy(items);
    perQuestion.forEach((value, i) => close(100 * value, stored.per_question[i], 0.005));
    close(100 * accuracy, stored.accuracy.overall, 0.005);
    const byType = groupMeans(perQuestion, items.map(({ answerType }) => answerType));
    for (const [type, value] of Object.entries(stored.accuracy.perAnswerType)) close(100 * byType[type].mean, value, 0.005);
  });

  test('normalises text step by step as the official evaluation does', () => {
    for (const { text, after_punctuation, after_both } of stored.normalisation) {
      assert.equal(normalizePunctuation(text), after_punctuation);
      assert.equal(normalizeDigitsArticles(normalizePunctuation(text)), after_both);
    }
  });

  test("agrees with both variants of the DreamLLM repository", () => {
    const evalai = vqaAccuracy(items, 'evalai');
    evalai.perQuestion.forEach((value, i) => close(value, stored.evalai.per_question[i], 1e-5));
    close(evalai.accuracy, stored.evalai.accuracy, 1e-5);
    for (const { text, processed } of stored.evalai.normalisation) assert.equal(evalAiNormalize(text), processed);
    const containment = vqaAccuracy(items, 'containment');
    containment.perQuestion.forEach((value, i) => close(100 * value, stored.dreamllm_repository_variant.per_question[i], 0.005));
    close(100 * containment.accuracy, stored.dreamllm_repository_variant.accuracy.overall, 0.005);
  });

  test('grows in steps of 0.3 with the number of equal answers', () => {
    for (const [k, expected] of [0, 0.3, 0.6, 0.9, 1, 1].entries()) {
      close(vqaAccuracy([{ id: k, answers: Array.from({ length: 10 }, (_, i) => (i < k ? 'yes' : `other${i}`)), prediction: 'yes' }]).accuracy, expected);
    }
  });

  test('refuses a question with a single answer by its id', () => {
    assert.throws(() => vqaAccuracy([{ id: 12, answers: ['yes'], prediction: 'yes' }]), /question 12/);
  });
});

describe('POPE', () => {
  const stored = read<{
    items: { label: 'yes' | 'no'; answer: string; parsed: 'yes' | 'no' }[];
    TP: number; FP: number; TN: number; FN: number; acc: number; precision: number; recall: number; f1: number; yes_ratio: number;
  }>('pope');

  test('reads answers and scores as the reference', () => {
    for (const { answer, parsed } of stored.items) assert.equal(parseYesNo(answer), parsed, answer);
    const scores = popeScores(stored.items.map(({ label }) => label), stored.items.map(({ answer }) => parseYesNo(answer)));
    assert.deepEqual([scores.truePositives, scores.falsePositives, scores.trueNegatives, scores.falseNegatives], [stored.TP, stored.FP, stored.TN, stored.FN]);
    close(scores.accuracy, stored.acc);
    close(scores.f1, stored.f1);
    close(scores.yesRatio, stored.yes_ratio);
  });

  test('has the ratios of its counts', () => {
    const repeat = (label: 'yes' | 'no', answer: 'yes' | 'no', n: number) => Array.from({ length: n }, () => [label, answer] as const);
    const cases = [...repeat('yes', 'yes', 40), ...repeat('no', 'yes', 10), ...repeat('no', 'no', 45), ...repeat('yes', 'no', 5)];
    const { accuracy, precision, recall, f1, yesRatio } = popeScores(cases.map(([label]) => label), cases.map(([, answer]) => answer));
    close(accuracy, 0.85);
    close(precision, 0.8);
    close(recall, 0.8888888889);
    close(f1, 0.8421052632);
    close(yesRatio, 0.5);
  });

  test('does not take "notice" for a no', () => assert.equal(parseYesNo('You may notice a dog'), 'yes'));
});

describe('MMBench', () => {
  const options = { A: 'cat', B: 'dog', C: 'red car', D: 'blue car' };
  const answers: [string, string | null][] = [
    ['A', 'A'], ['B.', 'B'], ['(C)', 'C'], ['The answer is D', 'D'], ['The correct answer is **B**. Here is why: A is wrong and C is wrong.', 'B'],
    ['A cat sits there', 'A'], ['dog', 'B'], ['It is a red car', 'C'], ['A photo of a dog', 'B'], ['B: dog', 'B'], ['Answer: C', 'C'], ['Z', 'Z'],
    ["Sorry, I can't help with images of people yet.", 'Z'], ['I think B or C', null], ['', null], ['a cat or a dog', null],
    ['B is what I would choose here after looking at this picture for quite a while', null],
  ];
  for (const [prediction, expected] of answers) {
    test(`reads ${JSON.stringify(prediction)} as ${expected}`, () => assert.equal(matchVlmEvalKit(prediction, options), expected));
  }

  test('keeps letter and text matching apart', () => {
    assert.equal(matchLetter('dog', options), null);
    assert.equal(matchText('(B)', options), null);
    assert.equal(matchText('a DOG', options), 'B');
  });

  interface Item { index: number; A: string; B: string; C?: string; D?: string; answer: string; prediction: string; category: string; extracted: string | null }
  const stored = read<{ items: Item[]; circular_hit: Record<string, number>; circular_accuracy: number; circular_accuracy_per_category: Record<string, number>; vanilla_accuracy_first_roll: number }>('mmbench');
  const rows: MmbenchRow[] = stored.items.map((item) => ({
    index: item.index, question: '?', answer: item.answer, category: item.category,
    options: Object.fromEntries((['A', 'B', 'C', 'D'] as const).filter((letter) => item[letter] != null).map((letter) => [letter, item[letter]!])),
  }));
  const predictions = new Map(stored.items.map((item) => [item.index, item.prediction]));

  test('agrees with VLMEvalKit on extraction, circular and vanilla accuracy', () => {
    const result = scoreMmbench(rows, predictions);
    for (const { index, extracted } of stored.items) assert.equal(result.extracted.get(index), extracted, `index ${index}`);
    for (const { index, circular } of result.perQuestion) assert.equal(circular, stored.circular_hit[index] === 1, `question ${index}`);
    close(result.circular.accuracy, stored.circular_accuracy);
    close(result.vanilla.accuracy, stored.vanilla_accuracy_first_roll);
    for (const [category, accuracy] of Object.entries(stored.circular_accuracy_per_category)) close(result.abilities.l3[category].accuracy, accuracy);
    assert.equal(result.unparsed.n, stored.items.filter(({ extracted }) => extracted === null).length);
  });

  test('counts abilities by level', () => {
    const l2 = ['coarse_perception', 'logic_reasoning'];
    const two = l2.map((l2Category, index) => ({ index, question: '?', options: { A: 'yes', B: 'no' }, answer: 'A', category: `c${index}`, l2Category }));
    const { abilities, letters } = scoreMmbench(two, new Map([[0, 'A'], [1, 'B']]));
    assert.deepEqual(Object.keys(abilities.l1), ['perception', 'reasoning']);
    assert.equal(abilities.l1.perception.accuracy, 1);
    assert.equal(abilities.l2.logic_reasoning.hits, 0);
    assert.deepEqual(letters.B, { answered: 1, correct: 0 });
  });

  test('turns options as the official files do', () => {
    const turned = rotations({ index: 5, question: '?', options: { A: 'a', B: 'b', C: 'c', D: 'd' }, answer: 'B' });
    assert.deepEqual(turned.map(({ index, answer }) => [index, answer]), [[5, 'B'], [1000005, 'C'], [2000005, 'D'], [3000005, 'A']]);
    assert.deepEqual(Object.values(turned[1].options), ['d', 'a', 'b', 'c']);
    for (const row of turned) assert.equal(row.options[row.answer], 'b');
  });

  test('refuses missing, unknown, doubled and orphaned rows by index', () => {
    const row = { index: 3, question: '?', options: { A: 'a', B: 'b' }, answer: 'A' };
    assert.throws(() => scoreMmbench([row], new Map()), /1 of 1 rows have no prediction, first index 3/);
    assert.throws(() => scoreMmbench([row], new Map([[3, 'A'], [4, 'A']])), /index 4 belongs to no row/);
    assert.throws(() => scoreMmbench([row, row], new Map([[3, 'A']])), /index 3 occurs twice/);
    assert.throws(() => scoreMmbench([{ ...row, index: 1000003 }], new Map([[1000003, 'A']])), /rotation of 3, which is not in the file/);
    assert.throws(() => scoreMmbench([{ ...row, answer: 'C' }], new Map([[3, 'A']])), /answer "C" but the options A, B/);
  });
});
