import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { bleu, ciderD, rougeL, type CaptionPair } from './captions.js';
import { captionTokens } from './ptb.js';

const close = (found: number, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected)), `expected ${expected}, found ${found}`);

interface Stored {
  references: Record<string, string[]>; candidates: Record<string, string[]>; order: string[];
  bleu: number[]; bleu_per_image: Record<string, number[]>; cider: number; cider_per_image: number[]; rouge_l: number; rouge_l_per_image: number[];
}
const stored = JSON.parse(readFileSync('data/fixtures/metrics/captions.json', 'utf8')) as Stored;
const pairs: CaptionPair[] = stored.order.map((id) => ({ id, candidate: stored.candidates[id][0].split(' '), references: stored.references[id].map((text) => text.split(' ')) }));

describe('caption metrics', () => {
  test('agree with pycocoevalcap on BLEU', () => {
    const { corpus, perImage } = bleu(pairs);
    corpus.forEach((value, i) => close(value, stored.bleu[i]));
    for (let order = 0; order < 4; order++) perImage.forEach((values, i) => close(values[order], stored.bleu_per_image[`bleu_${order + 1}`][i]));
  });

  test('agree with pycocoevalcap on ROUGE-L', () => {
    const { mean, perImage } = rougeL(pairs);
    close(mean, stored.rouge_l);
    perImage.forEach((value, i) => close(value, stored.rouge_l_per_image[i]));
  });

  test('agree with pycocoevalcap on CIDEr-D', () => {
    const { mean, perImage } = ciderD(pairs);
    close(mean, stored.cider);
    perImage.forEach((value, i) => close(value, stored.cider_per_image[i]));
  });

  test('give the published scores of the two-picture example of CLIPScore', () => {
    // github.com/jmhessel/clipscore, example/
    const texts: [string, string[]][] = [
      ['an orange cat and a grey cat are lying together.',
        ['two cats are sleeping next to each other.', 'a grey cat is cuddling with an orange cat on a blanket.', 'the orange cat is happy that the black cat is close to it.']],
      ['a black dog wearing headphones looks at the camera as an orange cat walks in the background.',
        ['a dog is wearing ear muffs as it lies on a carpet.', 'a black dog and an orange cat are looking at the photographer.', 'headphones are placed on a dogs ears.']],
    ];
    const example = texts.map(([candidate, references], id) => ({ id, candidate: captionTokens(candidate), references: references.map(captionTokens) }));
    [0.6667, 0.4899, 0.3469, 0].forEach((value, i) => close(bleu(example).corpus[i], value, 5e-5));
    close(rougeL(example).mean, 0.428010485, 1e-9);
    const { mean, perImage } = ciderD(example);
    close(mean, 0.563741259, 1e-9);
    close(perImage[0], 0.507073217, 1e-9);
    close(perImage[1], 0.620409301, 1e-9);
  });

  test("give 0 CIDEr for one picture alone, as every n-gram is then in every document", () => {
    assert.equal(ciderD([{ id: 1, candidate: ['a', 'dog'], references: [['a', 'dog']] }]).mean, 0);
  });

  test('refuse a picture without references', () => {
    assert.throws(() => bleu([{ id: 7, candidate: ['a'], references: [] }]), /picture 7 has no reference/);
    assert.throws(() => rougeL([]), /found none/);
  });
});

describe('caption tokens', () => {
  const cases: [string, string][] = [
    ['A man, in a red T-shirt, rides a horse.', 'a man in a red t-shirt rides a horse'],
    ["It's the dog's ball; they don't care!", "it 's the dog 's ball they do n't care"],
    ['A sign that says "STOP" at 9:30 a.m.', 'a sign that says stop at 9:30 a.m.'],
    ['Two dogs -- one black - play...', 'two dogs one black play'],
    ['1,000 people & a $5 bill', '1,000 people & a $ 5 bill'],
    ['a cat (asleep)', 'a cat -lrb- asleep -rrb-'],
    ["the boys' hats cannot fit Mr. Smith", 'the boys hats can not fit mr. smith'],
    ['', ''],
  ];
  for (const [caption, expected] of cases) test(`of ${JSON.stringify(caption)} follow the Penn Treebank`, () => assert.equal(captionTokens(caption).join(' '), expected));
});
