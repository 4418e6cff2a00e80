import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { packageRoot } from '../core/process.js';
import { chapterNames } from './chapters.js';
import { readJson } from './files.js';
import { describeJob, openJob, recordHash } from './job.js';
import type { MainResult } from './main-job.js';
import { publish, recordsIn, samplePictures } from './publish.js';
import { generatedParts, measuredMarkdown, partNames, withParts } from './readme.js';
import { generatedDocuments, partsOf } from './reproduce.js';

const root = packageRoot();
const committed = readJson<MainResult>(join(root, 'experiments/main-job/result.json'))!;
const temporary = mkdtempSync(join(tmpdir(), 'dreamllm-publish-'));
after(() => rmSync(temporary, { recursive: true, force: true }));

describe('documents made from records', () => {
  for (const document of generatedDocuments(root)) {
    test(`${document.path.slice(root.length + 1)} has the numbers of the committed records (remedy: npm run reproduce)`, async () => {
      const text = readFileSync(document.path, 'utf8');
      assert.ok(text.includes(`<!-- generated: ${document.of === 'main-job' ? 'results' : 'result'} -->`));
      assert.equal(withParts(text, await partsOf(document, join(root, 'experiments'))), text);
    });
  }

  test('every result leads to a measurement with its run folder and protocol', () => {
    const measured = measuredMarkdown(committed);
    const links = [...generatedParts(committed).results.matchAll(/\(experiments\/reproduced\/main-job\.md#(m\d+)\)/g)].map(([, anchor]) => anchor);
    assert.ok(links.length >= 14);
    for (const anchor of links) {
      const line = measured.split('\n').find((each) => each.includes(`<a id="${anchor}"></a>`));
      assert.match(line ?? '', /\| (stages\/[\w-]+-[0-9a-f]{16}|data\/foundation) \| .*: /, anchor);
    }
  });

  test('say of a number that it is at chance, and stop saying so when it is not', () => {
    const limits = (result: MainResult) => generatedParts(result).limits;
    /** The record as if the joint model had answered so when it saw the picture, and one question in three without. */
    const answering = (isRight: (question: number) => boolean) => {
      const result = structuredClone(committed);
      for (const measured of result.arms.joint.comprehension.filter(({ metric }) => metric === 'mmbench-circular')) {
        const { vanilla, perQuestion } = measured.details as { vanilla: { accuracy: number }; perQuestion: { vanilla: boolean }[] };
        perQuestion.forEach((each, i) => (each.vanilla = measured.protocol.picture === true ? isRight(i) : i % 3 === 0));
        vanilla.accuracy = perQuestion.filter((each) => each.vanilla).length / perQuestion.length;
      }
      return result;
    };
    assert.match(limits(answering((i) => i % 3 === 1)), /Multiple choice cannot be told/);
    assert.doesNotMatch(limits(answering((i) => i % 10 > 0)), /Multiple choice cannot be told/);
  });

  test('refuse a part that nobody writes', () => {
    assert.throws(() => withParts('<!-- generated: weather -->\n<!-- end -->', generatedParts(committed)), /"weather" is not known.*results/);
    assert.equal(withParts('a\n<!-- generated: times -->\nold\n<!-- end -->\nb', { ...Object.fromEntries(partNames.map((name) => [name, 'new'])) } as never), 'a\n<!-- generated: times -->\nnew\n<!-- end -->\nb');
  });
});

describe('publishing a job', () => {
  const job = (changes: Partial<MainResult> = {}, record?: string) => {
    const folder = mkdtempSync(join(temporary, 'job-'));
    const result = { ...committed, ...changes };
    for (const part of ['pictures', 'notebooks']) mkdirSync(join(folder, part));
    writeFileSync(join(folder, 'result.json'), JSON.stringify(result));
    for (const name of samplePictures) writeFileSync(join(folder, 'pictures', `${name}.png`), name);
    for (const name of chapterNames) writeFileSync(join(folder, 'notebooks', `${name}.ipynb`), JSON.stringify(record ?? describeJob({ folder, result })));
    return openJob(folder);
  };

  test('copies record, sheets and chapters, and removes chapters that are no more', () => {
    const to = join(temporary, 'repository');
    mkdirSync(join(to, 'notebooks'), { recursive: true });
    writeFileSync(join(to, 'notebooks', 'forgotten.ipynb'), '{}');
    const files = publish(job(), to);
    for (const file of files) assert.ok(existsSync(join(to, file)), file);
    assert.deepEqual(readdirSync(join(to, 'notebooks')).sort(), chapterNames.map((name) => `${name}.ipynb`).sort());
  });

  test('refuses smoke runs, missing files and chapters of another record', () => {
    assert.throws(() => publish(job({ smoke: true }), temporary), /smoke run/);
    const partial = job();
    rmSync(join(partial.folder, 'pictures', 'stages.png'));
    assert.throws(() => publish(partial, temporary), /lacks 1 files.*stages\.png.*npm start again/);
    assert.throws(() => publish(job({}, 'Record 0123456789abcdef: seed 0'), temporary), /executed on record 0123456789abcdef/);
  });

  test('a record is named by what was found, not by how long it took', () => {
    assert.equal(recordHash({ ...committed, times: [] }), recordHash(committed));
    assert.notEqual(recordHash({ ...committed, seed: 1 }), recordHash(committed));
  });
});

test('committed chapters were executed on the committed record', () => {
  // Chapters from before they named their record name none; those that do must name this one.
  for (const name of readdirSync(join(root, 'notebooks')).filter((each) => each.endsWith('.ipynb'))) {
    const named = recordsIn(readFileSync(join(root, 'notebooks', name), 'utf8'));
    if (committed.made && name !== 'paper-tables.ipynb') assert.equal(named.length, 1, `${name} names no record. Remedy: npm start, then npx dreamllm publish.`);
    for (const hash of named) assert.equal(hash, recordHash(committed), name);
  }
});
