import type { Random } from '../core/random.js';
import { corners, relations } from './captions.js';
import { groundNames, inkNames } from './colors.js';
import { concept, concepts, paintedStyles, type Concept } from './emoji.js';
import { kinds, topics } from './kinds.js';
import type { ShortQuestion } from './questions.js';
import { numberWord } from './wording.js';

/** A question with one right and some wrong options. */
export interface Choice {
  question: string;
  hint?: string;
  right: string;
  /** One to three. */
  wrong: string[];
}

/** Up to `count` items that are not `right`, in random order. */
export const others = <T>(stream: Random, items: readonly T[], right: T, count = 3): T[] =>
  stream.shuffle([...new Set(items)].filter((item) => item !== right)).slice(0, count);

/** Turns a short question into a multiple choice; undefined for yes and no and where a scene's words cannot be mixed up. */
export function choiceOf({ category, question, answer }: ShortQuestion, stream: Random): Choice | undefined {
  const from = (items: readonly string[]): Choice => ({ question, right: answer, wrong: others(stream, items, answer) });
  switch (category) {
    case 'background':
      return from(groundNames);
    case 'color':
      return from(inkNames);
    case 'style':
      return from(paintedStyles);
    case 'count':
      return from([2, 3, 4, 5].map(numberWord));
    case 'place':
      return from(corners);
    case 'topic':
      return from(Object.values(topics));
    case 'kind':
      return from(Object.values(kinds).map(([one]) => one));
    case 'object':
    case 'size':
      return isConcept(answer) ? { question, right: answer, wrong: similarNames(concept(answer), stream) } : undefined;
    case 'relation': {
      if (isConcept(answer)) return { question, right: answer, wrong: similarNames(concept(answer), stream) };
      const [, side, rest] = /^(left of|right of|above|below) (.*)$/.exec(answer)!;
      return { question, right: answer, wrong: others(stream, relations, side as (typeof relations)[number]).map((other) => `${other} ${rest}`) };
    }
    default:
      return undefined;
  }
}

const names = new Set<string>();
const isConcept = (name: string): boolean => {
  if (names.size === 0) for (const each of concepts()) names.add(each.name);
  return names.has(name);
};

/** Names of other concepts, from the same subgroup first, then the same group. Never of the same component. */
export function similarNames(right: Concept, stream: Random, count = 3): string[] {
  const near = siblings(right);
  const pool = stream.shuffle(near.filter((each) => each.subgroup === right.subgroup)).slice(0, count);
  const more = stream.shuffle(near.filter((each) => each.subgroup !== right.subgroup)).slice(0, count);
  return [...pool, ...more].slice(0, count).map(({ name }) => name);
}

const siblingLists = new Map<string, Concept[]>();

/** Concepts of the group and of the split of `right`, so that a test of unseen concepts has unseen wrong answers too. */
function siblings(right: Concept): Concept[] {
  const key = `${right.group}/${right.split}`;
  let list = siblingLists.get(key);
  if (!list) siblingLists.set(key, (list = concepts().filter((each) => each.group === right.group && each.split === right.split)));
  return list.filter((each) => each.component !== right.component && (!right.isCore || each.isCore));
}
