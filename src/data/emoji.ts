import { createRequire } from 'node:module';
import { random } from '../core/random.js';
import { nearDuplicates } from './near-duplicates.js';
import { iconSet } from './sprites.js';
import type { Axis, Split } from './types.js';

const require = createRequire(import.meta.url);

/**
 * The emoji world: some 1,600 concepts, each drawn by up to five artists and as an outline in any colour. Pictures come from Iconify's
 * sets, names, tags and groups from emojibase.
 */
export const artwork = {
  simple: 'twemoji',
  glossy: 'noto',
  flat: 'fluent-emoji-flat',
  classic: 'emojione',
  blob: 'noto-v1',
  outline: 'fluent-emoji-high-contrast',
} as const;

/** How a picture is drawn, by the word that captions use. `outline` has one colour, which the scene chooses. */
export type Style = keyof typeof artwork;
export const styles = Object.keys(artwork) as Style[];
export const paintedStyles = styles.filter((style) => style !== 'outline');

export interface Concept {
  /** Lower-case, such as "red apple". Unique. */
  name: string;
  /** Code points as emojibase writes them, such as `1F34E`. */
  hexcode: string;
  /** Such as `food-drink` and `food-fruit`. */
  group: string;
  subgroup: string;
  tags: string[];
  /** The label without gender, skin, hair and direction: "farmer" for "man farmer". */
  family: string;
  /** Concepts of one component look or mean nearly the same (man and woman farmer, clock faces): they share a split. */
  component: string;
  split: Split;
  /** A short, concrete name drawn in four styles or more: what most scenes show. */
  isCore: boolean;
  /** Icon name in the set of each style. */
  icons: Partial<Record<Style, string>>;
  /** The painted style in which this concept is never trained, and the split that tests it. */
  heldOutStyle?: Style;
  heldOutSplit: 'val' | 'test';
}

interface EmojibaseEntry {
  label: string;
  hexcode: string;
  tags?: string[];
  group?: number;
  subgroup?: number;
}

const leftOut = new Set(['component', 'flags']);

const shorterNames: Record<string, string> = {
  automobile: 'car',
  'oncoming automobile': 'oncoming car',
  'articulated lorry': 'truck',
  'hot beverage': 'cup of coffee',
  'wrapped gift': 'gift',
  'gem stone': 'gem',
  'lady beetle': 'ladybug',
  'pool 8 ball': 'billiard ball',
  'game die': 'die',
  'racing car': 'race car',
  'closed umbrella': 'folded umbrella',
  'umbrella with rain drops': 'umbrella in rain',
  'man’s shoe': 'shoe',
  'woman’s hat': 'hat',
  'woman’s boot': 'boot',
  'woman’s sandal': 'sandal',
  'woman’s clothes': 'blouse',
  'high-heeled shoe': 'high heel',
  'american football': 'football',
  'closed book': 'red book',
  'sheaf of rice': 'rice plant',
  'ear of corn': 'corn cob',
  'seat': 'airplane seat',
  'mobile phone': 'phone',
  'bellhop bell': 'desk bell',
};

/** A label as captions say it: "person with beard" for "person: beard". */
function nameOf(label: string): string {
  const name = shorterNames[label] ?? label;
  return name
    .toLowerCase()
    .replace(/keycap: /, 'keycap ')
    .replace(/: facing right/, ' facing right')
    .replace(/: /, ' with ')
    .replace(/^\S+(?: o’clock|-thirty)$/, 'clock at $&')
    .replace(/[“”"(),!]/g, '')
    .replace(/’/g, "'")
    .trim();
}

/** What is left of a label when gender, skin, hair and direction are ignored. */
function familyOf(label: string): string {
  const family = label
    .toLowerCase()
    .replace(/: facing right|: (?:beard|bald|blond hair|red hair|curly hair|white hair)/g, '')
    .replace(/^(?:family|kiss|couple with heart): .*/, (whole) => whole.split(':')[0])
    .replace(/\b(?:woman and man|wom[ae]n|m[ae]n|person|people|mx|mrs|santa)\b\.? ?/g, '')
    .replace(/^(?:mermaid|merman)$/, 'merperson')
    .replace(/^\S+(?: o’clock|-thirty)$/, 'clock face')
    .replace(/^\S+ (banknote)$/, '$1')
    .trim();
  return family || 'person';
}

/** Subgroups of things that can be drawn, by how they begin. */
const coreSubgroups = new RegExp(
  `^(?:${[
    'animal-', 'plant-', 'food-', 'drink', 'dishware', 'transport-(?:ground|water|air)', 'event', 'sport', 'game', 'clothing', 'music', 'phone',
    'computer', 'light-video', 'book-paper', 'lock', 'tool', 'science', 'medical', 'household', 'place-building', 'writing', 'award', 'heart',
    'time', 'sky-weather', 'arts',
  ].join('|')})`,
);
/** Words of names that are no plain thing: signs, states, actions, or pictures that several names fit. */
const notCore = new RegExp(
  `(?:^|[ -])(?:${[
    'face', 'button', 'sign', 'symbol', "o'clock", 'thirty', 'oncoming', 'with', 'without', 'and', 'behind', 'on', 'in', 'playing', 'martial',
    'tilted', 'love', 'japanese', 'done', 'revolving', 'growing', 'beating', 'exclamation', 'decoration', 'locked', 'unlocked', 'departure',
    'arrival', 'high-speed', 'small', 'notation', 'moon', 'cut', 'suit', 'e-mail', 'high voltage', 'piñata', 'field', 'ice hockey', 'stop',
    'light', 'railway', 'tokyo', 'performing', 'level', 'control', 'dvd', 'videocassette', 'pages?', 'rolled-up', 'open', 'mahjong', 'shorts',
    'briefs', 'bank', 'hotel', 'station', 'metro', 'tam', 'cooking', 'sound', 'wedding', 'convenience', 'department', 'office',
  ].join('|')})(?: |$)`,
);

let cached: Concept[] | undefined;

/** All concepts, in emojibase's order. Built once, in about half a second. */
export function concepts(): readonly Concept[] {
  return (cached ??= build());
}

function build(): Concept[] {
  const entries = require('emojibase-data/en/data.json') as EmojibaseEntry[];
  const { groups, subgroups } = require('emojibase-data/meta/groups.json') as Record<'groups' | 'subgroups', Record<number, string>>;
  const iconsOf = iconFinder();

  const found: (Omit<Concept, 'component' | 'split' | 'heldOutStyle' | 'heldOutSplit' | 'isCore'>)[] = [];
  const names = new Set<string>();
  for (const { label, hexcode, tags = [], group, subgroup } of entries) {
    if (group === undefined || subgroup === undefined || leftOut.has(groups[group])) continue;
    const icons = iconsOf(label, hexcode);
    if (!paintedStyles.some((style) => icons[style])) continue;
    const name = nameOf(label);
    if (names.has(name)) throw new Error(`Two emoji are named "${name}".`);
    names.add(name);
    found.push({ name, hexcode, group: groups[group], subgroup: subgroups[subgroup], tags, icons, family: familyOf(label) });
  }

  const components = mergeComponents(found);
  return found.map((concept) => {
    const component = components.get(concept.name)!;
    const drawn = paintedStyles.filter((style) => concept.icons[style]);
    // Drawn for the component, so that the look-alikes of a held-out picture are held out with it.
    const draw = random(0, 'held-out cell', component);
    const order = draw.shuffle(paintedStyles);
    return {
      ...concept,
      component,
      split: splitOf(component),
      isCore: coreSubgroups.test(concept.subgroup) && !notCore.test(concept.name) && concept.name.split(' ').length <= 2 && drawn.length >= 4,
      heldOutStyle: drawn.length >= 3 ? order.find((style) => drawn.includes(style)) : undefined,
      heldOutSplit: draw.uniform() < 0.5 ? 'val' : 'test',
    };
  });
}

/** 80 % train, 10 % val, 10 % test, by a hash of the component's name: the same on every machine and in every version of the list. */
function splitOf(component: string): Split {
  const draw = random(0, 'component', component).uniform();
  return draw < 0.8 ? 'train' : draw < 0.9 ? 'val' : 'test';
}

/** Joins an emoji with each set: by code point where the set lists it, else by the slug of its label. */
function iconFinder(): (label: string, hexcode: string) => Concept['icons'] {
  const key = (hexcode: string) => hexcode.toLowerCase().split('-').filter((point) => point !== 'fe0f').join('-');
  const slug = (label: string) => label.toLowerCase().replace(/[’“”"().!:,]/g, '').replace(/&/g, 'and').replace(/ñ/g, 'n').replace(/[^a-z0-9]+/g, '-');
  const lookups = styles.map((style) => {
    const { icons } = iconSet(artwork[style]);
    const chars = readCharacters(artwork[style]);
    const byCode = new Map(Object.entries(chars).map(([code, icon]) => [key(code), icon]));
    const resolve = (label: string, hexcode: string) => {
      return [byCode.get(key(hexcode)), slug(label)].find((icon) => icon !== undefined && icons[icon]);
    };
    return { style, resolve };
  });
  return (label, hexcode) => {
    const icons: Concept['icons'] = {};
    for (const { style, resolve } of lookups) {
      const icon = resolve(label, hexcode);
      if (icon) icons[style] = icon;
    }
    return icons;
  };
}

const readCharacters = (set: string): Record<string, string> => require(`@iconify-json/${set}/chars.json`) as Record<string, string>;

/** The component of each name: families, joined further where two of their pictures are nearly the same. */
function mergeComponents(found: readonly { name: string; family: string }[]): Map<string, string> {
  const parent = new Map<string, string>();
  const root = (name: string): string => {
    const up = parent.get(name) ?? name;
    return up === name ? name : root(up);
  };
  const join = (a: string, b: string) => {
    const [x, y] = [root(a), root(b)].sort();
    if (x !== y) parent.set(y, x);
  };
  const firstOf = new Map<string, string>();
  for (const { name, family } of found) {
    const first = firstOf.get(family);
    if (first === undefined) firstOf.set(family, name);
    else join(first, name);
  }
  for (const [a, b] of nearDuplicates) join(a, b);
  return new Map(found.map(({ name }) => [name, root(name)]));
}

let byName: Map<string, Concept> | undefined;

/** The concept of that name; an error when there is none. */
export function concept(name: string): Concept {
  byName ??= new Map(concepts().map((each) => [each.name, each]));
  const found = byName.get(name);
  if (!found) throw new Error(`The emoji world has no concept "${name}".`);
  return found;
}

export interface Cell {
  concept: Concept;
  style: Style;
}

/**
 * Painted (concept, style) cells of a split. Training has the known concepts without their held-out style. Val and test have, by `axis`,
 * the held-out cells of known concepts, known cells (for new compositions), or every cell of unseen concepts.
 */
export function cells(split: Split, axis: Axis = 'cell'): readonly Cell[] {
  const key = `${split}/${axis}`;
  let list = cellLists.get(key);
  if (!list) {
    list = concepts().flatMap((concept) =>
      paintedStyles.filter((style) => concept.icons[style] && belongs(concept, style, split, axis)).map((style) => ({ concept, style })),
    );
    cellLists.set(key, list);
  }
  return list;
}
const cellLists = new Map<string, Cell[]>();

function belongs(concept: Concept, style: Style, split: Split, axis: Axis): boolean {
  const isKnown = concept.split === 'train';
  if (split === 'train' || axis === 'composition') return isKnown && style !== concept.heldOutStyle;
  if (axis === 'cell') return isKnown && style === concept.heldOutStyle && concept.heldOutSplit === split;
  return concept.split === split;
}
