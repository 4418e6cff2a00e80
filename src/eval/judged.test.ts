import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { dreamTokenScores } from './dream-tokens.js';
import { languageTasks, scoreLanguageTask } from './language.js';
import { endpointJudge, judgeFromEnvironment, localJudge, scoreMmvet, type Judge, type MmvetItem } from './mmvet.js';

const close = (found: number, expected: number) => assert.ok(Math.abs(found - expected) < 1e-9, `expected ${expected}, found ${found}`);
const item = (id: string, answer: string, prediction: string, capabilities = ['rec']): MmvetItem => ({ id, question: 'What is x?', answer, prediction, capabilities });

describe('MM-Vet', () => {
  test('has a local judge that knows parts and alternatives', async () => {
    for (const [answer, prediction, expected] of [
      ['-1 <AND> -5', 'x = -1', 0.5], ['-1 <AND> -5', 'x is -5 or -1.', 1], ['cat <OR> kitten', 'A Kitten!', 1], ['cat', 'category', 0], ['3.5', 'about 3.5 metres', 1],
    ] as const) assert.equal(await localJudge.score(item('q', answer, prediction), 0), expected, `${answer}: ${prediction}`);
  });

  test('averages over calls, reports both kinds of variance and the capabilities', async () => {
    const judge = (name: string, scores: number[][]): Judge => ({ name, score: async ({ id }, repeat) => scores[Number(id)][repeat] });
    const items = [item('0', 'a', 'a', ['rec', 'ocr']), item('1', 'b', 'b', ['ocr'])];
    const result = await scoreMmvet(items, [judge('x', [[1, 0.8], [0, 0]]), judge('y', [[0.5, 0.5], [0.5, 0.5]])], 2);
    close(result.total, 100 * (0.7 + 0.25) / 2);
    close(result.withinJudge!, (200 + 0 + 0 + 0) / 4);
    close(result.betweenJudges!, (50 - 45) ** 2 / 2);
    close(result.capabilities.ocr.score, 47.5);
    close(result.capabilities.rec.score, 70);
  });

  test('counts failed calls as missing and never as 0', async () => {
    const flaky: Judge = {
      name: 'flaky',
      score: async ({ id }) => {
        if (id === '1') throw new Error('status 500');
        return 1;
      },
    };
    const result = await scoreMmvet([item('0', 'a', 'a'), item('1', 'b', 'b')], [flaky], 3);
    assert.equal(result.total, 100);
    assert.equal(result.n, 1);
    assert.deepEqual(result.missing, { calls: 3, of: 6, questions: 1, reasons: ['status 500'] });
    await assert.rejects(scoreMmvet([item('1', 'b', 'b')], [flaky]), /all 1 calls of the judges failed/);
  });

  test('asks an OpenAI-compatible endpoint and keeps the key to itself', async () => {
    const seen: { authorization?: string; url?: string; body: { model: string; messages: { content: string }[] } }[] = [];
    const replies = ['0.5', 'Well, I would say good', '0.5'];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        seen.push({ authorization: request.headers.authorization, url: request.url, body: JSON.parse(body) });
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ choices: [{ message: { content: replies[seen.length - 1] } }] }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const judge = endpointJudge({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`, model: 'judge-1', key: 'sk-secret' });
      const result = await scoreMmvet([item('0', 'a cat', 'a dog')], [judge], 3);
      assert.equal(result.total, 50);
      assert.equal(result.missing.calls, 1);
      assert.equal(seen[0].url, '/v1/chat/completions');
      assert.equal(seen[0].authorization, 'Bearer sk-secret');
      assert.match(seen[0].body.messages[1].content, /Reference: a cat\nAnswer: a dog/);
      assert.doesNotMatch(JSON.stringify(result) + judge.name, /secret|127\.0/);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  test('takes its endpoint from the environment only as a whole', () => {
    assert.equal(judgeFromEnvironment({}), undefined);
    assert.throws(() => judgeFromEnvironment({ DREAMLLM_JUDGE_URL: 'http://x' }), /DREAMLLM_JUDGE_MODEL/);
  });
});

describe('language tasks', () => {
  // A model that likes short continuations and the word "right".
  const liking = async (_: string, continuation: string) => -continuation.length + (continuation.includes('right') ? 100 : 0);

  test('choose the likeliest continuation', async () => {
    const { value, n, protocol } = await scoreLanguageTask(languageTasks.piqa, [
      { goal: 'g', sol1: 'right', sol2: 'wrong', label: 0 }, { goal: 'g', sol1: 'w', sol2: 'the right one', label: 1 }, { goal: 'g', sol1: 'right', sol2: 'w', label: 1 },
    ], liking);
    close(value, 2 / 3);
    assert.equal(n, 3);
    assert.equal(protocol.matcher, 'log-likelihood');
  });

  test('have the prompts and answers of their formats', () => {
    const winogrande = languageTasks.winogrande.choice({ sentence: 'The cup fell off the _ and broke.', option1: 'table', option2: 'floor', answer: '1' });
    assert.deepEqual(winogrande.candidates[1], { prompt: 'The cup fell off the floor', continuation: ' and broke.' });
    assert.equal(winogrande.answer, 0);
    assert.equal(languageTasks.hellaswag.choice({ ctx: 'A man', endings: ['sits.', 'flies away.'], label: '1' }).candidates[1].normalizer, 11);
    assert.equal(languageTasks.boolq.choice({ passage: 'p', question: 'is it so', answer: true }).answer, 1);
    assert.equal(languageTasks.siqa.choice({ context: 'c', question: 'q', answerA: 'x', answerB: 'y', answerC: 'z', label: '3' }).answer, 2);
    const mmlu = languageTasks.mmlu.choice({ question: '1+1?', A: '1', B: '2', C: '3', D: '4', answer: 'B', subject: 'high_school_maths' }, [{ question: '0+1?', A: '1', B: '2', C: '3', D: '4', answer: 'A' }]);
    assert.match(mmlu.candidates[0].prompt, /about high school maths\.\n\n0\+1\?\n[^]*Answer: A\n\n1\+1\?[^]*Answer:$/);
  });

  test('name the row that is broken', async () => {
    await assert.rejects(scoreLanguageTask(languageTasks.piqa, [{ goal: 'g', sol1: 'a', sol2: 'b', label: 2 }], liking), /PIQA, row 0: expected 0 to 1 in "label", found 2/);
    await assert.rejects(scoreLanguageTask(languageTasks.piqa, [{ goal: 'g', sol1: 'a', sol2: 'b', label: 0 }], async () => NaN), /row 0: the log-likelihood of candidate 0 is NaN/);
  });
});

describe('dream tokens', () => {
  test('are scored at their threshold and by rank', () => {
    const scores = dreamTokenScores([
      { id: 0, hasPicture: [true, false, false, true], isTop: [true, true, false, false], probability: [0.6, 0.5, 0.1, 0.4] },
      { id: 1, hasPicture: [false, true], isTop: [false, false], probability: [0.1, 0.2] },
    ]);
    close(scores.precision, 1 / 2);
    close(scores.recall, 1 / 3);
    close(scores.f1, 0.4);
    close(scores.placement, 2 / 3);
    close(scores.placementChance, (4 / 4 + 1 / 2) / 3);
    assert.equal(scores.pictures, 3);
  });

  test('are refused without pictures or with a prediction too few', () => {
    assert.throws(() => dreamTokenScores([{ id: 'x', hasPicture: [false], isTop: [false], probability: [0] }]), /found none in 1/);
    assert.throws(() => dreamTokenScores([{ id: 'x', hasPicture: [true], isTop: [], probability: [0] }]), /Document x/);
  });
});
