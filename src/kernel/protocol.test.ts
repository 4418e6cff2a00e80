import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as zmq from 'zeromq';
import { kernelCommand } from './kernel-command.js';
import { temporaryFolder, TestKernel } from './testing.js';
import { address, readConnection } from './wire/connection.js';
import { Codec, type Message } from './wire/message.js';

describe('the kernel', () => {
  let kernel: TestKernel;
  before(async () => {
    kernel = await TestKernel.start({ connection: { transport: 'tcp', ip: '127.0.0.1', ...freePorts() } });
  });
  after(() => kernel.close());
  const ask = (type: string, content = {}, channel?: 'shell' | 'control') => kernel.client.ask(type, content, channel);

  /** A cell that keeps its thread busy until it is released. */
  async function busyCell(): Promise<{ release(): void; ended: Promise<unknown> }> {
    const gate = join(temporaryFolder(), 'gate');
    const started = new Promise<void>((resolve) => (kernel.client.onPublished = ({ content }) => content.text === 'busy\n' && resolve()));
    const ended = kernel.run(`import { existsSync } from 'node:fs'; console.log('busy'); while (!existsSync(${JSON.stringify(gate)}));`);
    await started;
    kernel.client.onPublished = undefined;
    return { release: () => writeFileSync(gate, ''), ended };
  }

  test('15: says what it is', async () => {
    const info = await ask('kernel_info_request');
    assert.equal(info.protocol_version, '5.3');
    assert.equal(info.implementation, 'dreamllm');
    const language = info.language_info as Record<string, unknown>;
    assert.deepEqual([language.name, language.version, language.file_extension, language.mimetype], ['typescript', '5.0.4', '.ts', 'text/typescript']);
  });

  test('15: answers a comm_info_request with a comm_info_reply', async () => {
    const { reply, end } = kernel.client.request('comm_info_request', {});
    const { header, content } = await reply;
    end();
    assert.equal(header.msg_type, 'comm_info_reply');
    assert.deepEqual(content, { status: 'ok', comms: {} });
  });

  test('completes with real types, counting characters as Jupyter does', async () => {
    await kernel.value('const settings = { learningRate: 1, layers: 2 }');
    assert.deepEqual(await ask('complete_request', { code: 'settings.lea', cursor_pos: 12 }), { status: 'ok', matches: ['learningRate'], cursor_start: 9, cursor_end: 12, metadata: {} });
    const after = await ask('complete_request', { code: '"😀😀"; settings.la', cursor_pos: 17 });
    assert.deepEqual([after.matches, after.cursor_start, after.cursor_end], [['layers'], 15, 17]);
    const { matches } = await ask('complete_request', { code: 'tf.zero', cursor_pos: 7 });
    assert.ok((matches as string[]).includes('zerosLike'));
  });

  test('inspects with signature and documentation', async () => {
    await kernel.value('/** Trains a stage. */\nfunction trainStage(steps: number): void {}');
    const { found, data } = await ask('inspect_request', { code: 'trainStage(3)', cursor_pos: 4, detail_level: 0 });
    assert.equal(found, true);
    assert.match((data as Record<string, string>)['text/plain'], /function trainStage\(steps: number\): void[^]*Trains a stage\./);
    assert.deepEqual(await ask('inspect_request', { code: '   ', cursor_pos: 1 }), { status: 'ok', found: false, data: {}, metadata: {} });
  });

  test('completes while a cell runs', async () => {
    const { release, ended } = await busyCell();
    assert.deepEqual((await ask('complete_request', { code: 'settings.lay', cursor_pos: 12 })).matches, ['layers']);
    release();
    await ended;
  });

  test('tells complete code from unfinished and from wrong', async () => {
    const status = async (code: string) => (await ask('is_complete_request', { code })).status;
    assert.deepEqual([await status('const a = 1'), await status('function f() {'), await status('const = = 3')], ['complete', 'incomplete', 'invalid']);
    assert.equal((await ask('is_complete_request', { code: 'if (true) {' })).indent, '  ');
  });

  test('remembers what was entered', async () => {
    await kernel.value('"first entry"', '"second entry"');
    const tail = (await ask('history_request', { hist_access_type: 'tail', n: 2, output: false, raw: true })).history as [number, number, string][];
    assert.deepEqual(tail.map(([, , input]) => input), ['"first entry"', '"second entry"']);
    const found = (await ask('history_request', { hist_access_type: 'search', pattern: '*first*', n: 5, output: false, raw: true })).history as unknown[];
    assert.equal(found.length, 1);
    const range = (await ask('history_request', { hist_access_type: 'range', session: 0, start: tail[0][1], stop: tail[1][1], output: false, raw: true })).history as [number, number, string][];
    assert.deepEqual(range, [tail[0]]);
  });

  test('runs silently, without count, result or history', async () => {
    const before = (await kernel.run('1')).count;
    const { messages } = await kernel.run('let quiet = 1; quiet', { silent: true, store_history: false });
    assert.deepEqual(messages.map(({ header }) => header.msg_type), ['status', 'status']);
    assert.equal((await kernel.run('quiet')).count, before! + 1);
  });

  test('evaluates expressions along with a cell', async () => {
    const reply = await kernel.client.execute('const base = 20;', () => {}, { user_expressions: { good: 'base + 1', bad: 'base.missing' } });
    const { good, bad } = reply.user_expressions as Record<string, Record<string, unknown>>;
    assert.deepEqual(good, { status: 'ok', data: { 'text/plain': '21' }, metadata: {} });
    assert.equal(bad.status, 'error');
    assert.equal(bad.ename, 'TS2339');
  });

  test('asks the reader, and fails where nobody can answer', async () => {
    const refused = await kernel.run('await ask("name?")');
    assert.match(refused.error!.evalue, /takes no input/);
    const questions: [string, boolean][] = [];
    kernel.client.onInput = (prompt, password) => (questions.push([prompt, password]), 'Ada');
    assert.equal(await kernel.value('"Hello " + await ask("name?")'), 'Hello Ada');
    assert.equal(await kernel.value('await ask("key?", { password: true })'), 'Ada');
    assert.deepEqual(questions, [['name?', false], ['key?', true]]);
    kernel.client.onInput = undefined;
  });

  test('aborts cells that were queued behind a failed one', async () => {
    const [failed, ...queued] = await Promise.all([kernel.run('await new Promise((done) => setTimeout(done, 300)); throw new Error("stop")'), kernel.run('1'), kernel.run('2')]);
    assert.equal(failed.status, 'error');
    assert.deepEqual(queued.map(({ status }) => status), ['aborted', 'aborted']);
    assert.equal(await kernel.value('3'), '3');
  });

  test('says that it has no widgets', async () => {
    const closed = new Promise<Message>((resolve) => (kernel.client.onPublished = (message) => message.header.msg_type === 'comm_close' && resolve(message)));
    kernel.client.request('comm_open', { comm_id: 'c1', target_name: 'jupyter.widget', data: {} });
    assert.equal((await closed).content.comm_id, 'c1');
    kernel.client.onPublished = undefined;
  });

  test('echoes heartbeats, also while a cell keeps its thread busy', async () => {
    const heart = new zmq.Request({ linger: 0, receiveTimeout: 30_000 });
    heart.connect(address(kernel.client.connection, 'hb'));
    const { release, ended } = await busyCell();
    await heart.send('beat');
    const [beat] = await heart.receive();
    heart.close();
    assert.equal(beat.toString(), 'beat');
    release();
    await ended;
  });

  test('survives 1,000 malformed and mis-signed messages and runs none of them', async () => {
    await kernel.value('let attacked = false');
    const { codec, connection } = kernel.client;
    const wrongKey = new Codec(`${connection.key}x`, connection.hash);
    const attack = { code: 'attacked = true', silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: true };
    const random = numbersFrom(7);
    const pick = <T>(items: T[]): T => items[Math.floor(random() * items.length)];
    const good = () => codec.encode('execute_request', {}, attack);
    const replayed = codec.encode('kernel_info_request', {}, {});
    const forms: (() => (Buffer | string)[])[] = [
      () => wrongKey.encode('execute_request', {}, attack),
      () => good().map((frame, i) => (i === 1 ? '' : frame)), // no signature
      () => good().map((frame, i) => (i === 1 ? String(frame).slice(0, 10) : frame)), // half a signature
      () => good().slice(0, 2 + Math.floor(random() * 4)), // cut off
      () => good().slice(1), // no delimiter
      () => good().map((frame, i) => (i === 5 ? JSON.stringify({ ...attack, code: 'attacked = true // altered' }) : frame)),
      () => [randomBytes(1 + Math.floor(random() * 200))],
      () => ['<IDS|MSG>', ...Array.from({ length: 5 }, () => randomBytes(10))],
      () => signed(['not json', '{}', '{}', '{}']),
      () => signed([JSON.stringify({ msg_id: 1, msg_type: 'execute_request' }), '{}', '{}', JSON.stringify(attack)]),
      () => signed([JSON.stringify({ msg_id: 'a', msg_type: ['execute_request'] }), '{}', '{}', JSON.stringify(attack)]),
      () => signed([JSON.stringify([]), '{}', '{}', JSON.stringify(attack)]),
      () => signed([JSON.stringify({ msg_id: 'a', msg_type: 'execute_request' }), 'null', '{}', JSON.stringify(attack)]),
      () => replayed,
      () => [],
    ];
    function signed(parts: string[]): (Buffer | string)[] {
      return ['<IDS|MSG>', (codec as unknown as { sign(parts: string[]): string }).sign(parts), ...parts];
    }
    for (let i = 0; i < 1000; i++) kernel.client.sendRaw(pick(forms)(), pick(['shell', 'control', 'stdin'] as const));
    assert.equal(await kernel.value('attacked'), 'false');
    assert.equal((await ask('kernel_info_request')).status, 'ok');
  });

  test('ignores contents of the wrong types', async () => {
    assert.equal((await kernel.run(5 as never)).status, 'ok');
    assert.equal((await ask('complete_request', { code: null, cursor_pos: 'x' })).status, 'ok');
    assert.equal((await ask('history_request', { hist_access_type: 5 })).status, 'ok');
    kernel.client.request('no_such_request', {});
    assert.equal(await kernel.value('"alive"'), 'alive');
  });
});

/** Repeatable numbers in [0, 1): the Lehmer generator of Park and Miller. */
function numbersFrom(seed: number): () => number {
  return () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
}

describe('the address', () => {
  const file = join(temporaryFolder(), 'connection.json');
  const write = (changes: object) => writeFileSync(file, JSON.stringify({ transport: 'tcp', ip: '127.0.0.1', key: 'k', signature_scheme: 'hmac-sha256', shell_port: 1, iopub_port: 2, stdin_port: 3, control_port: 4, hb_port: 5, ...changes }));

  test('must be a loopback address and have a key', () => {
    const read = (changes: object) => (write(changes), readConnection(file));
    for (const ip of ['0.0.0.0', '*', '192.168.1.5', 'example.org', '::']) assert.throws(() => read({ ip }), /only loopback addresses and IPC/, ip);
    for (const ip of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) assert.equal(read({ ip }).ip, ip);
    assert.throws(() => read({ key: '' }), /Unsigned messages are not accepted/);
    assert.throws(() => read({ transport: 'udp' }), /"udp" is unknown/);
    assert.throws(() => read({ shell_port: 'x' }), /"shell_port" is x/);
    assert.throws(() => read({ signature_scheme: 'none' }), /"none" is unknown/);
  });

  test('is refused by the kernel when others could reach it, with the reason', () => {
    write({ ip: '0.0.0.0' });
    const [program, ...args] = kernelCommand(file);
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stderr, /refusing to listen on 0\.0\.0\.0/);
  });
});

function freePorts(): Record<string, number> {
  const first = 40_000 + Math.floor(Math.random() * 9000);
  return Object.fromEntries(['shell', 'iopub', 'stdin', 'control', 'hb'].map((channel, i) => [`${channel}_port`, first + i]));
}
