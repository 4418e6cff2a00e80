import { random, type Random } from '../core/random.js';
import { corner, nameOf, relation, styleOf } from './captions.js';
import { concept, concepts, type Concept } from './emoji.js';
import { kinds, topics } from './kinds.js';
import { sceneAt, sceneRef, weighted, type Scene, type SceneKind, type SceneOptions } from './scenes.js';
import type { Question, Split } from './types.js';
import { isCountable, isPlural, numberWord, plural, withArticle } from './wording.js';

/** A question about a scene with a one- or two-word answer. */
export interface ShortQuestion {
  category: string;
  question: string;
  answer: string;
}

/** Everything that can be asked about a scene, from its ground truth. */
export function shortQuestions(scene: Scene, stream: Random): ShortQuestion[] {
  const { kind, objects } = scene;
  const [a, b] = objects;
  const asked: ShortQuestion[] = [];
  const ask = (category: string, question: string, answer: string) => asked.push({ category, question, answer });
  const be = (name: string) => (isPlural(name) ? 'are' : 'is');

  ask('background', 'what color is the background?', scene.ground);
  const style = styleOf(scene);
  if (style) ask('style', 'in what style is this picture?', style);
  if (kind === 'single' || kind === 'quadrant') {
    ask('object', 'what is this?', a.concept);
    const { subgroup, group } = concept(a.concept);
    if (kinds[subgroup]) ask('kind', 'what kind of thing is this?', kinds[subgroup][0]);
    ask('topic', 'what is this picture about?', topics[group]);
    if (a.ink) ask('color', `what color ${be(a.concept)} the ${a.concept}?`, a.ink);
    if (kind === 'quadrant') ask('place', `where ${be(a.concept)} the ${a.concept}?`, corner(a));
  }
  if (kind === 'count') {
    ask('count', `how many ${plural(a.concept)} are there?`, numberWord(objects.length));
    ask('object', 'what are these?', plural(a.concept));
  }
  if (kind === 'pair' || kind === 'colors') {
    ask('relation', `what is ${relation(a, b)} the ${nameOf(b)}?`, a.concept);
    ask('relation', `where ${be(a.concept)} the ${nameOf(a)}?`, `${relation(a, b)} the ${b.concept}`);
    if (kind === 'colors') for (const { concept, ink } of objects) if (ink) ask('color', `what color ${be(concept)} the ${concept}?`, ink);
  }
  if (kind === 'sizes') {
    const [big, small] = stream.shuffle([a, b]);
    ask('size', `which is bigger, the ${big.concept} or the ${small.concept}?`, a.concept);
    ask('size', 'what is the small thing?', b.concept);
  }
  const present = stream.choice(objects).concept;
  ask('presence', presenceQuestion(present), 'yes');
  ask('presence', presenceQuestion(absentConcept(scene, stream)), 'no');
  return asked;
}

/** The question of POPE (Li et al. 2023). */
export const presenceQuestion = (name: string): string =>
  isCountable(name) ? `is there ${withArticle(name)} in the picture?` : `${isPlural(name) ? 'are' : 'is'} there ${name} in the picture?`;

/** A core concept that the scene does not show, from the group of a shown one half of the time where that has any. */
function absentConcept(scene: Scene, stream: Random): string {
  const shown = new Set(scene.objects.map((object) => concept(object.concept).component));
  const { group, split } = concept(scene.objects[0].concept);
  const absent = coreConcepts(split).filter(({ component }) => !shown.has(component));
  const near = stream.uniform() < 0.5 ? absent.filter((each) => each.group === group) : [];
  return stream.choice(near.length > 0 ? near : absent).name;
}

const coreLists = new Map<Split, Concept[]>();

/** Core concepts of a split: were absent things always known ones, an unseen name would give the answer away. */
function coreConcepts(split: Split): Concept[] {
  let list = coreLists.get(split);
  if (!list) coreLists.set(split, (list = concepts().filter((each) => each.isCore && each.split === split)));
  return list;
}

const categoryWeights: Record<string, number> = {
  object: 30, color: 12, count: 12, relation: 14, place: 8, size: 8, presence: 12, background: 8, style: 5, kind: 10, topic: 5,
};

/** Open question `index` with a short answer, as in VQAv2, and the scene it is about. */
export function questionAt(seed: number, index: number, options: SceneOptions): Question & { scene: Scene } {
  const scene = sceneAt(seed, index, { kinds: questionKinds, ...options });
  const stream = random(seed, 'question', options.split, options.axis ?? 'cell', index);
  const { category, question, answer } = chooseQuestion(shortQuestions(scene, stream), stream);
  return { index, image: sceneRef(scene), question, answer, category, source: 'emoji', split: options.split, scene };
}

/** Fewer single objects than in captions: there is more to ask about the others. */
const questionKinds: Partial<Record<SceneKind, number>> = { single: 40, count: 16, pair: 14, colors: 12, sizes: 9, quadrant: 9 };

export function chooseQuestion(asked: readonly ShortQuestion[], stream: Random): ShortQuestion {
  const category = weighted(stream, Object.fromEntries(asked.map((each) => [each.category, categoryWeights[each.category]])));
  return stream.choice(asked.filter((each) => each.category === category));
}
