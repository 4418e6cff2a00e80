import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { decodeImage } from '../core/images.js';
import { closeArchives } from '../data/formats/archive.js';
import { UsageError } from './command.js';
import command from './data.js';
import { runner } from './testing.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-data-'));
after(() => {
  closeArchives();
  rmSync(folder, { recursive: true });
});

const run = runner(command);

describe('dreamllm data', () => {
  test('writes a data set that it then finds valid', async () => {
    for (const format of ['llava', 'mmc4', 'instruct-mmc4', 'webdataset', 'parquet', 'mmbench', 'coco']) {
      const out = join(folder, format);
      const { file, images } = JSON.parse(await run('write', format, '--out', out, '--count', '20', '--json')) as { file: string; images?: string };
      const report = JSON.parse(await run('validate', format, file, ...(images ? ['--images', images] : []), '--json')) as { records: number; pictures: number; problems: string[] };
      assert.ok(report.records >= 20 && report.pictures >= 15, `${format}: ${JSON.stringify(report)}`);
      assert.deepEqual(report.problems, []);
    }
  });

  test('names the line of a malformed record, and the picture that is missing', async () => {
    const out = join(folder, 'spoilt');
    await run('write', 'mmc4', '--out', out, '--count', '30');
    const file = join(out, 'mmc4.jsonl');
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    writeFileSync(file, [...lines.slice(0, 4), '{"text_list": 1}', ...lines.slice(5)].join('\n'));
    await assert.rejects(run('validate', 'mmc4', file, '--images', join(out, 'images')), /mmc4\.jsonl:5: text_list: expected a list, found 1/);
    rmSync(join(out, 'images', '00000000.png'));
    const { problems, missing } = JSON.parse(await run('validate', 'mmc4', file, '--images', join(out, 'images'), '--skip-up-to', '0.2', '--json')) as { problems: string[]; missing: string[] };
    assert.equal(problems.length, 1);
    assert.match(missing.join(), /mmc4\.jsonl:1: 00000000\.png/);
  });

  test('shows a sample of the generator and of a file, with a picture of its mask', async () => {
    const picture = join(folder, 'mask.png');
    assert.match(await run('inspect', 'document', '--out', picture), /target {2}special {2}"<dream_start>"/);
    assert.ok((await decodeImage(picture)).width > 200);
    const out = join(folder, 'shown');
    const { file, images } = JSON.parse(await run('write', 'llava', '--out', out, '--count', '3', '--json')) as { file: string; images: string };
    const [own, read] = [await run('inspect', 'conversation', '--index', '2'), await run('inspect', 'llava', '--file', file, '--images', images, '--index', '2')];
    assert.equal(read, own);
  });

  test('draws a sheet and lists its captions', async () => {
    const file = join(folder, 'sheet.png');
    assert.equal((await run('sheet', '--count', '6', '--out', file)).split('\n').length, 6);
    assert.ok(existsSync(file));
  });

  test('refuses what it does not know, and says what it does', async () => {
    const cases: [string[], RegExp][] = [
      [['fetch'], /expected inspect, write, validate, sheet, stats, tokenizer, found "fetch"/],
      [['write', 'laion', '--out', folder], /Expected a format: llava, mmc4, .*; found "laion"/],
      [['write', 'llava'], /needs --out DIR/],
      [['inspect', 'pair', '--split', 'dev'], /--split: expected train, val, test; found "dev"/],
      [['inspect', 'pair', '--index', '1.5'], /--index: expected a whole number, found "1.5"/],
      [['inspect', 'poem'], /expected pair, document, instruct-document, conversation, found "poem"/],
      [['validate', 'llava', 'x.json', '--skip-up-to', '2'], /--skip-up-to: expected a share of 0 to 1, found "2"/],
      [['tokenizer'], /needs --out FILE/],
    ];
    for (const [argv, message] of cases) await assert.rejects(async () => run(...argv), (error: Error) => error instanceof UsageError && message.test(error.message), argv.join(' '));
  });
});
