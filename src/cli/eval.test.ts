import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { random } from '../core/random.js';
import { writeSafetensors } from '../core/safetensors.js';
import type { Measurement } from '../eval/protocol.js';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eval-'));
const path = (name: string) => join(folder, name);

interface Outcome { code: number; stdout: string; stderr: string }
const run = async (...args: string[]): Promise<Outcome> =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', main, 'eval', ...args]).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }), ({ code, stdout, stderr }: Outcome) => ({ code, stdout, stderr }));
const measured = async (...args: string[]): Promise<Measurement<any>> => {
  const { code, stdout, stderr } = await run(...args, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Measurement<any>;
};
const store = (name: string, n: number, dim: number, seed: number, change = (values: Float32Array) => values) => {
  writeSafetensors(path(name), new Map([['features', { dtype: 'F32' as const, shape: [n, dim], values: change(random(seed, 'f').normals(n * dim)) }]]));
  return path(name);
};
const write = (name: string, content: unknown) => {
  writeFileSync(path(name), typeof content === 'string' ? content : JSON.stringify(content));
  return path(name);
};

describe('dreamllm eval', () => {
  test('measures an FID, keeps the reference and says how it was made', async () => {
    const [real, fake] = [store('real.safetensors', 60, 6, 1), store('fake.safetensors', 50, 6, 2)];
    const direct = await measured('fid', '--real', real, '--fake', fake, '--set', 'split=val');
    assert.equal(direct.metric, 'fid');
    assert.equal(direct.protocol.split, 'val');
    assert.equal(direct.n, 50);
    const cached = [await measured('fid', '--real', real, '--fake', fake, '--cache', path('cache')), await measured('fid', '--real', real, '--fake', fake, '--cache', path('cache'))];
    assert.equal(readdirSync(path('cache')).length, 1);
    for (const { value, protocol } of cached) {
      assert.ok(Math.abs(value - direct.value) < 1e-10);
      assert.equal(protocol.reference, direct.protocol.reference);
    }
  });

  test('reads NumPy files, also as published moments', async () => {
    const npy = (shape: string, values: number[]) => {
      const header = `{'descr': '<f8', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + '\n';
      return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from(Uint16Array.of(header.length).buffer), Buffer.from(header), Buffer.from(Float64Array.from(values).buffer)]);
    };
    writeFileSync(path('x.npy'), npy('(4, 2)', [0, 0, 2, 0, 0, 2, 2, 2]));
    writeFileSync(path('moments.npz'), zip({ 'mu.npy': npy('(2,)', [1, 2]), 'sigma.npy': npy('(2, 2)', [4 / 3, 0, 0, 4 / 3]) }));
    const { value } = await measured('fid', '--real', path('moments.npz'), '--fake', path('x.npy'));
    assert.ok(Math.abs(value - 1) < 1e-12, `one step apart with equal covariance: ${value}`);
  });

  test('refuses too few pictures, and broken features by their row', async () => {
    const [real, few] = [store('many.safetensors', 60, 6, 1), store('few.safetensors', 5, 6, 2)];
    const broken = store('broken.safetensors', 20, 6, 3, (values) => ((values[6 * 7 + 2] = Infinity), values));
    const refused = await run('fid', '--real', real, '--fake', few);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /few\.safetensors has 5 pictures for 6 dimensions/);
    const allowed = await measured('fid', '--real', real, '--fake', few, '--allow-few');
    assert.match(allowed.warnings![0], /covariance is singular/);
    assert.match((await run('kid', '--real', real, '--fake', broken)).stderr, /row 7, column 2 is Infinity/);
  });

  test('scores MMBench, captions, VQA, POPE and MM-Vet from their files', async () => {
    const tsv = write('q.tsv', 'index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tl2-category\n7\tWhat?\t\tcat\tdog\t\t\tB\tocr\tcoarse_perception\n1000007\tWhat?\t\tdog\tcat\t\t\tA\tocr\tcoarse_perception\n');
    const mmbench = await measured('mmbench', '--tsv', tsv, '--predictions', write('p.tsv', 'index\tprediction\n7\tB\n1000007\tB\n'));
    assert.equal(mmbench.value, 0);
    assert.equal(mmbench.details.vanilla.accuracy, 1);

    const references = write('refs.json', { annotations: [{ image_id: 1, caption: 'A cat sits.' }, { image_id: 2, caption: 'A dog runs.' }] });
    const rouge = await measured('rouge', '--references', references, '--candidates', write('cands.json', [{ image_id: 1, caption: 'a cat sits' }, { image_id: 2, caption: 'a cow runs' }]));
    assert.ok(Math.abs(rouge.value - (1 + 2 / 3) / 2) < 1e-12);
    assert.match((await run('cider', '--references', references, '--candidates', write('one.json', [{ image_id: 1, caption: 'x' }]))).stderr, /one\.json lacks 1 of 2 images, first "2"/);

    const answers = Array.from({ length: 10 }, () => ({ answer: 'two' }));
    const annotations = write('ann.json', { annotations: [{ question_id: 5, answers, question_type: 'how many', answer_type: 'number' }] });
    const vqa = await measured('vqa', '--annotations', annotations, '--predictions', write('ans.jsonl', '{"question_id": 5, "answer": "2"}\n'), '--variant', 'evalai');
    assert.equal(vqa.value, 1);

    const questions = write('pope.jsonl', '{"question_id": 1, "label": "yes", "category": "random"}\n{"question_id": 2, "label": "no", "category": "popular"}\n');
    const pope = await measured('pope', '--questions', questions, '--predictions', write('said.jsonl', '{"question_id": 2, "text": "No."}\n{"question_id": 1, "text": "You notice one."}\n'));
    assert.equal(pope.value, 1);
    assert.deepEqual(Object.keys(pope.details.splits), ['popular', 'random']);

    const mmvet = await measured('mmvet', '--questions', write('vet.json', { v1_0: { question: 'x?', answer: '-1 <AND> -5', capability: ['math'] } }), '--predictions', write('vetted.json', { v1_0: '-5' }));
    assert.equal(mmvet.value, 50);
    assert.match(String(mmvet.protocol.judge), /local/);
  });

  test('explains why two numbers may not be compared', async () => {
    const a = write('a.json', { metric: 'fid', value: 8.46, n: 30000, protocol: { selection: 'best-of-8', size: 30000 } });
    const b = write('b.json', { metric: 'fid', value: 12.5, n: 5000, protocol: { selection: 'single', size: 5000 } });
    const { stdout } = await run('explain', a, b);
    assert.match(stdout, /selection\s+best-of-8\s+\|\s+single/);
    assert.match(stdout, /- size: FID falls as 1\/n/);
    assert.match((await run('explain', a, a)).stdout, /may share a column/);
  });

  test('tells how much each step between two numbers explains', async () => {
    const [real, fake] = [store('r.safetensors', 200, 4, 1), store('g.safetensors', 200, 4, 2)];
    const steps = write('steps.json', [{ label: 'few pictures', real, fake, n: 20 }, { label: 'all pictures', real, fake }, { label: 'other side', real: fake, fake: real }]);
    const { stdout } = await run('explain', '--path', steps, '--json');
    const told = JSON.parse(stdout) as { steps: { value: number; change: number }[]; figure: { data: { y: number[]; measure: string[] }[] } };
    assert.ok(told.steps[1].change < 0, 'more pictures, less bias');
    assert.ok(Math.abs(told.steps[2].change) < 1e-9, 'symmetric');
    const { y, measure } = told.figure.data[0];
    assert.deepEqual(measure, ['absolute', 'relative', 'relative', 'total']);
    assert.ok(Math.abs(y[0] + y[1] + y[2] - y[3]) < 1e-9);
  });

  test('is strict about how it is called', async () => {
    for (const [args, message] of [[['fit'], /expected one metric of fid/], [['fid', '--real', 'a.npy'], /does not exist|--fake is missing/], [['mmbench', '--tsv', 'x', '--matcher', 'best'], /ENOENT|expected/]] as const) {
      const { code, stderr } = await run(...args);
      assert.notEqual(code, 0);
      assert.match(stderr, message);
    }
  });
});

/** A zip of stored members, as numpy.savez writes it, without checksums. */
function zip(members: Record<string, Buffer>): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(members)) {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(data.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(data.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(offset, 42);
    locals.push(local, Buffer.from(name), data);
    directory.push(central, Buffer.from(name));
    offset += 30 + name.length + data.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(members).length, 10);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, ...directory, end]);
}
