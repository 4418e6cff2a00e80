import { createHash } from 'node:crypto';
import { estimate, mean, standardDeviation, variance } from './statistics.js';
import type { Interval } from './protocol.js';

/** One question of MM-Vet; parts of the answer are joined by <AND>, alternatives by <OR>. */
export interface MmvetItem {
  readonly id: string;
  readonly question: string;
  readonly answer: string;
  readonly prediction: string;
  readonly capabilities: readonly string[];
}

/** Gives an answer a score in 0..1. A call that fails throws; it is counted as missing, never as 0. */
export interface Judge {
  /** Model and prompt version, for the protocol. Never holds an address or a key. */
  readonly name: string;
  score(item: MmvetItem, repeat: number): Promise<number>;
}

export interface MmvetResult {
  /** 0..100, the mean over questions of the mean over all calls that succeeded. */
  readonly total: number;
  /** Over questions. */
  readonly ci?: Interval;
  readonly n: number;
  readonly capabilities: Record<string, { score: number; n: number }>;
  readonly judges: { name: string; total?: number; missing: number; /** Deviation of this judge's totals over repeats. */ std?: number }[];
  /** Mean over questions of the variance of one judge's scores of one answer, in points squared. Absent without repeats. */
  readonly withinJudge?: number;
  /** Variance of the judges' totals, in points squared. Absent with one judge. */
  readonly betweenJudges?: number;
  readonly missing: { calls: number; of: number; questions: number; reasons: string[] };
}

/** Scores every answer `repeats` times by every judge. Questions without one successful call are left out and counted. */
export async function scoreMmvet(items: readonly MmvetItem[], judges: readonly Judge[], repeats = 1, signal?: AbortSignal): Promise<MmvetResult> {
  if (items.length === 0) throw new Error('MM-Vet: expected at least one question, found none.');
  if (judges.length === 0 || repeats < 1) throw new Error('MM-Vet: expected at least one judge and one repeat.');
  // scores[judge][item] holds the calls that succeeded, with their repeat.
  const scores = judges.map(() => items.map(() => new Map<number, number>()));
  const reasons = new Set<string>();
  for (const [j, judge] of judges.entries()) {
    for (const [i, item] of items.entries()) {
      for (let repeat = 0; repeat < repeats; repeat++) {
        signal?.throwIfAborted();
        try {
          const score = await judge.score(item, repeat);
          if (!(score >= 0 && score <= 1)) throw new Error(`a score of ${score} instead of 0..1`);
          scores[j][i].set(repeat, score);
        } catch (error) {
          signal?.throwIfAborted();
          reasons.add((error as Error).message);
        }
      }
    }
  }
  const calls = judges.length * items.length * repeats;
  const done = scores.flat().reduce((total, of) => total + of.size, 0);
  if (done === 0) throw new Error(`MM-Vet: all ${calls} calls of the judges failed: ${[...reasons].slice(0, 3).join('; ')}.`);

  const perItem = items.map((_, i) => scores.flatMap((judge) => [...judge[i].values()]));
  const scored = items.map((item, i) => ({ item, values: perItem[i] })).filter(({ values }) => values.length > 0).map(({ item, values }) => ({ item, score: 100 * mean(values) }));
  const { mean: total, ci } = estimate(scored.map(({ score }) => score), 'questions');
  const names = [...new Set(items.flatMap(({ capabilities }) => capabilities))].sort();
  const perJudge = judges.map((judge, j) => {
    const answered = scores[j].filter((of) => of.size > 0);
    const totals = Array.from({ length: repeats }, (_, repeat) => scores[j].filter((of) => of.has(repeat)).map((of) => 100 * of.get(repeat)!))
      .filter((values) => values.length === items.length).map(mean);
    return {
      name: judge.name,
      missing: items.length * repeats - scores[j].reduce((sum, of) => sum + of.size, 0),
      ...(answered.length > 0 ? { total: mean(answered.map((of) => 100 * mean([...of.values()]))) } : {}),
      ...(totals.length > 1 ? { std: standardDeviation(totals) } : {}),
    };
  });
  const repeated = scores.flat().filter((of) => of.size > 1);
  const judgeTotals = perJudge.flatMap(({ total }) => (total === undefined ? [] : [total]));
  return {
    total, ci, n: scored.length,
    capabilities: Object.fromEntries(names.map((name) => {
      const of = scored.filter(({ item }) => item.capabilities.includes(name));
      return [name, { score: of.length > 0 ? mean(of.map(({ score }) => score)) : NaN, n: of.length }] as const;
    }).filter(([, { n }]) => n > 0)),
    judges: perJudge,
    ...(repeated.length > 0 ? { withinJudge: mean(repeated.map((of) => variance([...of.values()].map((score) => 100 * score)))) } : {}),
    ...(judgeTotals.length > 1 ? { betweenJudges: variance(judgeTotals) } : {}),
    missing: { calls: calls - done, of: calls, questions: items.length - scored.length, reasons: [...reasons].slice(0, 5) },
  };
}

/**
 * The deterministic judge: the share of the <AND> parts whose words the answer holds in order, best over <OR> alternatives. It knows no synonyms,
 * so it reads lower than a language model; it never changes its mind.
 */
export const localJudge: Judge = {
  name: 'local containment 1',
  async score({ answer, prediction }) {
    const words = (text: string) => ` ${text.toLowerCase().replace(/[^\p{L}\p{N}.+-]+/gu, ' ').replace(/\.(?=\s|$)/g, '').trim()} `;
    const given = words(prediction);
    const share = (alternative: string) => {
      const parts = alternative.split('<AND>').map(words);
      return parts.filter((part) => part.trim() !== '' && given.includes(part)).length / parts.length;
    };
    return Math.max(...answer.split('<OR>').map(share));
  },
};

const instruction = `You grade an answer about a picture that you cannot see. You are given the question, the reference answer and the answer to grade.
Parts of the reference joined by <AND> must all be present for full marks; of alternatives joined by <OR> one is enough. Wording does not matter, meaning does.
Reply with one number from 0.0 (nothing right) to 1.0 (all right) in steps of 0.1, and nothing else.`;

export interface EndpointSettings {
  /** Base address of an OpenAI-compatible service, such as `http://localhost:8000/v1`. */
  readonly url: string;
  readonly model: string;
  /** Sent as a bearer token; kept out of names, errors and protocols. */
  readonly key?: string;
  readonly temperature?: number;
  readonly timeoutMs?: number;
}

/** A language model behind an OpenAI-compatible chat endpoint as judge. */
export function endpointJudge({ url, model, key, temperature = 0, timeoutMs = 60_000 }: EndpointSettings): Judge {
  const version = createHash('sha256').update(instruction).digest('hex').slice(0, 8);
  return {
    name: `${model} at temperature ${temperature}, prompt ${version}`,
    async score({ question, answer, prediction }, repeat) {
      const response = await fetch(`${url.replace(/\/+$/, '')}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
        body: JSON.stringify({
          model, temperature, max_tokens: 8, seed: repeat,
          messages: [{ role: 'system', content: instruction }, { role: 'user', content: `Question: ${question}\nReference: ${answer}\nAnswer: ${prediction}` }],
        }),
        signal: AbortSignal.timeout(timeoutMs),
      }).catch((error: Error) => {
        // The cause of a failed fetch may hold the address; its name does not.
        throw new Error(`the judge could not be reached (${error.name})`);
      });
      if (!response.ok) throw new Error(`the judge answered with status ${response.status}`);
      const body = (await response.json().catch(() => undefined)) as { choices?: { message?: { content?: string } }[] } | undefined;
      const reply = body?.choices?.[0]?.message?.content?.trim() ?? '';
      const found = /^(?:score:?\s*)?(0(?:\.\d+)?|1(?:\.0+)?)\.?$/i.exec(reply);
      if (!found) throw new Error('the judge replied with something other than a number from 0 to 1');
      return Number(found[1]);
    },
  };
}

/** The judge that the environment names: DREAMLLM_JUDGE_URL, DREAMLLM_JUDGE_MODEL and, where needed, DREAMLLM_JUDGE_KEY. */
export function judgeFromEnvironment(environment: NodeJS.ProcessEnv = process.env): Judge | undefined {
  const { DREAMLLM_JUDGE_URL: url, DREAMLLM_JUDGE_MODEL: model, DREAMLLM_JUDGE_KEY: key } = environment;
  if (!url) return undefined;
  if (!model) throw new Error('DREAMLLM_JUDGE_URL is set, but DREAMLLM_JUDGE_MODEL is not: the protocol needs the name of the judge.');
  return endpointJudge({ url, model, key });
}
