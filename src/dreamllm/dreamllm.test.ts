import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { useBackend } from '../core/backend.js';
import { blankImage, type RgbImage } from '../core/images.js';
import { valueAndGrads } from '../core/ops/index.js';
import { flatten, initialize, select, specEntries } from '../core/params.js';
import { random } from '../core/random.js';
import { KvCache, llamaStates } from '../models/llama/index.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { collate } from './collate.js';
import { answer, continueText, untrainedTokens } from './comprehend.js';
import { latentSize, layoutConfig, releasedObjective, type Objective } from './config.js';
import { draw, drawFrom, dreamOn, queryStates } from './create.js';
import { embedBatch, encodeImages, forwardStates, pixels, type EncodedBatch } from './forward.js';
import { Session, writeDocument } from './interleaved.js';
import { imageToText, interleaved, textToImage, type Sequence } from './layout.js';
import { drawDiffusion, dreamLoss, languageLoss, minSnrWeight } from './loss.js';
import { dreamSpec, residentModel } from './model.js';
import { micro as config } from './presets.js';
import { project, projectorSpec, type ProjectorParams } from './projector.js';
import { QueryAttention } from './query-attention.js';
import { gatherBlocks } from './splice.js';
import { noiseSchedule } from '../models/diffusion/index.js';

const layout = layoutConfig(config);
const params = initialize(dreamSpec(config), 1);
const model = residentModel(params, config);

/** One id a byte, behind LLaMA's three. */
const tokenizer: Tokenizer = {
  vocabSize: config.language.vocabSize,
  id: () => assert.fail('not asked for'),
  encode: (text) => [...Buffer.from(text)].map((byte) => byte + 3),
  decode: (ids) => Buffer.from([...ids].filter((id) => id >= 3 && id < 259).map((id) => id - 3)).toString('latin1'),
};
const noisy = (seed: number): RgbImage => {
  const image = blankImage(16, 16);
  const stream = random(seed, 'picture');
  image.data.forEach((_, i) => (image.data[i] = stream.integer(256)));
  return image;
};
const [red, green, blue] = [noisy(1), noisy(2), noisy(3)];
const document = interleaved(['ab', 'cd'], [{ image: red, matchedTextIndex: 0 }, { image: green, matchedTextIndex: 1 }], tokenizer.encode, layout);

function encode(sequences: readonly Sequence<RgbImage>[], padTo = 0): EncodedBatch {
  const batch = collate(sequences, config.tokens, padTo);
  const images = pixels(batch, config);
  const encoded = encodeImages(params, config, batch, images);
  tf.dispose([images.images, images.dreamImages].filter((x) => x !== null));
  return encoded;
}
const release = ({ features, latents }: EncodedBatch) => tf.dispose([features, latents].filter((x) => x !== null));

/** Losses of a batch. Noise and time step of a picture are named by its place in `order`. */
function losses(encoded: EncodedBatch, objective: Objective = releasedObjective, order?: number[]): { loss: number; lm: number; diffusion: number } {
  return tf.tidy(() => {
    const count = encoded.dreamStarts.length;
    const side = latentSize(config);
    const draws = count ? drawDiffusion([count, side, side, 4], config, objective, 7) : null;
    const arranged = draws && order
      ? { ...draws, noise: tf.gather(draws.noise, order), timesteps: order.map((i) => draws.timesteps[i]) }
      : draws;
    const { loss, lm, diffusion } = dreamLoss(params, config, encoded, arranged, objective);
    return { loss: loss.dataSync()[0], lm: lm.dataSync()[0], diffusion: diffusion.dataSync()[0] };
  });
}
const close = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-5) => {
  assert.equal(a.length, b.length);
  for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i] - b[i]) <= tolerance * Math.max(1, Math.abs(b[i])), `${a[i]} and ${b[i]} at ${i}`);
};

before(() => useBackend());

describe('loss', () => {
  test('does not care in which order sequences stand, as long as their pictures go with them', () => {
    const parts = [textToImage(tokenizer.encode('x'), blue, layout), document];
    const [a, b] = [encode(parts), encode([...parts].reverse())];
    const [one, other] = [losses(a), losses(b, releasedObjective, [1, 2, 0])];
    close([one.lm, one.diffusion], [other.lm, other.diffusion]);
    // The same sequences with the pictures of one in the place of the other's.
    const swapped = { ...a, latents: b.latents! };
    assert.ok(Math.abs(losses(swapped).diffusion - one.diffusion) > 1e-4);
    [a, b].forEach(release);
  });

  test('does not see padding', () => {
    const [short, padded] = [encode([document]), encode([document], document.tokenIds.length + 9)];
    close(Object.values(losses(short)), Object.values(losses(padded)));
    [short, padded].forEach(release);
  });

  test('has no language part in creation pairs and no diffusion part in comprehension pairs', () => {
    const [creation, comprehension] = [encode([textToImage(tokenizer.encode('x'), red, layout)]), encode([imageToText(red, tokenizer.encode('x'), layout)])];
    assert.equal(losses(creation).lm, 0);
    assert.ok(losses(creation).diffusion > 0);
    assert.equal(losses(comprehension).diffusion, 0);
    assert.ok(losses(comprehension).lm > 0);
    [creation, comprehension].forEach(release);
  });

  test('weighs and scales its parts as the schedules say', () => {
    const encoded = encode([document]);
    const { lm, diffusion } = losses(encoded);
    const weights = { lm: 1, diffusion: 10 };
    const scaled = (scale: Objective['scale']) => losses(encoded, { ...releasedObjective, weights, scale }).loss;
    const sum = lm + 10 * diffusion;
    close([scaled('none'), scaled('l1_norm'), scaled('l2_norm')], [sum, sum / 11, sum / Math.sqrt(101)]);
    release(encoded);
  });

  test('drops conditions, offsets and perturbs noise and weighs time steps when asked, and draws the same again', () => {
    const encoded = encode([document]);
    const plain = losses(encoded);
    const variants: Partial<Objective>[] = [{ dropProbability: 1 }, { dropProbability: 1, unconditional: 'released' }, { noiseOffset: 0.5 }, { inputPerturbation: 0.5 }, { snrGamma: 1 }];
    const seen = new Set([plain.diffusion]);
    for (const variant of variants) {
      const objective = { ...releasedObjective, ...variant };
      const found = losses(encoded, objective);
      assert.equal(found.lm, plain.lm);
      assert.deepEqual(found, losses(encoded, objective));
      assert.ok(!seen.has(found.diffusion), JSON.stringify(variant));
      seen.add(found.diffusion);
    }
    release(encoded);
  });

  test('bounds min-SNR weights by gamma, with the shift of v-prediction inside the bound', () => {
    const schedule = noiseSchedule(config.sampler);
    assert.ok(Math.abs(minSnrWeight(schedule, 100, 5) - 5 / 8.45389) < 1e-5);
    assert.equal(minSnrWeight(schedule, 500, 5), 1);
    assert.ok(Math.abs(minSnrWeight({ ...schedule, predictionType: 'v_prediction' }, 100, 5) - 5 / 9.45389) < 1e-5);
  });

  test('regresses conditions to given states without the U-Net, and asks for states of their shape', () => {
    const encoded = encodeImages(params, config, collate([document], config.tokens), pixels(collate([document], config.tokens), config));
    const objective = { ...releasedObjective, weights: { lm: 0, diffusion: 0, regression: 3 } };
    const regressionTargets = tf.randomNormal<tf.Rank.R3>([2, config.numDreamQueries, config.unet.crossAttentionDim], 0, 1, 'float32', 5);
    const batch = { ...encoded, latents: null, regressionTargets };
    const { value, grads } = valueAndGrads(() => dreamLoss(params, config, batch, null, objective).loss, select(params, ['stable_diffusion_head.projector', 'model.dream_embedding']));
    const regression = () => tf.tidy(() => dreamLoss(params, config, batch, null, objective).regression!.dataSync()[0]);
    const before = regression();
    close([value.dataSync()[0]], [3 * before]);
    assert.ok(grads.size === 2 && [...grads.values()].every((grad) => tf.tidy(() => grad.abs().max().dataSync()[0]) > 0), 'queries and projector are taught');
    const weight = flatten(params).get('stable_diffusion_head.projector.projector.weight')!;
    const original = weight.clone();
    weight.assign(tf.tidy(() => weight.sub(grads.get('stable_diffusion_head.projector.projector.weight')!.mul(1e-2))));
    assert.ok(regression() < before);
    weight.assign(original);
    assert.equal(tf.tidy(() => dreamLoss(params, config, { ...encoded, latents: null }, null, releasedObjective).regression), undefined);
    assert.throws(() => tf.tidy(() => dreamLoss(params, config, { ...encoded, latents: null }, null, objective).loss), /no targets for it/);
    const short = tf.tidy(() => regressionTargets.slice([0, 1, 0]));
    assert.throws(() => tf.tidy(() => dreamLoss(params, config, { ...batch, regressionTargets: short }, null, objective).loss), /the condition's shape \[2,3,16\], found \[2,2,16\]/);
    tf.dispose([value, original, regressionTargets, short, ...grads.values()]);
    release(encoded);
  });

  test('has an alignment part only where it is weighed, and then pulls the condition towards what CLIP sees', () => {
    const batch = collate([document], config.tokens);
    const inputs = pixels(batch, config, { alignment: true });
    const encoded = encodeImages(params, config, batch, inputs);
    const side = latentSize(config);
    const draws = drawDiffusion([2, side, side, 4], config, releasedObjective, 7);
    const objective = { ...releasedObjective, weights: { lm: 0, diffusion: 0, alignment: 2 } };
    const { value, grads } = valueAndGrads(() => dreamLoss(params, config, encoded, draws, objective).loss, select(params, ['stable_diffusion_head.projector']));
    const alignment = () => tf.tidy(() => dreamLoss(params, config, encoded, draws, objective).alignment!.dataSync()[0]);
    const before = alignment();
    close([value.dataSync()[0]], [2 * before]);
    const weight = flatten(params).get('stable_diffusion_head.projector.projector.weight')!;
    const original = weight.clone();
    weight.assign(tf.tidy(() => weight.sub([...grads.values()][0].mul(1e-2))));
    assert.ok(alignment() < before);
    weight.assign(original);
    assert.equal(tf.tidy(() => dreamLoss(params, config, encoded, draws, releasedObjective).alignment), undefined);
    const bare = { ...encoded, alignTargets: undefined };
    assert.throws(() => tf.tidy(() => dreamLoss(params, config, bare, draws, objective).loss), /no targets for it/);
    tf.dispose([value, original, draws.noise, encoded.alignTargets!, inputs.images!, inputs.dreamImages!, inputs.aligned!, ...grads.values()]);
    release(encoded);
  });

  test('reaches the trainable parts through the frozen U-Net, and leaks nothing', () => {
    const encoded = encode([document]);
    const side = latentSize(config);
    const draws = drawDiffusion([2, side, side, 4], config, releasedObjective, 7);
    const prefixes = ['model.dream_embedding', 'model.clip_vision_embedding.projector', 'stable_diffusion_head.projector', 'model.layers', 'model.norm', 'model.embed_tokens', 'lm_head'];
    const trainable = select(params, prefixes);
    const before = tf.memory().numTensors;
    const { value, grads } = valueAndGrads(() => dreamLoss(params, config, encoded, draws, releasedObjective).loss, trainable);
    for (const [key, grad] of grads) assert.ok(tf.tidy(() => grad.abs().max().dataSync()[0]) > 0, `${key} has no gradient`);
    tf.dispose([value, ...grads.values()]);
    assert.equal(tf.memory().numTensors, before);
    tf.dispose([draws.noise]);
    release(encoded);
  });

  test('gives the queries no gradient of the language loss in a text-only batch, and the U-Net none of it', () => {
    const encoded = encode([interleaved(['abc'], [], tokenizer.encode, layout)]);
    const { grads, value } = valueAndGrads(() => dreamLoss(params, config, encoded, null, releasedObjective).loss, select(params, ['model.dream_embedding', 'stable_diffusion_head.unet.conv_in']), { allowUnused: true });
    for (const grad of grads.values()) assert.equal(tf.tidy(() => grad.abs().max().dataSync()[0]), 0);
    tf.dispose([value, ...grads.values()]);
  });
});

describe('projector', () => {
  test('of depth 2 has the keys of a Sequential, and is linear maps with GELU between them', () => {
    const spec = projectorSpec({ inSize: 3, outSize: 2, depth: 2, bias: true });
    assert.deepEqual([...specEntries(spec).keys()], ['projector.0.weight', 'projector.0.bias', 'projector.2.weight', 'projector.2.bias']);
    const p = initialize(spec, 1) as ProjectorParams;
    const x = tf.tensor2d([[1, -2, 3]]);
    const values = (key: string) => flatten(p).get(key)!;
    const expected = tf.tidy(() => {
      const inner = tf.matMul(x, values('projector.0.weight') as tf.Tensor2D, false, true).add(values('projector.0.bias'));
      const gelu = inner.mul(0.5).mul(tf.erf(inner.div(Math.SQRT2)).add(1));
      return tf.matMul(gelu as tf.Tensor2D, values('projector.2.weight') as tf.Tensor2D, false, true).add(values('projector.2.bias')).dataSync();
    });
    close(tf.tidy(() => project(p, x).dataSync()), expected);
    tf.dispose([p as unknown as tf.TensorContainer, x]);
  });
});

describe('forward', () => {
  const statesOf = (sequence: Sequence<RgbImage>) => {
    const encoded = encode([sequence]);
    const states = forwardStates(params, config, encoded);
    const values = states.dataSync().slice();
    tf.dispose(states);
    release(encoded);
    return values;
  };
  const dim = config.language.hiddenSize;

  test('is causal: text before a picture does not see it, text behind it does', () => {
    const of = (image: RgbImage) => statesOf(interleaved(['ab', 'cd'], [{ image, matchedTextIndex: 0 }], tokenizer.encode, layout));
    const [a, b] = [of(red), of(green)];
    const blockStart = 3 + 1 + config.numDreamQueries + 1 + 1; // <s> a b <dream_start> queries <dream_end> <im_start>
    assert.deepEqual(a.slice(0, blockStart * dim), b.slice(0, blockStart * dim));
    assert.notDeepEqual(a.slice(-dim), b.slice(-dim));
  });

  test('lets text behind a picture see the queries too', () => {
    const queries = params.model.dream_embedding.dream_queries;
    const before = statesOf(document);
    const original = queries.clone();
    queries.assign(tf.tidy(() => queries.add(1)));
    const after = statesOf(document);
    queries.assign(original);
    original.dispose();
    assert.deepEqual(before.slice(0, 4 * dim), after.slice(0, 4 * dim), 'up to <dream_start>');
    assert.notDeepEqual(before.slice(-dim), after.slice(-dim));
  });

  test('of short and long sequences has the states, the losses and the gradients of the batch padded to the longest', () => {
    const words = (count: number) => 'a'.repeat(count);
    const batchOf = () => encode([document, ...[3, 90, 4, 88, 5, 2].map((count): Sequence<RgbImage> => interleaved<RgbImage>([words(count)], [], tokenizer.encode, layout))]);
    const encoded = batchOf();
    const lengths = Array.from({ length: encoded.batch }, (_, row) => encoded.mask.slice(row * encoded.tokens, (row + 1) * encoded.tokens).reduce((a, b) => a + b, 0));
    const trained = select(params, ['model.embed_tokens', 'model.layers', 'model.dream_embedding']);
    const lossOf = (states: tf.Tensor3D) => languageLoss(params, states, encoded.labels);
    const [grouped, padded] = [() => forwardStates(params, config, encoded), () => llamaStates(params, embedBatch(params, encoded), config.language)].map((states) => {
      const { grads, value } = valueAndGrads(() => lossOf(states()), trained, { allowUnused: true });
      return { grads, value, states: tf.tidy(states) };
    });
    const [a, b] = [grouped.states.dataSync(), padded.states.dataSync()];
    lengths.forEach((length, row) => close(a.slice(row * encoded.tokens * dim, (row * encoded.tokens + length) * dim), b.slice(row * encoded.tokens * dim, (row * encoded.tokens + length) * dim)));
    close(grouped.value.dataSync(), padded.value.dataSync());
    for (const [key, grad] of grouped.grads) close(grad.dataSync(), padded.grads.get(key)!.dataSync());
    for (const { grads, value, states } of [grouped, padded]) tf.dispose([value, states, ...grads.values()]);
    release(encoded);
  });

  test('has at the queries of one pass the states of cached decoding', async () => {
    const sequence = textToImage(tokenizer.encode('an apple'), red, layout);
    const encoded = encode([sequence]);
    const onePass = tf.tidy(() => gatherBlocks(forwardStates(params, config, encoded), encoded.dreamStarts, config.numDreamQueries));
    const prompted = await queryStates(model, tokenizer, ['an apple', 'a much longer prompt beside it']);
    const session = new Session(model);
    await session.read('an ', tokenizer);
    await session.readTokens(tokenizer.encode('apple'));
    const cached = await session.dream();
    close(await cached.data(), await onePass.data());
    close((await prompted.data()).slice(0, onePass.size), await onePass.data());
    session.dispose();
    tf.dispose([onePass, cached, prompted]);
    release(encoded);
  });

  test('has behind a read picture the state of training', async () => {
    const sequence = interleaved(['ab'], [{ image: red, matchedTextIndex: 0 }], tokenizer.encode, layout);
    const trained = statesOf({ ...sequence, tokenIds: sequence.tokenIds.slice(0, -1), labels: sequence.labels.slice(0, -1) });
    const session = new Session(model);
    await session.read('ab', tokenizer);
    (await session.dream()).dispose();
    await session.readImage(red);
    const logits = await session.logits();
    const expected = tf.tidy(() => model.language.head(tf.tensor2d(trained.slice(-dim), [1, dim])).dataSync());
    close(logits, expected);
    session.dispose();
  });
});

describe('drawing', () => {
  const fast = { steps: 2, guidanceScale: 3 };

  test('gives a picture the same whatever it is drawn together with', async () => {
    const [alone] = await draw(model, tokenizer, ['a cat'], [5], fast);
    const [, beside] = await draw(model, tokenizer, ['a longer prompt', 'a cat'], [4, 5], fast);
    assert.deepEqual([alone.width, alone.height], [16, 16]);
    const worst = alone.data.reduce((most, byte, i) => Math.max(most, Math.abs(byte - beside.data[i])), 0);
    assert.ok(worst <= 1, `bytes differ by ${worst}`);
  });

  test('depends on seed, text and pictures of the prompt', async () => {
    const pictures = [['a cat', 5], ['a cat', 6], ['a dog', 5], [['a cat', red], 5], [['a cat', green], 5]] as const;
    const drawn = await Promise.all(pictures.map(async ([prompt, seed]) => (await draw(model, tokenizer, [prompt], [seed], { steps: 2 }))[0].data.join()));
    assert.equal(new Set(drawn).size, pictures.length);
  });

  test('needs no unconditional branch at a guidance of 1', async () => {
    const states = await queryStates(model, tokenizer, ['a cat']);
    const plain = await drawFrom(model, states, undefined, [1], { steps: 2, guidanceScale: 1 });
    const negative = await queryStates(model, tokenizer, ['']);
    const guided = await drawFrom(model, states, negative, [1], { steps: 2, guidanceScale: 1 + 1e-6 });
    close(await plain.data(), await guided.data(), 1e-3);
    tf.dispose([states, plain, negative, guided]);
  });

  test('shows where each query is looked at, as shares of every position', async () => {
    const before = tf.memory().numTensors;
    const side = latentSize(config);
    const attention = new QueryAttention(1, side);
    await draw(model, tokenizer, ['a cat'], [1], { ...fast, observer: attention.observer });
    const [maps] = await attention.maps();
    assert.deepEqual([maps.length, maps[0].length, maps[0][0].length], [config.numDreamQueries, side, side]);
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) assert.ok(Math.abs(maps.reduce((sum, map) => sum + map[y][x], 0) - 1) < 1e-4);
    attention.dispose();
    assert.equal(tf.memory().numTensors, before);
  });

  test('stops when told to, and leaks nothing either way', async () => {
    await draw(model, tokenizer, ['a cat'], [1], fast);
    const before = tf.memory().numTensors;
    await draw(model, tokenizer, ['a cat'], [1], fast);
    const controller = new AbortController();
    const aborted = draw(model, tokenizer, ['a cat'], [1], { steps: 50, signal: controller.signal, onStep: ({ index }) => void (index === 1 && controller.abort(new Error('enough'))) });
    await assert.rejects(aborted, /enough/);
    assert.equal(tf.memory().numTensors, before);
  });
});

describe('answering', () => {
  test('looks at the picture and never writes untrained tokens', async () => {
    const heard: string[] = [];
    const options = { maxNewTokens: 6 };
    const one = await answer(model, tokenizer, [red], 'what?', { ...options, onText: (text) => heard.push(text) });
    assert.equal(heard.join('').trim(), one);
    const drawn = await continueText(model, tokenizer, ['x', green], { ...options, temperature: 5, seed: 1 });
    assert.equal(drawn, await continueText(model, tokenizer, ['x', green], { ...options, temperature: 5, seed: 1 }));
    assert.equal(typeof (await continueText(model, tokenizer, 'x', { ...options, beams: 3 })), 'string');
  });

  test('refuses a prompt longer than the context', async () => {
    await assert.rejects(answer(model, tokenizer, [red], 'x'.repeat(200)), /The prompt takes \d+ positions; the model was trained with 128/);
  });
});

describe('writing a document', () => {
  const options = { seed: 3, steps: 1, guidanceScale: 2, temperature: 2, maxTokens: 60 };

  test('puts pictures where it is told to, reads them back and goes on', async () => {
    const parts = await writeDocument(model, tokenizer, 'ab', { ...options, forceImageAt: [4, 8], maxImages: 2 });
    const forced = parts.filter((part) => part.kind === 'image' && part.forced);
    assert.ok(forced.length >= 1 && parts.filter(({ kind }) => kind === 'image').length <= 2);
    assert.deepEqual(parts.map((part) => (part.kind === 'text' ? part.text : part.image.data.join())), (await writeDocument(model, tokenizer, 'ab', { ...options, forceImageAt: [4, 8], maxImages: 2 })).map((part) => (part.kind === 'text' ? part.text : part.image.data.join())));
  });

  test('keeps within its positions and begins no picture that does not fit', async () => {
    const parts = await writeDocument(model, tokenizer, 'ab', { ...options, maxTokens: 12, forceImageAt: [0] });
    assert.deepEqual(parts.filter(({ kind }) => kind === 'image'), []);
    const cheap = await writeDocument(model, tokenizer, 'ab', { ...options, maxTokens: 3 + 2 * 11, forceImageAt: [0, 0, 0] });
    assert.ok(cheap.filter(({ kind }) => kind === 'image').length === 2);
  });

  test('leaks nothing, aborted or not', async () => {
    const before = tf.memory().numTensors;
    await writeDocument(model, tokenizer, 'ab', { ...options, forceImageAt: [2], maxImages: 1 });
    assert.equal(tf.memory().numTensors, before);
    const controller = new AbortController();
    const writing = writeDocument(model, tokenizer, 'ab', { ...options, forceImageAt: [0], signal: controller.signal, onPart: () => controller.abort(new Error('enough')) });
    await assert.rejects(writing, /enough/);
    const drawing = new AbortController();
    const stopped = writeDocument(model, tokenizer, 'ab', { ...options, steps: 9, forceImageAt: [0], signal: drawing.signal, onStep: () => drawing.abort(new Error('in the middle')) });
    await assert.rejects(stopped, /in the middle/);
    assert.equal(tf.memory().numTensors, before);
  });

  test('masks every token that is no target', () => {
    const { eos, dreamStart, ...rest } = config.tokens;
    assert.deepEqual(untrainedTokens(config).sort(), Object.values(rest).sort());
    assert.ok(!untrainedTokens(config).includes(eos) && !untrainedTokens(config).includes(dreamStart));
  });
});

test('the cache of a dream block counts on behind a prompt', async () => {
  const cache = new KvCache();
  const { queries, last } = await dreamOn(model, cache, 2);
  assert.deepEqual([queries.shape, last.shape, cache.length], [[2, 3, 32], [2, 32], 5]);
  tf.dispose([queries, last]);
  cache.dispose();
  assert.ok(flatten(params).size > 100);
});
