import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { collate } from './collate.js';
import { conversation, instructInterleaved, promptText } from './conversation.js';
import { dreamBlock, imageBlock, imageToImage, imageToText, interleaved, mergeTexts, pictureLength, textToImage, type LayoutConfig } from './layout.js';
import { findSpecialTokens, readSpecialTokens } from './special-tokens.js';

const tokens = { unk: 0, bos: 1, eos: 2, pad: 64, image: 65, imPatch: 66, imStart: 67, imEnd: 68, dream: 69, dreamStart: 70, dreamEnd: 71 };
const config: LayoutConfig = { tokens, numDreamQueries: 3, numImagePatches: 2, maxTokens: 100 };
const released: LayoutConfig = { tokens, numDreamQueries: 64, numImagePatches: 256, maxTokens: 2048 };

/** One id a word, the same for the same word. */
const words = new Map<string, number>();
const encode = (text: string) =>
  text.split(/\s+/).filter(Boolean).map((word) => {
    if (!words.has(word)) words.set(word, 1000 + words.size);
    return words.get(word)!;
  });
const names = new Map(Object.entries(tokens).map(([name, id]) => [id, name]));
/** Ids as words, runs of patches as `imPatch*3`, targets in upper case. */
function show({ tokenIds, labels }: { tokenIds: number[]; labels: number[] }): string {
  const word = (id: number) => names.get(id) ?? [...words].find(([, known]) => known === id)?.[0] ?? String(id);
  const shown = tokenIds.map((id, i) => (labels[i] === -100 ? word(id) : `[${word(id)}]`));
  return shown.join(' ').replace(/imPatch( imPatch)*/g, (run) => `imPatch*${run.split(' ').length}`);
}

describe('layout', () => {
  test('has the released block lengths, and six pictures fill 2048 positions', () => {
    assert.equal(dreamBlock(released).length, 66);
    assert.equal(imageBlock(released).length, 258);
    assert.equal(pictureLength(released), 324);
    const { images, dreamImages, tokenIds } = interleaved(Array(9).fill('x'), Array.from({ length: 9 }, (_, i) => ({ image: i, matchedTextIndex: i })), encode, released);
    assert.deepEqual([images.length, dreamImages.length], [6, 6]);
    assert.ok(tokenIds.length <= 2048);
  });

  test('lays out pairs both ways', () => {
    assert.equal(show(imageToText('a', encode('red apple'), config)), '[bos] imStart imPatch*2 imEnd [red] [apple] [eos]');
    assert.equal(show(textToImage(encode('red apple'), 'a', config)), 'bos red apple dreamStart imPatch*3 dreamEnd eos');
    assert.equal(show(imageToImage('a', 'b', config)), 'bos imStart imPatch*2 imEnd dreamStart imPatch*3 dreamEnd eos');
  });

  test('cuts the text of a pair, never its picture', () => {
    const long = encode(Array.from({ length: 200 }, (_, i) => `w${i}`).join(' '));
    for (const sequence of [imageToText('a', long, config), textToImage(long, 'a', config)]) {
      assert.equal(sequence.tokenIds.length, config.maxTokens);
      assert.equal(sequence.tokenIds.at(-1), tokens.eos);
      assert.equal(sequence.images.length + sequence.dreamImages.length, 1);
      assert.ok(sequence.isTruncated);
    }
  });

  test('merges texts as MMC4 documents need it', () => {
    const at = (image: string, matchedTextIndex: number) => ({ image, matchedTextIndex });
    assert.deepEqual(mergeTexts(['a ', 'b', 'c', 'd'], [at('y', 2), at('x', 1), at('z', 2)]), [
      { text: 'a b', image: 'x' },
      { text: 'c', image: 'y' },
      { text: '', image: 'z' },
      { text: 'd' },
    ]);
    assert.deepEqual(mergeTexts(['a', 'b'], [at('x', 1)]), [{ text: 'a b', image: 'x' }], 'no tail behind a last picture');
    assert.deepEqual(mergeTexts(['a', 'b'], [at('x', 7)]), [{ text: 'a b', image: 'x' }], 'an index beyond the text');
    assert.deepEqual(mergeTexts(['a'], []), [{ text: 'a' }]);
  });

  test('makes text, dream start and end the targets of a document', () => {
    const document = (mode?: 'joint' | 'comprehension' | 'creation') => show(interleaved(['a', 'b'], [{ image: 'x', matchedTextIndex: 0 }], encode, config, { mode }));
    assert.equal(document(), '[bos] [a] [dreamStart] imPatch*3 dreamEnd imStart imPatch*2 imEnd [b] [eos]');
    assert.equal(document('comprehension'), '[bos] [a] imStart imPatch*2 imEnd [b] [eos]');
    assert.equal(document('creation'), '[bos] [a] [dreamStart] imPatch*3 dreamEnd [b] [eos]');
  });

  test('supervises one special token for each drawn picture of a document, none in pairs and conversations', () => {
    const specials = (labels: number[]) => labels.filter((label) => [tokens.imStart, tokens.imPatch, tokens.imEnd, tokens.dreamStart, tokens.dreamEnd].includes(label));
    const placed = [0, 1, 1].map((matchedTextIndex, image) => ({ image, matchedTextIndex }));
    assert.deepEqual(specials(interleaved(['a', 'b', 'c'], placed, encode, config).labels), Array(3).fill(tokens.dreamStart));
    assert.deepEqual(specials(textToImage(encode('a'), 0, config).labels), []);
    const turns = [{ from: 'human', value: 'draw' }, { from: 'gpt', value: 'here <dream> it is' }] as const;
    assert.deepEqual(specials(conversation(turns, [0], encode, config).labels), []);
    assert.deepEqual(specials(conversation(turns, [0], encode, config, { learnDreamStart: true }).labels), [tokens.dreamStart]);
  });

  test('ends a document before the first thing that does not fit', () => {
    const short = { ...config, maxTokens: 13 };
    const placed = [{ image: 'x', matchedTextIndex: 0 }, { image: 'y', matchedTextIndex: 1 }];
    const sequence = interleaved(['a', 'b', 'c'], placed, encode, short);
    assert.equal(show(sequence), '[bos] [a] [dreamStart] imPatch*3 dreamEnd imStart imPatch*2 imEnd [b] [eos]');
    assert.ok(sequence.isTruncated);
  });

  test('masks the prompt of a document on request', () => {
    const sequence = instructInterleaved('write', ['a'], [{ image: 'x', matchedTextIndex: 0 }], encode, config);
    const promptLength = encode(promptText('write')).length;
    assert.ok(sequence.labels.slice(0, 1 + promptLength).every((label) => label === -100));
    assert.equal(show({ tokenIds: sequence.tokenIds.slice(1 + promptLength), labels: sequence.labels.slice(1 + promptLength) }), '[a] [dreamStart] imPatch*3 dreamEnd imStart imPatch*2 imEnd [eos]');
  });
});

describe('conversation', () => {
  const turns = [
    { from: 'human', value: '<image>\nwhat?' },
    { from: 'gpt', value: 'an apple' },
    { from: 'human', value: 'draw it' },
    { from: 'gpt', value: '<dream>' },
  ] as const;

  test('learns answers and their ends, and draws what it then reads', () => {
    const sequence = conversation(turns, ['x', 'y'], encode, config, { template: { system: 'S.', user: 'USER', assistant: 'ASSISTANT' } });
    assert.equal(
      show(sequence),
      'bos S. USER: imStart imPatch*2 imEnd what? ASSISTANT: [an] [apple] [eos] USER: draw it ASSISTANT: dreamStart imPatch*3 dreamEnd imStart imPatch*2 imEnd [eos]',
    );
    assert.deepEqual(sequence.images, ['x', 'y']);
    assert.deepEqual(sequence.dreamImages, ['y']);
  });

  test('refuses place-holders without pictures, and unpaired turns', () => {
    assert.throws(() => conversation(turns, ['x'], encode, config), /2 place-holders .* but 1 pictures/);
    assert.throws(() => conversation(turns.slice(0, 3), ['x'], encode, config), /found 3 turns/);
  });

  const template = { system: 'S.', user: 'USER', assistant: 'ASSISTANT' };
  const picture = [{ from: 'human', value: 'a b c <image> d' }, { from: 'gpt', value: 'e' }] as const;

  test('ends before a block that does not fit; the released truncation keeps the wrong part', () => {
    const small = { ...config, maxTokens: 9 };
    assert.equal(show(conversation(picture, ['x'], encode, small, { template })), 'bos S. USER: a b c');
    assert.deepEqual(conversation(picture, ['x'], encode, small, { template }).images, []);
    // 6 tokens stand before a block of 4 and 3 positions are free: the reference code keeps the first 3.
    assert.equal(show(conversation(picture, ['x'], encode, small, { template, truncation: 'released' })), 'bos S. USER:');
  });

  test('truncates as the reference code does, token by token', () => {
    // truncate_and_replace, written as the loop over ids that it is.
    const reference = (ids: number[], limit: number) => {
      let kept: number[] = [];
      let position = 0;
      for (const id of ids) {
        if (id === tokens.image) {
          const block = imageBlock(config);
          if (position + block.length > limit) {
            if (position < limit) kept = kept.slice(0, limit - position);
            break;
          }
          kept.push(...block);
          position += block.length;
        } else {
          kept.push(id);
          if (++position === limit) break;
        }
      }
      return kept;
    };
    const turns = [{ from: 'human', value: 'a <image> b c <image> d e' }, { from: 'gpt', value: 'f g' }] as const;
    const ids = [tokens.bos, ...encode('S. USER: a'), tokens.image, ...encode('b c'), tokens.image, ...encode('d e ASSISTANT: f g'), tokens.eos];
    for (let maxTokens = 1; maxTokens < 30; maxTokens++) {
      const sequence = conversation(turns, ['x', 'y'], encode, { ...config, maxTokens }, { template, truncation: 'released' });
      assert.deepEqual(sequence.tokenIds, reference(ids, maxTokens), `limit ${maxTokens}`);
      assert.equal(sequence.images.length, sequence.tokenIds.filter((id) => id === tokens.imStart).length);
    }
  });
});

describe('collate', () => {
  test('pads on the right and keeps pictures in the order of their starts', () => {
    const batch = collate([textToImage(encode('a'), 'x', config), imageToText('y', encode('b'), config), interleaved(['c'], [{ image: 'z', matchedTextIndex: 0 }], encode, config)], tokens);
    assert.deepEqual(batch.images, ['y', 'z']);
    assert.deepEqual(batch.dreamImages, ['x', 'z']);
    for (const start of batch.imageStarts) assert.equal(batch.tokenIds[start - 1], tokens.imStart);
    for (const start of batch.dreamStarts) assert.equal(batch.tokenIds[start - 1], tokens.dreamStart);
    assert.deepEqual(batch.dreamStarts.map((row) => Math.floor(row / batch.tokens)), [0, 2]);
    assert.equal(batch.tokens, 12);
    assert.deepEqual([...batch.tokenIds.slice(8, 12)], Array(4).fill(tokens.pad));
    assert.deepEqual([...batch.mask.slice(6, 12)], [1, 1, 0, 0, 0, 0]);
    assert.deepEqual([...batch.labels.slice(8, 12)], Array(4).fill(-100));
  });
});

describe('special tokens', () => {
  test('come from the checkpoint and must all be there', () => {
    const ids = readSpecialTokens('data/fixtures/dreamllm', { bos_token_id: 0, special_tokens2ids_dict: { '<s>': 1, '</s>': 2, '<unk>': 0, '[PAD]': 64, additional_special_tokens: { '<dream>': 69, '<dream_end>': 71, '<dream_start>': 70, '<im_end>': 68, '<im_patch>': 66, '<im_start>': 67, '<image>': 65 } } });
    assert.deepEqual(ids, tokens);
    assert.throws(() => findSpecialTokens((text) => (text === '<s>' ? 1 : undefined), 'x.json'), /x\.json gives no id for <unk>, <\/s>/);
    assert.throws(() => readSpecialTokens('nowhere', {}), /added_tokens\.json is missing/);
  });
});
