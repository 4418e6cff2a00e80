import { random } from '../core/random.js';
import { concept } from './emoji.js';
import { sceneAt, sceneRef, weighted, type Scene, type SceneObject, type SceneOptions } from './scenes.js';
import type { Pair } from './types.js';
import { isCountable, list, numberWord, plural, withArticle } from './wording.js';

export const relations = ['left of', 'right of', 'above', 'below'] as const;
export type Relation = (typeof relations)[number];

/** Where `a` stands, seen from `b`. */
export function relation(a: SceneObject, b: SceneObject): Relation {
  const [dx, dy] = [a.x + a.size / 2 - b.x - b.size / 2, a.y + a.size / 2 - b.y - b.size / 2];
  if (Math.abs(dx) > Math.abs(dy)) return dx < 0 ? 'left of' : 'right of';
  return dy < 0 ? 'above' : 'below';
}

export const corners = ['top left', 'top right', 'bottom left', 'bottom right'] as const;

/** The corner that an object is in. */
export function corner({ x, y, size }: SceneObject): (typeof corners)[number] {
  return `${y + size / 2 < 16 ? 'top' : 'bottom'} ${x + size / 2 < 16 ? 'left' : 'right'}`;
}

/** Name of an object with its colour if it is an outline: "red outlined key". */
export const nameOf = ({ concept, ink }: SceneObject): string => (ink ? `${ink} outlined ${concept}` : concept);

/** What a scene shows, without style and ground: "three owls", "a cat left of a dog". */
export function content({ kind, objects }: Scene): string {
  const [a, b] = objects;
  const [first, second] = objects.map((object) => withArticle(nameOf(object)));
  switch (kind) {
    case 'single':
      return first;
    case 'quadrant':
      return `${first} in the ${corner(a)}`;
    case 'count':
      return `${numberWord(objects.length)} ${plural(nameOf(a))}`;
    case 'pair':
    case 'colors':
      return `${first} ${relation(a, b)} ${second}`;
    case 'sizes':
      return `${withArticle(`big ${nameOf(a)}`)} and ${withArticle(`small ${nameOf(b)}`)}`;
    case 'inside':
      return `${first} in front of ${second}`;
    case 'row':
      return `a row of ${objects.map(nameOf).join(', ')}`;
    case 'chart':
      return `a chart of ${list([...new Set(objects.map(nameOf))].map((name) => quantity(name, objects.filter((each) => nameOf(each) === name).length)))}`;
  }
}

const quantity = (name: string, count: number) => `${numberWord(count)} ${count > 1 && isCountable(name) ? plural(name) : name}`;

/** The style word, when every object has the same painted style. */
export function styleOf({ objects }: Scene): string | undefined {
  const [{ style }] = objects;
  return style !== 'outline' && objects.every((object) => object.style === style) ? style : undefined;
}

/** Two or three words about the object: its subgroup and tags that its name does not say. */
function tagsOf({ objects: [{ concept: name }] }: Scene): string {
  const { subgroup, tags } = concept(name);
  const kind = subgroup.split('-').at(-1)!;
  return [...new Set([kind, ...tags])].filter((tag) => !name.includes(tag) && /^[a-z ]+$/.test(tag)).slice(0, 3).join(', ');
}

export type CaptionForm = 'short' | 'ground' | 'styled' | 'full' | 'tagged';
const forms: Record<CaptionForm, number> = { short: 25, ground: 25, styled: 15, full: 30, tagged: 5 };

/** The caption of a scene in one form. Forms that do not apply (a style where there are two) leave that part out. */
export function caption(scene: Scene, form: CaptionForm): string {
  const what = content(scene);
  const style = styleOf(scene);
  const styled = style ? `a ${style} picture of ${what}` : what;
  const ground = ` on a ${scene.ground} background`.replace('a orange', 'an orange');
  switch (form) {
    case 'short':
      return what;
    case 'ground':
      return what + ground;
    case 'styled':
      return styled;
    case 'full':
      return styled + ground;
    case 'tagged': {
      const tags = scene.kind === 'single' ? tagsOf(scene) : '';
      return tags ? `${what}: ${tags}` : what;
    }
  }
}

/** All different captions of a scene, from short to full, as the references of a captioning test. */
export const references = (scene: Scene): string[] => [...new Set((['short', 'ground', 'styled', 'full'] as const).map((form) => caption(scene, form)))];

/** Captioned picture `index` of the endless list named by `seed` and `options`, with the scene it was made from. */
export function pairAt(seed: number, index: number, options: SceneOptions): Pair & { scene: Scene } {
  const scene = sceneAt(seed, index, options);
  const form = weighted(random(seed, 'caption', options.split, index), forms);
  return { id: `${options.split}-${seed}-${index}`, image: sceneRef(scene), caption: caption(scene, form), scene };
}
