import { random, type Random } from '../core/random.js';
import { abilities, abilityNames, abilityQuestion } from './abilities.js';
import { references } from './captions.js';
import { concept, concepts, type Concept } from './emoji.js';
import { presenceQuestion, questionAt } from './questions.js';
import { sceneAt, sceneRef, type Scene, type SceneOptions } from './scenes.js';
import type { ImageRef, Question } from './types.js';

/** What a test set is drawn from. The axis is 'cell' unless said otherwise. */
export interface BenchmarkOptions extends Pick<SceneOptions, 'split' | 'axis'> {
  count: number;
}

/** MMBench's distance between the rotated copies of a question: copy k has index + k · 10⁶. */
export const rotationStep = 1_000_000;

/**
 * A benchmark in the shape of MMBench: `perAbility` questions of each of the 20 abilities, the right letters spread evenly over the options.
 * Rotated copies are not included: see `rotations`.
 */
export function mmbench(seed: number, { split, axis = 'cell', perAbility = 50 }: Pick<SceneOptions, 'split' | 'axis'> & { perAbility?: number }): Question[] {
  return abilityNames.flatMap((ability, a) => {
    // The right answer takes each place equally often among questions with the same number of options.
    const asked = new Map<number, number>();
    return Array.from({ length: perAbility }, (_, i) => {
      const stream = random(seed, 'mmbench', split, axis, ability, i);
      const { scene, question, hint, right, wrong, origin } = abilityQuestion(ability, stream, { split, axis });
      const numOptions = wrong.length + 1;
      const turn = asked.get(numOptions) ?? a;
      asked.set(numOptions, turn + 1);
      const options = [...wrong];
      options.splice(turn % numOptions, 0, right);
      return {
        index: a * perAbility + i,
        image: sceneRef(scene),
        question,
        ...(hint ? { hint } : {}),
        options,
        answer: 'ABCD'[turn % numOptions],
        category: ability,
        'l2-category': abilities[ability][0],
        source: `emoji world, ${axis}${origin === 'split' ? '' : ', trained cells'}`,
        split,
      };
    });
  });
}

/** A question and its copies with the options moved on by one place each: all must be answered for circular evaluation. */
export function rotations(question: Question): Question[] {
  const options = question.options ?? [];
  const right = 'ABCD'.indexOf(question.answer);
  return options.map((_, k) => ({
    ...question,
    index: question.index + k * rotationStep,
    options: [...options.slice(k), ...options.slice(0, k)],
    answer: 'ABCD'[(right - k + options.length) % options.length],
  }));
}

/** Open questions with short answers. */
export const vqa = (seed: number, { count, ...options }: BenchmarkOptions): Question[] =>
  Array.from({ length: count }, (_, i) => {
    const { scene: _scene, ...question } = questionAt(seed, i, options);
    return question;
  });

export interface CaptionedImage {
  image: ImageRef;
  references: string[];
}

/** Pictures with all captions that are right for them. */
export const captioning = (seed: number, { count, ...options }: BenchmarkOptions): CaptionedImage[] =>
  Array.from({ length: count }, (_, i) => {
    const scene = sceneAt(seed, i, options);
    return { image: sceneRef(scene), references: references(scene) };
  });

export const popeSplits = ['random', 'popular', 'adversarial'] as const;
export type PopeSplit = (typeof popeSplits)[number];

/** A question of POPE (Li et al. 2023), with its file's field names. */
export interface PopeQuestion {
  question_id: number;
  image: ImageRef;
  text: string;
  label: 'yes' | 'no';
}

/**
 * Half of the questions ask for a shown object, half for an absent one: any (`random`), one of the most frequent in the set (`popular`), or one
 * of the subgroup of a shown one (`adversarial`; POPE takes what often stands beside it, but here everything stands beside everything).
 */
export function pope(seed: number, kind: PopeSplit, { count, ...options }: BenchmarkOptions): PopeQuestion[] {
  const scenes = Array.from({ length: Math.ceil(count / 2) }, (_, i) => sceneAt(seed, i, options));
  const frequency = new Map<string, number>();
  for (const { objects } of scenes) for (const name of new Set(objects.map(({ concept }) => concept))) frequency.set(name, (frequency.get(name) ?? 0) + 1);
  const popular = [...frequency].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 30).map(([name]) => concept(name));

  const absent = (scene: Scene, stream: Random): Concept => {
    const shown = scene.objects.map((object) => concept(object.concept));
    // Of the same split as what is shown: were absent things always known ones, an unseen name would give the answer away.
    const isAbsent = ({ component, split }: Concept) => split === shown[0].split && shown.every((each) => each.component !== component);
    const candidates: Record<PopeSplit, () => Concept[]> = {
      random: () => [],
      popular: () => popular.filter(isAbsent),
      adversarial: () => concepts().filter((each) => each.subgroup === shown[0].subgroup && isAbsent(each)),
    };
    const near = candidates[kind]();
    return stream.choice(near.length > 0 ? near : concepts().filter((each) => each.isCore && isAbsent(each)));
  };
  return scenes
    .flatMap((scene, i) => {
      const stream = random(seed, 'pope', kind, i);
      const about = (name: string, label: 'yes' | 'no') => ({ image: sceneRef(scene), text: presenceQuestion(name), label });
      return [about(stream.choice(scene.objects).concept, 'yes'), about(absent(scene, stream).name, 'no')];
    })
    .slice(0, count)
    .map((question, i) => ({ question_id: i + 1, ...question }));
}
