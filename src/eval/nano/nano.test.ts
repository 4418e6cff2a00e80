import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { useLaterBackend } from '../../core/engine/test-backends.js';
import { blankImage } from '../../core/images.js';
import { initialize, select } from '../../core/params.js';
import { documentAt } from '../../data/documents.js';
import { shortPrompt } from '../../data/instructions.js';
import { questionAt } from '../../data/questions.js';
import { nanoTokenizer } from '../../data/tokenizer.js';
import { continueText } from '../../dreamllm/comprehend.js';
import { layoutConfig, type DreamConfig } from '../../dreamllm/config.js';
import { conversation } from '../../dreamllm/conversation.js';
import { interleaved } from '../../dreamllm/layout.js';
import { dreamSpec, residentModel, type DreamParams } from '../../dreamllm/model.js';
import { micro } from '../../dreamllm/presets.js';
import { embedPrompts, promptSequence, type Prompt } from '../../dreamllm/prompt.js';
import { declaredTokens } from '../../dreamllm/special-tokens.js';
import { clipSpec, type ClipConfig } from '../../models/clip/index.js';
import { column, ProtocolMismatch } from '../protocol.js';
import { measureReconstruction, psnr } from './autoencoder.js';
import { measureRetrieval, type ClipJudge } from './clip.js';
import { measureCaptioning, measureHallucination, measureMultipleChoice, measureOpenQuestions } from './comprehension.js';
import { drawScenes, drawTestSet, measureIdentification, measurePromptLoss, measurePromptScore, type Drawings } from './creation.js';
import { drawDocuments, pagesWith } from './document-pictures.js';
import { measureDreamTokens, placesOf } from './documents.js';
import { fewShotPrompt, measureFewShot } from './few-shot.js';
import { drawInContext, measureInContext } from './in-context.js';
import { measureConditionRank, measureQueryAblation, measureQueryMaps } from './queries.js';
import { continueAll, logProbabilities, picture, type Candidate, type Subject } from './subject.js';

/** The test preset with the nano vocabulary and room for its texts. */
const config: DreamConfig = {
  ...micro, language: { ...micro.language, vocabSize: 2048, maxPositions: 320 }, tokens: declaredTokens(2048), maxTokens: 320, imageSize: 32,
  vision: { ...micro.vision, imageSize: 32 },
};
const clipConfig: ClipConfig = {
  vision: config.vision, projectionSize: 16, logitScale: 1,
  text: { vocabSize: 2048, maxPositions: 32, hiddenSize: 16, intermediateSize: 32, numLayers: 1, numHeads: 2, normEps: 1e-5, activation: 'quickGelu', endToken: config.tokens.eos },
};
const tokenizer = nanoTokenizer();
let params: DreamParams;
let subject: Subject;
let clip: ClipJudge;

before(async () => {
  await useLaterBackend(); // so that every measurement also runs where values must be waited for
  params = initialize(dreamSpec(config), 1);
  subject = { model: residentModel(params, config), tokenizer, modelScale: 'micro' };
  clip = { params: initialize(clipSpec(clipConfig), 2), config: clipConfig, tokenizer, name: 'random CLIP' };
});
after(() => tf.dispose([params, clip.params] as unknown as tf.TensorContainer));

const leaksNothing = async <T>(body: () => Promise<T>): Promise<T> => {
  const { numTensors } = tf.memory();
  const result = await body();
  assert.equal(tf.memory().numTensors, numTensors);
  return result;
};

describe('continuing many prompts', () => {
  test('gives what each gives alone', async () => {
    const prompts = ['a cat', ['a picture: ', picture('scene:single:white/twemoji/rocket@1,1,30', 32), ' shows'], 'one two three four five six'];
    const texts = await leaksNothing(() => continueAll(subject, prompts, { maxNewTokens: 6, batchSize: 2 }));
    for (const [i, prompt] of prompts.entries()) assert.equal(texts[i], await continueText(subject.model, tokenizer, prompt, { maxNewTokens: 6 }));
  });
});

describe('the log-probabilities of an answer', () => {
  /** Of its tokens, and of `</s>` with `end`, from one pass over prompt and answer without a cache. */
  const inOnePass = async ({ prompt, answer }: Candidate, end: boolean): Promise<number[]> => {
    const { model } = subject;
    const sequence = promptSequence(prompt, tokenizer, config);
    const ids = [...tokenizer.encode(answer), ...(end ? [config.tokens.eos] : [])];
    const { embeds } = embedPrompts(model, [{ ...sequence, tokenIds: [...sequence.tokenIds, ...ids], labels: [...sequence.labels, ...ids] }]);
    const states = await model.language.forward(embeds, {});
    const all = tf.tidy(() => tf.logSoftmax(model.language.head(states.squeeze<tf.Tensor2D>([0]))));
    const logs = (await all.array()) as number[][];
    tf.dispose([embeds, states, all]);
    return ids.map((id, k) => logs[sequence.tokenIds.length + k - 1][id]);
  };

  test('are those of one pass over prompt and answer, whatever shares a prompt or a batch', async () => {
    const shown: Prompt = ['what is this? ', picture('scene:single:white/twemoji/rocket@1,1,30', 32), ' it is'];
    const prompts = ['a', shown, 'one two three four five six', shown, 'a'];
    const candidates = prompts.flatMap((prompt, i) => [' b', ' b c d', ` e${' f'.repeat(i)}`].map((answer) => ({ prompt, answer })));
    for (const end of [true, false]) {
      const expected: number[][] = [];
      for (const candidate of candidates) expected.push(await inOnePass(candidate, end));
      for (const batchSize of [1, 2, 16]) {
        const found = await leaksNothing(() => logProbabilities(subject, candidates, { end, batchSize }));
        found.forEach((values, i) => {
          assert.equal(values.length, expected[i].length);
          values.forEach((value, k) => assert.ok(Math.abs(value - expected[i][k]) < 1e-4, `candidate ${i}, token ${k}: ${value}, expected ${expected[i][k]}`));
        });
      }
    }
  });

  test('exist for at least one token, and as many as fit', async () => {
    await assert.rejects(logProbabilities(subject, [{ prompt: 'a', answer: '' }]), /at least one token/);
    await assert.rejects(logProbabilities(subject, [{ prompt: 'a', answer: ' b'.repeat(400) }]), /the model has 320/);
  });
});

describe('comprehension of a small model', () => {
  test('has one protocol for each way to ask and to read', async () => {
    const { likelihood, generated, blind } = await leaksNothing(() => measureMultipleChoice(subject, { perAbility: 1 }));
    assert.equal(likelihood.n, 20);
    assert.equal(Object.keys(likelihood.details!.abilities.l3).length, 20);
    assert.deepEqual(Object.keys(likelihood.details!.abilities.l1), ['perception', 'reasoning']);
    assert.equal(likelihood.details!.unparsed.n, 0, 'a likelihood always decides');
    assert.throws(() => column([likelihood, generated]), ProtocolMismatch);
    assert.throws(() => column([likelihood, blind]), /picture/);
  });

  test('covers open questions, captions, presence and documents', async () => {
    const [vqa, cider, pope, dreams] = await leaksNothing(async () => [
      await measureOpenQuestions(subject, { count: 6 }), await measureCaptioning(subject, { count: 4, style: 'plain' }),
      await measureHallucination(subject, { count: 6 }), await measureDreamTokens(subject, { count: 4 }),
    ] as const);
    assert.equal(vqa.n, 6);
    assert.equal(cider.details!.examples.length, 4);
    assert.deepEqual(Object.keys(pope), ['random', 'popular', 'adversarial']);
    assert.equal(pope.random.n, 6);
    assert.equal(dreams.details!.documents, 4);
    for (const { protocol } of [vqa, cider, pope.random, dreams]) assert.equal(protocol.modelScale, 'micro');
  });

  test('shows solved examples as rounds of a conversation in training, and without any asks as always', async () => {
    const [first, second, asked] = [0, 1, 2].map((i) => questionAt(5, i, { split: 'test' }));
    const prompt = fewShotPrompt([first, second], asked, config.template, 32);
    const turns = [first, second, asked].flatMap(({ question, answer }) => [{ from: 'human' as const, value: `<image>\n${shortPrompt(question)}` }, { from: 'gpt' as const, value: answer }]);
    const trained = conversation(turns, ['a', 'b', 'c'], (text) => tokenizer.encode(text), layoutConfig(config), { template: config.template }).tokenIds;
    const { tokenIds } = promptSequence(prompt, tokenizer, config);
    assert.deepEqual(tokenIds, trained.slice(0, tokenIds.length));
    assert.equal(trained.length - tokenIds.length, tokenizer.encode(` ${asked.answer}`).length + 1, 'all but the answer and </s>');

    const [few, none, open] = await leaksNothing(async () => [
      await measureFewShot(subject, { count: 3, shots: 2 }), await measureFewShot(subject, { count: 3 }), await measureOpenQuestions(subject, { count: 3 }),
    ] as const);
    assert.deepEqual(none.details!.perQuestion, open.details!.perQuestion);
    assert.throws(() => column([few, none]), /shots/);
  });

  test('reads a document as training lays it out', () => {
    for (let i = 0; i < 5; i++) {
      const document = documentAt(3, i, { split: 'test' });
      const placed = document.image_info.map(({ image_name, matched_text_index }) => ({ image: image_name, matchedTextIndex: matched_text_index }));
      const trained = interleaved(document.text_list, placed, (text) => tokenizer.encode(text), layoutConfig(config));
      assert.ok(!trained.isTruncated);
      const { sequence, positions, hasPicture } = placesOf(subject, document);
      assert.deepEqual(sequence.tokenIds, trained.tokenIds.slice(0, -1), 'all but </s>');
      positions.forEach((position, place) => assert.equal(trained.tokenIds[position + 1] === config.tokens.dreamStart, hasPicture[place]));
      assert.equal(positions.at(-1), sequence.tokenIds.length - 1 - (hasPicture.at(-1) ? config.numDreamQueries + 2 + 16 + 2 : 0));
    }
  });
});

describe('creation of a small model', () => {
  test('draws each prompt and the empty one from the same seeds', async () => {
    const drawings = await leaksNothing(() => drawTestSet(subject, { count: 3, steps: 2, batchSize: 2 }));
    const again = await drawTestSet(subject, { count: 3, steps: 2, batchSize: 3 });
    assert.equal(drawings.drawn.length, 3);
    // What a picture is drawn together with does not matter, to rounding.
    drawings.drawn.forEach((image, i) => image.data.forEach((byte, j) => assert.ok(Math.abs(byte - again.drawn[i].data[j]) <= 2)));
    assert.match(drawings.prompts[0], /^an? \w+ picture of .* on an? \w+ background$/);
    const score = await leaksNothing(async () => measurePromptScore(drawings, clip));
    assert.ok(Math.abs(score.details!.difference - (score.details!.prompted - score.details!.unprompted)) < 1e-9);
  });

  test('draws a picture of a document from what stands before it', async () => {
    const drawings = await leaksNothing(() => drawDocuments(subject, { count: 2, steps: 2 }));
    const [page] = pagesWith(2);
    const [{ matched_text_index: last }] = page.image_info;
    // The first picture has nothing but text before it, which is a prompt like any other.
    const before = page.text_list.slice(0, last + 1).join(' ');
    const { drawn: [alone] } = await drawScenes(subject, [{ scene: drawings.scenes[0], prompt: before }], { steps: 2, unprompted: false, about: {} });
    alone.data.forEach((byte, i) => assert.ok(Math.abs(byte - drawings.drawn[0].data[i]) <= 2));
    assert.equal(drawings.prompts[0], page.text_list[last]);
    assert.equal(drawings.drawn.length, 2);
  });

  test('gives what is drawn in context the picture it is about', async () => {
    const [own, other, none] = await leaksNothing(async () => [
      await drawInContext(subject, 'recolor', 'own', { count: 2, steps: 1 }), await drawInContext(subject, 'recolor', 'other', { count: 2, steps: 1 }), await drawInContext(subject, 'recolor', 'none', { count: 2, steps: 1 }),
    ] as const);
    for (const changed of [other, none]) assert.notDeepEqual(changed.drawn[0].data, own.drawn[0].data);
    assert.deepEqual(other.scenes, own.scenes);
    const perfect = measureInContext({ ...own, drawn: own.real });
    assert.deepEqual(perfect.map(({ metric, value }) => [metric, value]), [['identification', 1], ['ground-identification', 1], ['ink-identification', 1]]);
  });

  test('says what each query is worth, and finds silent ones worth nothing', async () => {
    const [weight] = select(params, ['stable_diffusion_head.projector']).values();
    const kept = weight.clone();
    const silent = tf.zerosLike(kept);
    const [zero] = await leaksNothing(() => measureQueryAblation(subject, { count: 4 }));
    assert.equal(zero.details!.rise.length, config.numDreamQueries);
    assert.notEqual(zero.details!.all, 0);
    weight.assign(silent);
    for (const { value, details } of await measureQueryAblation(subject, { count: 4 })) assert.deepEqual([value, details!.all], [0, 0]);
    weight.assign(kept);
    tf.dispose([kept, silent]);

    const [within, across, share] = await leaksNothing(() => measureConditionRank(subject, { count: 4 }));
    assert.ok(within.value > 1 && within.value <= config.numDreamQueries);
    assert.ok(across.value > 1 && across.value <= 3.0001, 'four centred prompts span three directions');
    assert.ok(share.value > 0 && share.value < 1);
    const [entropies] = await leaksNothing(() => measureQueryMaps(subject, { count: 2, steps: 2 }));
    assert.ok(entropies.value > 0.5 && entropies.value <= 1, 'random weights look nearly everywhere alike');
    assert.equal(entropies.details!.maps!.length, config.numDreamQueries);
  });

  test('identifies the true pictures, and blank ones no better than chance', async () => {
    const { scenes, prompts, real, protocol } = await drawTestSet(subject, { count: 20, steps: 1 });
    const drawings: Drawings = { scenes, prompts, real, protocol, drawn: real, unprompted: real.map(() => blankImage(32, 32, [128, 128, 128])) };
    const { value, details } = measureIdentification(drawings);
    assert.equal(value, 1);
    assert.ok(details!.unprompted! < 0.4, `blank pictures: ${details!.unprompted}`);
  });

  test('finds no difference between prompts that the U-Net does not hear', async () => {
    const [weight] = select(params, ['stable_diffusion_head.projector']).values();
    const kept = weight.clone();
    const silent = tf.zerosLike(kept);
    weight.assign(silent);
    const { details } = await leaksNothing(() => measurePromptLoss(subject, { count: 4 }));
    assert.equal(details!.difference, 0);
    assert.equal(details!.p, 1);
    weight.assign(kept);
    tf.dispose([kept, silent]);
    assert.notEqual((await measurePromptLoss(subject, { count: 4 })).details!.difference, 0);
  });
});

describe('the foundation', () => {
  test('is measured by retrieval and reconstruction', async () => {
    const retrieval = await leaksNothing(async () => measureRetrieval(clip, { count: 30 }));
    assert.ok(retrieval.details!.aligned.byPixels > 2 * retrieval.details!.chance, 'the same object in two styles looks alike');
    assert.ok(retrieval.details!.scenes.byPixels <= retrieval.details!.aligned.byPixels, 'more so where it stands at the same place');
    const reconstruction = await leaksNothing(() => measureReconstruction({ params: params.stable_diffusion_head.vae, config: config.vae }, 32, { count: 4 }));
    assert.ok(reconstruction.value > 0 && reconstruction.value < 30);
  });

  test('has a PSNR of its definition', () => {
    const [a, b] = [blankImage(2, 2, [10, 10, 10]), blankImage(2, 2, [20, 20, 20])];
    assert.equal(psnr(a, b), 10 * Math.log10(255 ** 2 / 100));
    assert.equal(psnr(a, a), 100);
  });
});
