import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { useBackend } from '../core/backend.js';
import { hashSpec, openCheckpoint, saveArtefact, saveParams } from '../core/checkpoint.js';
import { blankImage, decodeImage, encodePng } from '../core/images.js';
import { initialize } from '../core/params.js';
import { openSafetensors, readSafetensors } from '../core/safetensors.js';
import { dreamSpec } from '../dreamllm/model.js';
import { micro, nano } from '../dreamllm/presets.js';
import { vicuna } from '../dreamllm/conversation.js';
import { chatPrompt } from './chat.js';
import { parseArguments, UsageError, type Command } from './command.js';
import { convertCheckpoint } from './convert.js';
import { documentPage } from './generate.js';

const folder = mkdtempSync(join(tmpdir(), 'commands-'));
const stage = join(folder, 'stage');

/** Runs a command in this process; what it printed, and its status as `main` would exit with. */
async function dreamllm(name: string, ...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const { default: command } = (await import(`./${name}.js`)) as { default: Command };
  const output = { log: '', error: '' };
  const real = { log: console.log, error: console.error };
  for (const stream of ['log', 'error'] as const) console[stream] = (line: string) => void (output[stream] += `${line}\n`);
  try {
    const status = (await command.run(parseArguments(command, args), new AbortController().signal)) ?? 0;
    return { status, stdout: output.log, stderr: output.error };
  } catch (error) {
    return { status: error instanceof UsageError ? 2 : 1, stdout: output.log, stderr: output.error + (error as Error).message };
  } finally {
    Object.assign(console, real);
  }
}

before(async () => {
  await useBackend();
  const spec = dreamSpec(micro);
  const params = initialize(spec, 1);
  saveArtefact(stage, params, { name: 'sft', spec: hashSpec(spec), trainable: ['model.layers'], parents: [], about: { preset: 'micro' } }, 'f16');
  tf.dispose(params as unknown as tf.TensorContainer);
  writeFileSync(join(folder, 'red.png'), await encodePng(blankImage(20, 14, [255, 0, 0])));
});

describe('generate', () => {
  test('draws the same picture for the same seed', async () => {
    const [a, b] = [join(folder, 'a.png'), join(folder, 'b', 'b.png')];
    for (const out of [a, b]) {
      const { status, stderr, stdout } = await dreamllm('generate', 'a red apple', '--model', stage, '--steps', '2', '--seed', '4', '--out', out, '--json');
      assert.equal(status, 0, stderr);
      assert.equal(JSON.parse(stdout).protocol.guidanceScale, 7.5);
    }
    assert.deepEqual(readFileSync(a), readFileSync(b));
    assert.equal((await decodeImage(a)).width, micro.imageSize);
  });

  test('writes a document as a page with its pictures beside it', async () => {
    const out = join(folder, 'document');
    const { status, stderr, stdout } = await dreamllm(
      'generate', 'a page', '--model', stage, '--document', '--steps', '1', '--scheduler', 'ddim', '--guidance', '1', '--max-images', '1', '--force-image-at', '2', '--max-tokens', '60', '--out', out,
    );
    assert.equal(status, 0, stderr);
    assert.deepEqual(readdirSync(out).sort(), ['index.html', 'picture-1.png']);
    assert.match(readFileSync(join(out, 'index.html'), 'utf8'), /<img src="picture-1.png"/);
    assert.match(stdout, /picture-1\.png/);
  });

  test('escapes what the model wrote', async () => {
    const page = documentPage('<title>', [{ kind: 'text', text: 'a < b & "c"\nd' }]);
    assert.match(page, /<p>a &lt; b &amp; &quot;c&quot;<br>d<\/p>/);
    assert.match(page, /<title>&lt;title&gt;<\/title>/);
  });

  test('says what is wrong with its arguments', async () => {
    const cases: [[string, ...string[]], RegExp][] = [
      [['generate', 'x'], /Expected --model DIR/],
      [['generate', 'x', '--model', 'nowhere'], /nowhere does not exist/],
      [['generate', 'x', '--model', stage, '--scheduler', 'magic'], /expected one of ddpm, ddim, pndm, euler, dpm-solver, found "magic"/],
      [['generate', 'x', '--model', stage, '--steps', 'many'], /--steps: expected a whole number from 1 to 1000, found "many"/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = await dreamllm(...args);
      assert.equal(status, 2);
      assert.match(stderr, message);
    }
  });
});

describe('chat', () => {
  test('answers questions about a picture', async () => {
    const { status, stderr, stdout } = await dreamllm('chat', 'what is it?', 'sure?', '--model', stage, '--image', join(folder, 'red.png'), '--max-tokens', '3', '--json');
    assert.equal(status, 0, stderr);
    const { rounds } = JSON.parse(stdout) as { rounds: { question: string; answer: string }[] };
    assert.deepEqual(rounds.map(({ question }) => question), ['what is it?', 'sure?']);
  });

  test('keeps earlier rounds in the form of training', async () => {
    const image = blankImage(1, 1);
    const prompt = chatPrompt([image], [{ question: 'a?', answer: 'b' }], 'c?', { ...vicuna, system: 'S.' });
    assert.deepEqual(prompt, ['S. USER: ', image, '\na? ASSISTANT: b</s>USER: c? ASSISTANT:']);
    assert.deepEqual(chatPrompt([], [], 'c?', { ...vicuna, system: 'S.' }), ['S. USER: c? ASSISTANT:']);
  });
});

describe('inspect', () => {
  test('names the model that a checkpoint fits', async () => {
    const { status, stdout } = await dreamllm('inspect', join(stage, 'model.safetensors'));
    assert.equal(status, 0);
    assert.match(stdout, /It is micro: all \d+ parameters .* are there, and nothing else/);
    assert.match(stdout, /\d+ F16/);
  });

  test('recognises a part, and lists what is missing and too much', async () => {
    const spec = dreamSpec(nano).stable_diffusion_head.vae;
    const params = initialize({ ...spec, extra: dreamSpec(micro).model.dream_embedding }, 1);
    const file = join(folder, 'vae.safetensors');
    const { decoder, ...rest } = params;
    saveParams(file, { ...rest, decoder: { ...decoder, conv_out: {} } });
    tf.dispose(params as unknown as tf.TensorContainer);
    const { status, stdout } = await dreamllm('inspect', file, '--json');
    assert.equal(status, 1);
    const { fit } = JSON.parse(stdout);
    assert.equal(fit.name, 'nano: autoencoder');
    assert.deepEqual(fit.missing, ['decoder.conv_out.weight', 'decoder.conv_out.bias']);
    assert.deepEqual(fit.unexpected, ['extra.dream_queries']);
  });
});

describe('convert', () => {
  test('splits, rounds and joins again without loss', async () => {
    const source = openSafetensors('data/fixtures/dreamllm/model.safetensors');
    const sharded = join(folder, 'sharded');
    const files = convertCheckpoint(source, sharded, { shardBytes: 300_000 });
    assert.ok(files.length > 3 && files.at(-1)!.endsWith('model.safetensors.index.json'));
    const shards = openCheckpoint(sharded);
    const [back, half] = [join(folder, 'back.safetensors'), join(folder, 'half.safetensors')];
    convertCheckpoint(shards, back);
    convertCheckpoint(shards, half, { dtype: 'F16' });
    const [original, copied, rounded] = [readSafetensors(source.name), readSafetensors(back), readSafetensors(half)];
    for (const [key, tensor] of original.tensors) assert.deepEqual(copied.tensors.get(key), tensor, key);
    assert.ok([...rounded.tensors.values()].every(({ dtype }) => dtype === 'F16'));
    assert.deepEqual({ ...copied.metadata }, { format: 'pt' });
    shards.close();
    source.close();
  });

  test('leaves an existing target alone and takes configurations along', async () => {
    const target = join(folder, 'converted');
    const { status, stdout, stderr } = await dreamllm('convert', 'data/fixtures/dreamllm', target, '--dtype', 'bf16');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /tensors to .*model\.safetensors in .* GB of memory/);
    assert.ok(existsSync(join(target, 'config.json')));
    const again = await dreamllm('convert', 'data/fixtures/dreamllm', target);
    assert.equal(again.status, 2);
    assert.match(again.stderr, /exists and is not overwritten/);
  });

  test('leaves nothing half-written when it is interrupted', async () => {
    const target = join(folder, 'interrupted.safetensors');
    const source = openSafetensors('data/fixtures/dreamllm/model.safetensors');
    const controller = new AbortController();
    assert.throws(() => convertCheckpoint(source, target, { signal: controller.signal, onTensor: (done) => done === 5 && controller.abort(new Error('enough')) }), /enough/);
    assert.deepEqual(readdirSync(folder).filter((name) => name.startsWith('interrupted')), []);
    source.close();
  });
});
