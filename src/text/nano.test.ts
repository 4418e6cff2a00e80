import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Tokenizer } from '@huggingface/tokenizers';
import { random } from '../core/random.js';
import { multimodalTokens, NanoTokenizer, trainNanoTokenizer } from './nano.js';

const committed = NanoTokenizer.load(new URL('../../data/foundation/tokenizer.json', import.meta.url));
const reference = new Tokenizer(committed.json as unknown as Record<string, unknown>, {});

/** Words, spaces, digits, punctuation, other scripts and broken surrogates. */
function randomText(seed: number): string {
  const stream = random(seed, 'text');
  const pieces = ['a cat', ' dog', '  ', '\n', ' 12', '345', "it's", '...', ' é', '日本', ' 🍎', '👩‍🚀', '\t', 'USER:', 'Ġ', ' \u00a0', 'ß', 'A.', '<b>', '\u0007'];
  return Array.from({ length: 1 + stream.integer(12) }, () => (stream.uniform() < 0.7 ? stream.choice(pieces) : String.fromCodePoint(32 + stream.integer(0xd000)))).join('');
}

describe('the nano tokenizer', () => {
  test('has 2048 tokens: three control tokens, 256 bytes, 1781 merges, eight multimodal tokens', () => {
    assert.equal(committed.vocabSize, 2048);
    assert.equal(committed.json.model.merges.length, 1781);
    assert.deepEqual(['<unk>', '<s>', '</s>'].map((token) => committed.id(token)), [0, 1, 2]);
    assert.deepEqual(multimodalTokens.map((token) => committed.id(token)), [2040, 2041, 2042, 2043, 2044, 2045, 2046, 2047]);
  });

  test('encodes as @huggingface/tokenizers does from the same file', () => {
    for (let seed = 0; seed < 400; seed++) {
      const text = randomText(seed);
      assert.deepEqual(committed.encode(text), reference.encode(text, { add_special_tokens: false }).ids, JSON.stringify(text));
    }
    const marked = '<s>a cat<dream_start><im_patch><im_patch><dream_end> and <image></s>';
    assert.deepEqual(committed.encode(marked), reference.encode(marked, { add_special_tokens: false }).ids);
  });

  test('decodes what it encoded', () => {
    for (let seed = 0; seed < 400; seed++) assert.equal(committed.decode(committed.encode(randomText(seed))), randomText(seed));
  });

  test('leaves special tokens out of the text unless asked to keep them', () => {
    const ids = committed.encode('<s>a cat<dream_start></s>');
    assert.equal(committed.decode(ids), 'a cat');
    assert.equal(committed.decode(ids, { keepSpecial: true }), '<s>a cat<dream_start></s>');
  });

  test('gives common captions about one token a word', () => {
    const text = 'a flat picture of three red apples on a blue background';
    assert.ok(committed.encode(text).length <= text.split(' ').length + 2);
  });

  test('trains to the same tokenizer whatever the order of the texts', () => {
    const texts = ['the cat sat on the mat', 'the dog sat on the log', 'a cat and a dog and the log', 'mats and cats and dogs'];
    assert.deepEqual(trainNanoTokenizer(texts, 280).json, trainNanoTokenizer([...texts].reverse(), 280).json);
  });

  test('says when there is too little text, too few ids or an unknown token', () => {
    assert.throws(() => trainNanoTokenizer(['a b'], 400), /only \d+ merges of 133/);
    assert.throws(() => trainNanoTokenizer(['a b'], 100), /at least 267 ids, found 100/);
    assert.throws(() => committed.id('<video>'), /no special token "<video>"/);
    assert.throws(() => committed.decode([9999]), /9999 is outside the vocabulary of 2048/);
  });
});
