import { random, type Random } from '../core/random.js';
import { content } from './captions.js';
import { groundNames, type Ground } from './colors.js';
import { cells, concept, type Cell } from './emoji.js';
import { kinds, moons } from './kinds.js';
import { sceneRef, sceneWith, weighted, type Scene, type SceneKind } from './scenes.js';
import { definition, facts } from './text.js';
import type { Axis, ImageRef, InterleavedDocument, Split } from './types.js';
import { isCountable, isPlural, numberWord, plural, withArticle } from './wording.js';

/**
 * Interleaved documents in the shape of MMC4. Every sentence that brings something to see is followed by its picture, and the text so far
 * says all that the picture shows: the object, how many, where, and the colour of the page.
 */
export const documentKinds = ['page', 'shopping', 'story', 'counting', 'clock', 'moon', 'comparison'] as const;
export type DocumentKind = (typeof documentKinds)[number];

export interface DocumentOptions {
  split: Split;
  axis?: Axis;
  kinds?: Partial<Record<DocumentKind, number>>;
  /** Most pictures in one document; 3 by default, at least 2. */
  maxImages?: number;
}

/** Documents of up to six pictures, of the kinds that can have so many. */
export const longDocuments = { maxImages: 6, kinds: { page: 1, shopping: 1 } } as const satisfies Omit<DocumentOptions, 'split'>;

export const defaultDocumentKinds: Partial<Record<DocumentKind, number>> = { page: 30, shopping: 20, story: 25, counting: 8, clock: 2, moon: 2, comparison: 13 };

/** Document `index` of the endless list named by `seed` and `options`. */
export function documentAt(seed: number, index: number, options: DocumentOptions): InterleavedDocument & { kind: DocumentKind } {
  const { split, axis = 'cell', kinds: weights = defaultDocumentKinds, maxImages = 3 } = options;
  for (let attempt = 0; ; attempt++) {
    const stream = random(seed, 'document', split, axis, index, attempt);
    const kind = weighted(stream, weights);
    const writer = new Writer(stream, split, axis, maxImages);
    if (write[kind](writer)) return { id: `${kind}-${split}-${seed}-${index}`, kind, text_list: writer.sentences, image_info: writer.images };
    if (attempt === 500) throw new Error(`No ${kind} document of split "${split}", axis "${axis}" in 500 attempts.`);
  }
}

class Writer {
  readonly sentences: string[] = [];
  readonly images: InterleavedDocument['image_info'] = [];
  readonly ground: Ground;

  constructor(readonly stream: Random, readonly split: Split, readonly axis: Axis, readonly maxImages: number) {
    this.ground = stream.choice(groundNames);
  }

  say(sentence: string): void {
    this.sentences.push(sentence);
  }

  /** A sentence with its picture after it. False when the picture may not be made. */
  show(sentence: string | ((scene: Scene) => string), kind: SceneKind, given: readonly Cell[], count?: number): boolean {
    const scene = sceneWith(this.stream, kind, given, { split: this.split, axis: this.axis }, { ground: this.ground, count });
    if (!scene || scene.ground !== this.ground) return false;
    this.say(typeof sentence === 'string' ? sentence : sentence(scene));
    this.images.push({ image_name: sceneRef(scene), matched_text_index: this.sentences.length - 1 });
    return true;
  }

  /** How many pictures this document gets. */
  numImages(): number {
    return 2 + this.stream.integer(this.maxImages - 1);
  }

  /** `count` cells of different components that `wanted` accepts, core concepts by preference; undefined when there are too few. */
  cells(count: number, wanted: (cell: Cell) => boolean): Cell[] | undefined {
    const chosen: Cell[] = [];
    const all = cells(this.split, this.axis);
    for (let attempt = 0; attempt < 400 && chosen.length < count; attempt++) {
      const cell = this.stream.choice(all);
      if (!wanted(cell) || (!cell.concept.isCore && attempt < 300)) continue;
      if (chosen.every(({ concept }) => concept.component !== cell.concept.component)) chosen.push(cell);
    }
    return chosen.length === count ? chosen : undefined;
  }

  /** The cell of a named concept that this split and axis allow. */
  cellNamed(name: string): Cell | undefined {
    const found = cells(this.split, this.axis).filter((cell) => cell.concept.name === name);
    return found.length > 0 ? this.stream.choice(found) : undefined;
  }
}

const on = (ground: Ground) => `on ${ground} paper`;
const be = ({ concept: { name } }: Cell) => (isPlural(name) ? 'are' : 'is');

/** Each writes one document, or returns false when the split lacks a part that it needs. */
const write: Record<DocumentKind, (writer: Writer) => boolean> = {
  page(writer) {
    const subgroup = writer.stream.choice(Object.keys(kinds).filter((key) => !['arrow', 'zodiac', 'geometric'].includes(key)));
    const chosen = writer.cells(writer.numImages(), ({ concept }) => concept.subgroup === subgroup);
    if (!chosen) return false;
    const [, many] = kinds[subgroup];
    writer.say(`a page about ${many} ${on(writer.ground)}.`);
    for (const cell of chosen) {
      const sentence = definition(cell.concept) ?? facts(cell.concept)[0];
      if (!writer.show(`${sentence}.`, 'single', [cell])) return false;
    }
    writer.say(`now you know ${numberWord(chosen.length)} ${many}.`);
    return true;
  },

  shopping(writer) {
    const wanted = ({ concept: { group, name } }: Cell) => (group === 'food-drink' || group === 'objects' || group === 'activities') && isCountable(name);
    const chosen = writer.cells(writer.numImages(), wanted);
    if (!chosen) return false;
    writer.say(`a shopping list ${on(writer.ground)}.`);
    for (const [i, cell] of chosen.entries()) {
      const count = 1 + writer.stream.integer(4);
      const order = i === 0 ? 'first' : i === chosen.length - 1 ? 'last' : 'then';
      const what = count === 1 ? withArticle(cell.concept.name) : `${numberWord(count)} ${plural(cell.concept.name)}`;
      if (!writer.show(`${order} buy ${what}.`, count === 1 ? 'single' : 'count', [cell], count)) return false;
    }
    writer.say('then go home.');
    return true;
  },

  story(writer) {
    const hero = writer.cells(1, ({ concept: { group, name } }) => group === 'animals-nature' && isAnimal(name) && isCountable(name))?.[0];
    const thing = writer.cells(1, ({ concept: { group, name } }) => ['food-drink', 'objects', 'activities', 'travel-places'].includes(group) && isCountable(name))?.[0];
    if (!hero || !thing) return false;
    const [who, what] = [hero.concept.name, thing.concept.name];
    const numImages = writer.numImages();
    writer.say(`a story ${on(writer.ground)}.`);
    if (!writer.show(`once there was ${withArticle(who)}.`, 'single', [hero])) return false;
    const found = writer.stream.choice(['found', 'saw', 'wanted', 'dreamed of']);
    if (numImages > 2 && !writer.show(`one day the ${who} ${found} ${withArticle(what)}.`, 'single', [thing])) return false;
    const kind = writer.stream.choice(['pair', 'sizes', 'inside'] as const);
    const scene = (made: Scene) => `${numImages > 2 ? 'so then' : 'one day'} we saw ${content(made)}.`;
    if (!writer.show(scene, kind, [hero, thing])) return false;
    writer.say(writer.stream.choice([`the ${who} was happy.`, `the ${who} was sad.`, `the ${who} went to sleep.`]));
    writer.say('the end.');
    return true;
  },

  counting(writer) {
    const cell = writer.cells(1, ({ concept: { name } }) => isCountable(name))?.[0];
    if (!cell) return false;
    const { name } = cell.concept;
    const start = 1 + writer.stream.integer(2);
    const count = Math.min(writer.numImages(), 4);
    writer.say(`let us count ${plural(name)} ${on(writer.ground)}.`);
    for (let n = start; n < start + count; n++) {
      const sentence = n === 1 ? `one ${name}.` : `${numberWord(n)} ${plural(name)}.`;
      if (!writer.show(sentence, n === 1 ? 'single' : 'count', [cell], n)) return false;
    }
    writer.say('well done.');
    return true;
  },

  clock: (writer) =>
    sequence(writer, 'what time is it', (start) => `clock at ${hours[start % 12]} o'clock`, (name) => `it is ${name.replace('clock at ', '')}.`),

  moon: (writer) => sequence(writer, 'the moon changes', (start) => moons[start % moons.length], (name) => `there is ${withArticle(name)}.`),

  comparison(writer) {
    const chosen = writer.cells(2, ({ concept: { subgroup, name } }) => kinds[subgroup] !== undefined && !name.includes(kinds[subgroup][0]) && isCountable(name));
    if (!chosen || chosen[0].concept.subgroup === chosen[1].concept.subgroup) return false;
    const [a, b] = chosen;
    writer.say(`two things ${on(writer.ground)}.`);
    for (const cell of chosen) {
      if (!writer.show(`${withArticle(cell.concept.name)} ${be(cell)} ${withArticle(kinds[cell.concept.subgroup][0])}.`, 'single', [cell])) return false;
    }
    if (writer.maxImages > 2 && writer.stream.uniform() < 0.7) {
      const kind = writer.stream.choice(['pair', 'sizes'] as const);
      if (!writer.show((scene) => `now see ${content(scene)}.`, kind, [a, b])) return false;
    }
    writer.say(`a ${kinds[a.concept.subgroup][0]} is not a ${kinds[b.concept.subgroup][0]}.`.replace(/\ba ([aeiou])/g, 'an $1'));
    return true;
  },
};

const hours = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'];

/** Two or three steps of something that goes in order. */
function sequence(writer: Writer, title: string, nameAt: (start: number) => string, sentence: (name: string) => string): boolean {
  const start = writer.stream.integer(12);
  const count = writer.numImages();
  writer.say(`${title} ${on(writer.ground)}.`);
  for (let i = 0; i < count; i++) {
    const cell = writer.cellNamed(nameAt(start + i));
    if (!cell || !writer.show(sentence(cell.concept.name), 'single', [cell])) return false;
  }
  writer.say('and so it goes on.');
  return true;
}

const isAnimal = (name: string): boolean => concept(name).subgroup.startsWith('animal-') && !/print|feather|wing|web|coral|shell|microbe|nose/.test(name);

/** The pictures of a document by the sentence they follow. */
export function imagesAfter({ image_info }: InterleavedDocument, sentence: number): ImageRef[] {
  return image_info.filter(({ matched_text_index }) => matched_text_index === sentence).map(({ image_name }) => image_name);
}

/**
 * Document `index` with a share of its pictures exchanged for those of other documents, as crawled documents have them. `matched_sim` and
 * `similarity_matrix` come from `similarity`, so that the paper's filter has something to find.
 */
export async function noisyDocumentAt(
  seed: number,
  index: number,
  { mismatched, similarity, ...options }: DocumentOptions & { mismatched: number; similarity: (image: ImageRef, sentences: readonly string[]) => Promise<number[]> },
): Promise<InterleavedDocument & { kind: DocumentKind }> {
  const document = documentAt(seed, index, options);
  const stream = random(seed, 'mismatch', options.split, index);
  const images = document.image_info.map(({ image_name }, i) => {
    if (stream.uniform() >= mismatched) return image_name;
    return documentAt(seed, stream.integer(2 ** 31) + i, options).image_info[0].image_name;
  });
  const similarity_matrix: number[][] = [];
  for (const image of images) similarity_matrix.push(await similarity(image, document.text_list));
  const image_info = document.image_info.map(({ matched_text_index }, i) => ({
    image_name: images[i],
    matched_text_index,
    matched_sim: similarity_matrix[i][matched_text_index],
  }));
  return { ...document, image_info, similarity_matrix };
}
