import llamaData from 'llama-tokenizer-js';
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { clipTextIds, clipTokenizer } from './clip.js';
import { llamaTokenizer, llamaVocabulary } from './llama.js';
import { readSentencePiece } from './sentencepiece.js';
import { loadTokenizer } from './load.js';

const texts = [
  'Hello world', 'grabbed', 'This is a test', ' Hello', '  Hello', 'a  b   c', 'naïve café', '日本語の文', 'مرحبا', 'नमस्ते', '👩‍👩‍👧 family', 'for (let i = 0; i < n; i++) {\n\tsum += x[i];\n}',
  'The quick brown fox. 1234567890',
];
const added = { '[PAD]': 32000, '<im_start>': 32001, '<dream_end>': 32002, '<dream_start>': 32003, '<im_patch>': 32004, '<im_end>': 32005, '<image>': 32006, '<dream>': 32007 };

describe('LLaMA tokenizer', () => {
  const tokenizer = llamaTokenizer(added);

  test('gives the published ids', () => {
    assert.deepEqual(tokenizer.encode('grabbed'), [2646, 1327, 287]);
    assert.deepEqual(tokenizer.encode('This is a test'), [910, 338, 263, 1243]);
    assert.deepEqual(tokenizer.encode('Hello'), [15043]);
    assert.deepEqual(tokenizer.encode(' Hello'), [29871, 15043]);
    assert.deepEqual(tokenizer.encode('  Hello'), [259, 15043]);
    assert.deepEqual(tokenizer.encode('Hello world'), [15043, 3186]);
  });

  test('agrees with the engine that its data come from, and reads back what it wrote', () => {
    for (const text of texts) {
      assert.deepEqual(tokenizer.encode(text), llamaData.encode(text, false), text);
      assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    }
  });

  test('knows the added tokens of a checkpoint, and begins texts behind them anew', () => {
    assert.equal(tokenizer.vocabSize, 32008);
    assert.equal(tokenizer.id('<dream_start>'), 32003);
    assert.deepEqual(tokenizer.encode('Hello<dream>Hello'), [15043, 32007, 15043]);
    assert.deepEqual(tokenizer.encode('</s>USER'), [2, ...tokenizer.encode('USER')]);
    assert.equal(tokenizer.decode([1, 15043, 32003, 2]), 'Hello');
    assert.equal(tokenizer.decode([15043, 32003], { keepSpecial: true }), 'Hello<dream_start>');
    assert.throws(() => tokenizer.id('<nothing>'), /no token "<nothing>"/);
  });

  test('comes the same from a tokenizer.model with added_tokens.json', () => {
    // The pieces of LLaMA's file: three control pieces, 256 bytes, then pieces with falling scores. Runs of spaces have the worst.
    const field = (number: number, bytes: Buffer) => Buffer.concat([Buffer.from([number * 8 + 2]), varint(bytes.length), bytes]);
    const varint = (value: number): Buffer => (value < 128 ? Buffer.from([value]) : Buffer.concat([Buffer.from([(value % 128) + 128]), varint(Math.floor(value / 128))]));
    const { tokens } = llamaVocabulary();
    const pieces = tokens.map((token, id) => {
      const score = Buffer.alloc(5);
      score[0] = 2 * 8 + 5;
      score.writeFloatLE(id < 259 ? 0 : /^▁▁+$/.test(token) ? -1e9 : 259 - id, 1);
      return field(1, Buffer.concat([field(1, Buffer.from(token)), score]));
    });
    const folder = mkdtempSync(join(tmpdir(), 'tokenizer-'));
    writeFileSync(join(folder, 'tokenizer.model'), Buffer.concat([...pieces, field(2, Buffer.from([3 * 8, 2]))]));
    writeFileSync(join(folder, 'added_tokens.json'), JSON.stringify(added));
    const loaded = loadTokenizer(folder);
    assert.equal(loaded.id('<dream>'), 32007);
    for (const text of texts) assert.deepEqual(loaded.encode(text), tokenizer.encode(text), text);
    assert.deepEqual(readSentencePiece(join(folder, 'tokenizer.model')).merges, llamaVocabulary().merges);

    writeFileSync(join(folder, 'tokenizer.model'), Buffer.concat(pieces));
    assert.throws(() => loadTokenizer(folder), /of type 1; only BPE/);
    writeFileSync(join(folder, 'tokenizer.model'), Buffer.concat(pieces).subarray(0, 1001));
    assert.throws(() => loadTokenizer(folder), /is damaged/);
    assert.throws(() => loadTokenizer(tmpdir()), /neither tokenizer\.json nor tokenizer\.model/);
  });
});

describe('CLIP tokenizer', () => {
  const tokenizer = clipTokenizer();

  test('gives the published ids, case and spaces aside', () => {
    assert.deepEqual(tokenizer.encode('a photo of a cat'), [320, 1125, 539, 320, 2368]);
    assert.deepEqual(tokenizer.encode('A  Photo of a\ncat'), [320, 1125, 539, 320, 2368]);
    assert.deepEqual(tokenizer.encode('🍎'), [32069]);
  });

  test('frames, cuts and pads a text', () => {
    const ids = clipTextIds(tokenizer, 'a cat');
    assert.equal(ids.length, 77);
    assert.deepEqual(ids.slice(0, 5), [49406, 320, 2368, 49407, 49407]);
    const long = clipTextIds(tokenizer, 'cat '.repeat(200));
    assert.deepEqual([long.length, long[0], long[75], long[76]], [77, 49406, 2368, 49407]);
  });
});
