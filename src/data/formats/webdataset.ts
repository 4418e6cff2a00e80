import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Pair } from '../types.js';
import { Checker, Intake } from './intake.js';
import { makeTar, type NamedBytes } from './pictures.js';
import { referenceTo } from './archive.js';
import { openTar } from './tar.js';

const pictureEndings = ['jpg', 'jpeg', 'png', 'webp'];

/**
 * Shards of LAION kind (webdataset): a tar in which the files of one sample share their name up to the first dot: `000012.jpg`, `000012.txt`,
 * `000012.json`. The caption is the `.txt`, or `caption` of the `.json`. Shards are read one after the other. The damage of a shard
 * is a malformed record, behind which nothing of it is read.
 */
export function* readWebdataset(shards: readonly string[], intake = new Intake()): Generator<Pair> {
  for (const shard of shards) {
    const tar = openTar(shard, (problem) => intake.reject(problem));
    try {
      for (const [key, files] of groupByKey(tar.names)) {
        const pair = intake.take((): Pair => {
          const check = new Checker({ file: shard, member: key });
          const ending = pictureEndings.find((each) => files.has(each)) ?? check.fail(`no picture among .${[...files.keys()].join(', .')}`);
          const read = (name: string) => Buffer.from(tar.read(name)).toString('utf8');
          const json = files.get('json');
          const info = json === undefined ? {} : check.object(check.json(read(json)), 'json');
          return {
            id: typeof info.id === 'string' ? info.id : `${basename(shard, '.tar')}/${key}`,
            image: referenceTo(shard, files.get(ending)!),
            caption: captionOf(check, files, info, read),
          };
        });
        if (pair) yield pair;
      }
    } finally {
      tar.close();
    }
  }
  intake.finish();
}

/** Files of each sample by their ending, in the order of the archive. */
function groupByKey(names: readonly string[]): Map<string, Map<string, string>> {
  const samples = new Map<string, Map<string, string>>();
  for (const name of names) {
    const dot = name.indexOf('.', name.lastIndexOf('/') + 1);
    if (dot < 0) continue;
    const key = name.slice(0, dot);
    const files = samples.get(key) ?? new Map<string, string>();
    samples.set(key, files.set(name.slice(dot + 1).toLowerCase(), name));
  }
  return samples;
}

function captionOf(check: Checker, files: Map<string, string>, info: Record<string, unknown>, read: (name: string) => string): string {
  const text = files.get('txt');
  if (text === undefined && !files.has('json')) check.fail('neither .txt nor .json gives a caption');
  return (text === undefined ? check.text(info.caption, 'caption') : read(text).trim()) || check.fail('the caption is empty');
}

/** Writes pairs as shards of `shardSize` samples: `00000.tar`, `00001.tar`, … Returns their paths. */
export async function writeWebdataset(folder: string, samples: AsyncIterable<{ pair: Pair; png: Uint8Array }>, shardSize = 1000): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const shards: string[] = [];
  let files: NamedBytes[] = [];
  let count = 0;
  const flush = async () => {
    if (files.length === 0) return;
    const path = join(folder, `${String(shards.length).padStart(5, '0')}.tar`);
    writeFileSync(path, await makeTar(files));
    shards.push(path);
    files = [];
  };
  for await (const { pair, png } of samples) {
    const key = String(count++).padStart(8, '0');
    const text = (ending: string, content: string) => ({ name: `${key}.${ending}`, bytes: new TextEncoder().encode(content) });
    const info = JSON.stringify({ key, id: pair.id, caption: pair.caption });
    files.push({ name: `${key}.png`, bytes: png }, text('txt', pair.caption), text('json', info));
    if (count % shardSize === 0) await flush();
  }
  await flush();
  return shards;
}
