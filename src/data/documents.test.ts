import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { interleaved, type LayoutConfig } from '../dreamllm/layout.js';
import { nano } from '../dreamllm/presets.js';
import { abilityNames } from './abilities.js';
import { defaultDocumentKinds, documentAt, documentKinds, noisyDocumentAt } from './documents.js';
import { concept } from './emoji.js';
import { filterBySimilarity } from './formats/mmc4.js';
import { sceneOf } from './images.js';
import { describe as describeRows, maskPicture, positions } from './inspect.js';
import { conversationAt, conversationKinds, instructInterleavedAt } from './instructions.js';
import { toSample } from './samples.js';
import { textAt } from './text.js';
import { nanoTokenizer } from './tokenizer.js';
import { plural } from './wording.js';

const tokenizer = nanoTokenizer();
const encode = (text: string) => tokenizer.encode(text);
const layout: LayoutConfig = { tokens: nano.tokens, numDreamQueries: nano.numDreamQueries, numImagePatches: 16, maxTokens: nano.maxTokens };

describe('interleaved documents', () => {
  test('say in the text so far what each picture shows', () => {
    for (let i = 0; i < 400; i++) {
      const { text_list, image_info } = documentAt(0, i, { split: 'train' });
      for (const { image_name, matched_text_index } of image_info) {
        const { objects, ground } = sceneOf(image_name);
        const before = text_list.slice(0, matched_text_index + 1).join(' ');
        assert.ok(before.includes(`on ${ground} paper`), before);
        for (const { concept: name } of objects) {
          const isNamed = [name, plural(name), name.replace('clock at ', '')].some((word) => before.includes(word));
          assert.ok(isNamed, `${name}: ${before}`);
        }
      }
    }
  });

  test('have two or more pictures, each after a sentence of its own, and a last sentence without one', () => {
    for (let i = 0; i < 400; i++) {
      const { text_list, image_info } = documentAt(1, i, { split: 'train' });
      const after = image_info.map(({ matched_text_index }) => matched_text_index);
      assert.ok(after.length >= 2 && after.length <= 3);
      assert.equal(new Set(after).size, after.length);
      assert.deepEqual(after, [...after].sort((a, b) => a - b));
      assert.ok(after.at(-1)! < text_list.length - 1 && after[0] > 0);
    }
  });

  for (const kind of documentKinds) {
    test(`can be of kind ${kind}`, () => {
      const document = documentAt(0, 0, { split: 'train', kinds: { [kind]: 1 } });
      assert.equal(document.kind, kind);
      assert.ok(defaultDocumentKinds[kind]! > 0);
    });
  }

  test('of val and test show what training never shows', () => {
    for (const axis of ['cell', 'concept'] as const) {
      for (let i = 0; i < 60; i++) {
        for (const { image_name } of documentAt(0, i, { split: 'test', axis }).image_info) {
          for (const { concept: name, style } of sceneOf(image_name).objects) {
            if (axis === 'concept') assert.equal(concept(name).split, 'test');
            else assert.equal(concept(name).heldOutStyle, style);
          }
        }
      }
    }
  });

  test('nearly all fit the context of nano', () => {
    const truncated = Array.from({ length: 500 }, (_, i) => documentAt(2, i, { split: 'train' })).filter(
      ({ text_list, image_info }) => interleaved(text_list, image_info.map(({ image_name, matched_text_index }) => ({ image: image_name, matchedTextIndex: matched_text_index })), encode, layout).isTruncated,
    );
    assert.ok(truncated.length <= 2, `${truncated.length} of 500 are truncated`);
  });

  test('can hold pictures of other documents, which the similarity filter takes out again', async () => {
    let [mismatched, pictures] = [0, 0];
    for (let i = 0; i < 60; i++) {
      const options = { split: 'train', kinds: { shopping: 1 } } as const;
      const clean = documentAt(3, i, options);
      // A perfect CLIP: it knows each picture's own sentence.
      const similarity = async (image: string, sentences: readonly string[]) =>
        sentences.map((_, j) => (clean.image_info.some((info) => info.image_name === image && info.matched_text_index === j) ? 0.3 : 0.1));
      const noisy = await noisyDocumentAt(3, i, { ...options, mismatched: 0.3, similarity });
      assert.equal(noisy.similarity_matrix!.length, noisy.image_info.length);
      const right = clean.image_info.filter(({ image_name }, j) => image_name === noisy.image_info[j].image_name).map(({ image_name }) => image_name);
      mismatched += clean.image_info.length - right.length;
      pictures += clean.image_info.length;
      assert.deepEqual(filterBySimilarity(noisy, 0.25)?.image_info.map(({ image_name }) => image_name) ?? [], right);
    }
    assert.ok(mismatched > 0.2 * pictures && mismatched < 0.4 * pictures, `${mismatched} of ${pictures}`);
  });

  test('are the same for the same index and differ for others', () => {
    assert.deepEqual(documentAt(5, 17, { split: 'train' }), documentAt(5, 17, { split: 'train' }));
    assert.notDeepEqual(documentAt(5, 17, { split: 'train' }).text_list, documentAt(5, 18, { split: 'train' }).text_list);
  });
});

describe('conversations', () => {
  test('have a picture for each place-holder and an answer for each question', () => {
    const kinds = new Set<string>();
    for (let i = 0; i < 600; i++) {
      const { kind, images, conversations } = conversationAt(0, i, { split: 'train' });
      kinds.add(kind);
      const text = conversations.map(({ value }) => value).join(' ');
      assert.equal(text.match(/<image>|<dream>/g)?.length ?? 0, images.length);
      conversations.forEach(({ from, value }, turn) => {
        assert.equal(from, turn % 2 ? 'gpt' : 'human');
        assert.ok(value.length > 0);
      });
    }
    assert.deepEqual([...kinds].sort(), [...conversationKinds].sort());
  });

  test('ask multiple choices in the form of the evaluation, with each place equally often right', () => {
    const answers = Array.from({ length: 600 }, (_, i) => conversationAt(1, i, { split: 'train', conversationKinds: { choice: 1 } })).map(({ conversations: [question, answer] }) => {
      assert.match(question.value, /^<image>\n[^\n]+\nA\. [^\n]+\nB\. [^\n]+\n(?:C\. [^\n]+\n)?(?:D\. [^\n]+\n)?answer with one of them\.$/);
      const options = new Map([...question.value.matchAll(/^([A-D])\. (.+)$/gm)].map(([, letter, text]) => [text, letter]));
      assert.ok(options.has(answer.value), `${answer.value} is none of ${[...options.keys()].join(', ')}`);
      return options.get(answer.value);
    });
    const share = (letter: string) => answers.filter((answer) => answer === letter).length / answers.length;
    for (const letter of 'AB') assert.ok(share(letter) > 0.2 && share(letter) < 0.35, `${letter}: ${share(letter)}`);
    for (const letter of 'CD') assert.ok(share(letter) > 0.15 && share(letter) < 0.3, `${letter}: ${share(letter)}`);
    assert.equal(abilityNames.length, 20);
  });

  test('draw the picture that was asked for', () => {
    for (let i = 0; i < 50; i++) {
      const { images, conversations } = conversationAt(2, i, { split: 'train', conversationKinds: { draw: 1 } });
      const [object] = sceneOf(images[0]).objects;
      assert.ok([object.concept, plural(object.concept)].some((name) => conversations[0].value.includes(name)));
      assert.match(conversations[1].value, /<dream>$/);
    }
    const { images, conversations } = conversationAt(2, 0, { split: 'train', conversationKinds: { recolor: 1 } });
    const [before, after] = images.map((image) => sceneOf(image));
    assert.equal(before.objects[0].concept, after.objects[0].concept);
    assert.notEqual(before.objects[0].ink, after.objects[0].ink);
    assert.ok(conversations[0].value.includes(`in ${after.objects[0].ink} on`) && conversations[0].value.includes(after.ground));
  });
});

describe('laid out for training', () => {
  test('a pair reads or draws by mode, and by a coin in joint mode', () => {
    const pair = { id: '1', image: 'emoji:twemoji/dog', caption: 'a dog' };
    const read = toSample(pair, encode, layout, { mode: 'comprehension' });
    const drawn = toSample(pair, encode, layout, { mode: 'creation' });
    assert.deepEqual([read.images.length, read.dreamImages.length, drawn.images.length, drawn.dreamImages.length], [1, 0, 0, 1]);
    assert.ok(drawn.labels.every((label) => label === -100));
    const coins = Array.from({ length: 400 }, (_, i) => toSample({ ...pair, id: String(i) }, encode, layout, { mode: 'joint' }).images.length);
    const share = coins.filter((each) => each === 1).length / 400;
    assert.ok(share > 0.43 && share < 0.57, String(share));
  });

  test('a document has one target among the tokens of each drawn picture: <dream_start>', () => {
    const sequence = toSample(documentAt(0, 3, { split: 'train' }), encode, layout, { mode: 'joint' });
    const rows = positions(sequence, layout, tokenizer);
    const learned = rows.filter(({ role, isTarget }) => role === 'special' && isTarget).map(({ token }) => token);
    assert.deepEqual(learned, ['<s>', ...sequence.dreamImages.map(() => '<dream_start>'), '</s>']);
    assert.equal(rows.filter(({ role }) => role === 'query').length, sequence.dreamImages.length * layout.numDreamQueries);
    assert.equal(rows.filter(({ role }) => role === 'patch').length, sequence.images.length * layout.numImagePatches);
  });

  test('an instruction is masked and its document learned', () => {
    const record = instructInterleavedAt(0, 0, { split: 'train' });
    const rows = positions(toSample(record, encode, layout, { mode: 'joint' }), layout, tokenizer);
    const first = rows.findIndex(({ isTarget }) => isTarget);
    const masked = tokenizer.decode(tokenizer.encode(rows.slice(0, first).map(({ token }) => token).join('')));
    assert.ok(masked.includes(record.instruction) && masked.endsWith('ASSISTANT:'));
  });

  test('a sample can be looked at: token by token, and as a picture of its mask', async () => {
    const sequence = toSample(documentAt(0, 3, { split: 'train' }), encode, layout, { mode: 'joint' });
    const rows = positions(sequence, layout, tokenizer);
    const text = describeRows(rows);
    assert.match(text, /target {2}special {2}"<dream_start>"/);
    assert.match(text, /query {4}drawn 0 \(16 positions\)/);
    const picture = await maskPicture(rows, sequence, 2);
    const colorAt = (row: number, column: number) => [...picture.data.subarray(((row * 2) * picture.width + 14 + column * 2) * 3).subarray(0, 3)];
    assert.deepEqual(colorAt(3, 9), [250, 250, 250]); // the future
    assert.deepEqual(colorAt(9, 3), [70, 110, 200]); // text of the past
  });
});

describe('text for the language model', () => {
  test('keeps a tenth of the definitions and the unseen concepts for validation', () => {
    const lines = (split: 'train' | 'val') => new Set(Array.from({ length: 1500 }, (_, i) => textAt(0, i, split)));
    const [train, val] = [lines('train'), lines('val')];
    for (const line of val) assert.ok(!train.has(line), line);
    for (const line of train) assert.match(line, /^[a-z0-9 ,.:'#*ñ-]+$/u);
  });
});
