import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Script } from 'node:vm';
import { RunFolder } from '../run-folder.js';
import { page } from './page.js';
import { serveBoard, type Board } from './server.js';

describe('the board', () => {
  const root = mkdtempSync(join(tmpdir(), 'board-'));
  const path = join(root, 'sweep', 'first');
  let run: RunFolder;
  let board: Board;
  before(async () => {
    run = RunFolder.create(path, { settings: {} });
    run.append({ type: 'start', step: 0, steps: 10 });
    for (const step of [0, 1]) run.append({ type: 'step', step, loss: 2 - step, ms: 500, samplesPerSecond: 8 });
    mkdirSync(join(path, 'samples'));
    writeFileSync(join(path, 'samples', '000002.png'), 'picture');
    writeFileSync(join(root, 'secret.png'), 'secret');
    board = await serveBoard(root);
  });
  after(async () => {
    run.close();
    await board.close();
  });

  const get = (where: string, query: Record<string, string> = {}) => {
    const url = new URL(board.url);
    url.pathname = where;
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    return fetch(url);
  };

  const statusOf = async (answer: Response) => {
    await answer.arrayBuffer();
    return answer.status;
  };

  test('lists runs with their speed and the time left', async () => {
    const [summary, ...others] = (await (await get('/runs')).json()) as Record<string, unknown>[];
    assert.equal(others.length, 0);
    const { name, step, steps, loss, secondsLeft, state } = summary;
    assert.deepEqual({ name, step, steps, loss, secondsLeft, state }, { name: 'sweep/first', step: 2, steps: 10, loss: 1, secondsLeft: 4, state: 'running' });
  });

  test('gives the new lines of a log, and only whole ones', async () => {
    const first = (await (await get('/events', { run: 'sweep/first', from: '0' })).json()) as { text: string; next: number };
    assert.equal(first.text.trim().split('\n').length, 3);
    run.append({ type: 'step', step: 2, loss: 0.5 });
    appendFileSync(join(path, 'events.jsonl'), '{"type":"st');
    const second = (await (await get('/events', { run: 'sweep/first', from: String(first.next) })).json()) as { text: string };
    assert.equal(JSON.parse(second.text).loss, 0.5);
  });

  test('shows samples of runs and no other file', async () => {
    assert.deepEqual(await (await get('/samples', { run: 'sweep/first' })).json(), ['000002.png']);
    assert.equal(await (await get('/sample', { run: 'sweep/first', name: '000002.png' })).text(), 'picture');
    for (const query of [{ run: 'sweep/first', name: '../../../secret.png' }, { run: '..', name: 'secret.png' }, { run: 'sweep', name: 'x.png' }]) {
      assert.equal(await statusOf(await get('/sample', query)), 404);
    }
  });

  test('answers nobody without the token, nor under another host name', async () => {
    assert.equal(await statusOf(await get('/runs', { token: 'wrong' })), 403);
    const url = new URL(board.url);
    const status = await new Promise((done) => {
      request({ host: '127.0.0.1', port: url.port, path: `/runs${url.search}`, headers: { Host: 'evil.example' }, agent: false }, (answer) => {
        answer.resume();
        done(answer.statusCode);
      }).end();
    });
    assert.equal(status, 403);
  });

  test('serves a page whose script parses, with plotly beside it', async () => {
    const answer = await get('/');
    assert.match(answer.headers.get('content-security-policy') ?? '', /default-src 'self'/);
    assert.equal(await answer.text(), page);
    const [, script] = /<script>([\s\S]*)<\/script>/.exec(page)!;
    new Script(script);
    const plotly = await get('/plotly.js');
    assert.equal(plotly.status, 200);
    assert.match((await plotly.text()).slice(0, 300), /plotly\.js/);
  });
});
