import type { Random } from '../core/random.js';
import { corner, corners, relation } from './captions.js';
import { others, similarNames, type Choice } from './choices.js';
import { groundNames, inkNames } from './colors.js';
import { effects } from './effects.js';
import { cells, concepts, paintedStyles, type Cell, type Concept } from './emoji.js';
import { kinds, moons, topics } from './kinds.js';
import { drawScene, sceneWith, type Scene, type SceneKind, type SceneOptions } from './scenes.js';
import type { Axis, Split } from './types.js';
import { isCountable, isPlural, numberWord, plural } from './wording.js';

/** MMBench's 20 abilities of the third level, each with its second and first level (Liu et al. 2023, figure 2). */
export const abilities = {
  image_style: ['coarse_perception', 'perception'],
  image_topic: ['coarse_perception', 'perception'],
  image_scene: ['coarse_perception', 'perception'],
  image_emotion: ['coarse_perception', 'perception'],
  image_quality: ['coarse_perception', 'perception'],
  object_localization: ['finegrained_perception (instance-level)', 'perception'],
  attribute_recognition: ['finegrained_perception (instance-level)', 'perception'],
  celebrity_recognition: ['finegrained_perception (instance-level)', 'perception'],
  ocr: ['finegrained_perception (instance-level)', 'perception'],
  spatial_relationship: ['finegrained_perception (cross-instance)', 'perception'],
  attribute_comparison: ['finegrained_perception (cross-instance)', 'perception'],
  action_recognition: ['finegrained_perception (cross-instance)', 'perception'],
  physical_property_reasoning: ['attribute_reasoning', 'reasoning'],
  function_reasoning: ['attribute_reasoning', 'reasoning'],
  identity_reasoning: ['attribute_reasoning', 'reasoning'],
  social_relation: ['relation_reasoning', 'reasoning'],
  nature_relation: ['relation_reasoning', 'reasoning'],
  physical_relation: ['relation_reasoning', 'reasoning'],
  structuralized_imagetext_understanding: ['logic_reasoning', 'reasoning'],
  future_prediction: ['logic_reasoning', 'reasoning'],
} as const satisfies Record<string, readonly [string, string]>;
export type Ability = keyof typeof abilities;
export const abilityNames = Object.keys(abilities) as Ability[];

export interface AbilityQuestion extends Choice {
  scene: Scene;
  /** `split`: objects are new as the axis says; `trained cells`: the split has none of this kind, so that only the scene is new. */
  origin: 'split' | 'trained cells';
}

/** A multiple-choice question of one ability about a new scene. */
export function abilityQuestion(ability: Ability, stream: Random, options: SceneOptions): AbilityQuestion {
  for (let attempt = 0; attempt < 200; attempt++) {
    const made = ask[ability](new Pool(stream, options.split, options.axis ?? 'cell'));
    if (made) return made;
  }
  throw new Error(`No question of ability ${ability} for split "${options.split}", axis "${options.axis ?? 'cell'}" in 200 attempts.`);
}

/** Cells and scenes for one question. */
class Pool {
  private origin: AbilityQuestion['origin'] = 'split';

  constructor(readonly stream: Random, readonly split: Split, readonly axis: Axis) {}

  /** Where cells may come from, best first. Concepts of another split are never among them. */
  private candidates(wanted: (concept: Concept) => boolean): { list: Cell[]; origin: AbilityQuestion['origin'] } {
    const find = (split: Split, axis: Axis) => cells(split, axis).filter(({ concept }) => wanted(concept));
    const mine = find(this.split, this.axis);
    if (mine.length > 0) return { list: mine, origin: 'split' };
    const unseen = this.split === 'train' ? [] : find(this.split, 'concept');
    return { list: [...find('train', 'cell'), ...unseen], origin: 'trained cells' };
  }

  /** One of `items` for which there is a cell. */
  oneOf<T>(items: readonly T[], wanted: (item: T, concept: Concept) => boolean): T {
    // Items in random order: most have a cell, so that the first one usually does.
    const found = this.stream.shuffle(items).find((item) => this.candidates((each) => wanted(item, each)).list.length > 0);
    if (found === undefined) throw new Error(`No cell of split "${this.split}", axis "${this.axis}" suits any of ${items.length} wishes.`);
    return found;
  }

  /** A cell whose concept is `wanted`: of the split, or else a trained one. */
  cell(wanted: (concept: Concept) => boolean): Cell {
    // A few draws find a frequent kind without a look at every cell.
    const mine = cells(this.split, this.axis);
    for (let attempt = 0; attempt < 20; attempt++) {
      const cell = this.stream.choice(mine);
      if (wanted(cell.concept)) return cell;
    }
    const { list, origin } = this.candidates(wanted);
    if (origin !== 'split') this.origin = origin;
    return this.stream.choice(list);
  }

  /** A cell whose concept is `wanted`, each answer as often: an answer that many concepts share could be guessed unseen. */
  cellByAnswer(wanted: (concept: Concept) => boolean, answer: (concept: Concept) => string): Cell {
    const answers = [...new Set(this.candidates(wanted).list.map(({ concept }) => answer(concept)))];
    const chosen = this.stream.choice(answers);
    return this.cell((each) => wanted(each) && answer(each) === chosen);
  }

  /** A cell of the named concept, if the split may show one. */
  named(name: string): Cell | undefined {
    const isIt = (each: Concept) => each.name === name;
    return this.candidates(isIt).list.length > 0 ? this.cell(isIt) : undefined;
  }

  /** Concepts that may be named as wrong answers: in training only trained ones, or it would teach that the others are always wrong. */
  distractors(wanted: (concept: Concept) => boolean, right?: Concept): Concept[] {
    return concepts().filter((each) => wanted(each) && each.component !== right?.component && (this.split !== 'train' || each.split === 'train'));
  }

  /** A core concept's cell, where a question has no other wish. */
  core(wanted: (concept: Concept) => boolean = () => true): Cell {
    return this.cell((each) => each.isCore && wanted(each));
  }

  scene(kind: SceneKind, given: readonly Cell[]): Scene | undefined {
    // Trained cells make scenes by the rules of training.
    const options = this.origin === 'split' ? { split: this.split, axis: this.axis } : { split: 'train' as const };
    return sceneWith(this.stream, kind, given, options);
  }

  /** A scene with outlines. Known outlines have no new cell, so that in val and test the combination is new instead. */
  outlines(kind: 'single' | 'colors'): Scene {
    return drawScene(this.stream, kind, { split: this.split, axis: this.axis === 'cell' && this.split !== 'train' ? 'composition' : this.axis }, undefined, 'outline');
  }

  made(scene: Scene | undefined, question: string, right: string, wrong: readonly string[]): AbilityQuestion | undefined {
    return scene && { scene, question, right, wrong: others(this.stream, wrong, right), origin: this.origin };
  }
}

const emotions: Record<string, string> = {
  'face-smiling': 'happy',
  'face-affection': 'in love',
  'face-tongue': 'playful',
  'face-sleepy': 'sleepy',
  'face-unwell': 'ill',
  'face-concerned': 'worried',
  'face-negative': 'angry',
};

const properties: readonly (readonly [pattern: RegExp, property: string])[] = [
  [/^animal-/, 'it is an animal'],
  [/^plant-/, 'it is a plant'],
  [/^food-/, 'it can be eaten'],
  [/^transport-(?:ground|water|air)/, 'it can carry people'],
  [/^clothing/, 'it can be worn'],
  [/^place-(?:building|religious)/, 'people can go inside'],
  [/^musical-instrument/, 'it makes music'],
];

const functions: Record<string, string> = {
  'musical-instrument': 'to make music',
  clothing: 'to wear',
  writing: 'to write or paint',
  tool: 'to build or fight',
  'light-video': 'to film or make light',
  phone: 'to talk with others',
  computer: 'to work with data',
  medical: 'to make ill people well',
  household: 'to use at home',
  'transport-ground': 'to travel on land',
  'transport-water': 'to travel on water',
  'book-paper': 'to read',
  lock: 'to lock and unlock',
  sport: 'to play sports',
  money: 'to pay',
  dishware: 'to eat and cook',
  science: 'to do science',
};

const socialRelations: readonly (readonly [pattern: RegExp, relation: string])[] = [
  [/^family/, 'a family'],
  [/^kiss(?:$| with)/, 'two people kissing'],
  [/^couple with heart/, 'a couple in love'],
  [/holding hands$/, 'two people holding hands'],
  [/^(?:people|men|women) wrestling/, 'two people fighting'],
];

const wordsOnButtons: Record<string, string> = {
  'ok button': 'ok', 'new button': 'new', 'cool button': 'cool', 'free button': 'free', 'sos button': 'sos', 'ng button': 'ng', 'up button': 'up',
  'vs button': 'vs', 'id button': 'id', 'end arrow': 'end', 'back arrow': 'back', 'soon arrow': 'soon', 'top arrow': 'top', 'on arrow': 'on',
};

const withoutGender = (name: string) => name.replace(/^(?:person|people|man|woman|men|women) /, '');
const actionOf = (name: string) => /^(?:person|man|woman|people|men|women) (\w+ing\b.*)$/.exec(name)?.[1].replace(' facing right', '');
const be = (name: string) => (isPlural(name) ? 'are' : 'is');

const ask: Record<Ability, (pool: Pool) => AbilityQuestion | undefined> = {
  image_style(pool) {
    const cell = pool.cell(() => true);
    return pool.made(pool.scene('single', [cell]), 'in what style is this picture?', cell.style, paintedStyles);
  },

  image_topic(pool) {
    // Topics first, so that a topic with few pictures is asked as often.
    const group = pool.oneOf(Object.keys(topics), (each, { group }) => each === group);
    const cell = pool.cell((each) => each.group === group);
    return pool.made(pool.scene('single', [cell]), 'what is this picture about?', topics[group], Object.values(topics));
  },

  image_scene(pool) {
    if (pool.stream.uniform() < 0.5) {
      const scene = pool.scene('single', [pool.core()]);
      return pool.made(scene, 'what color is the background?', scene?.ground ?? '', groundNames);
    }
    const isPlace = (each: Concept) => each.subgroup.startsWith('place-') && isCountable(each.name);
    const cell = pool.cell(isPlace);
    return pool.made(pool.scene('single', [cell]), 'what place is this?', cell.concept.name, pool.distractors(isPlace, cell.concept).map(({ name }) => name));
  },

  image_emotion(pool) {
    const isFace = (subgroup: string, each: Concept) => each.subgroup === subgroup && each.name.includes('face');
    const subgroup = pool.oneOf(Object.keys(emotions), isFace);
    const cell = pool.cell((each) => isFace(subgroup, each));
    return pool.made(pool.scene('single', [cell]), 'how does this face feel?', emotions[subgroup], Object.values(emotions));
  },

  image_quality(pool) {
    const scene = pool.scene('single', [pool.core()]);
    const quality = pool.stream.choice(['clean', ...effects] as const);
    if (scene && quality !== 'clean') scene.effect = quality;
    // A dark picture of a black ground would be no fair question.
    if (scene?.ground === 'black' && quality === 'dark') return undefined;
    return pool.made(scene, 'how good is this picture?', quality, ['clean', ...effects]);
  },

  object_localization(pool) {
    const cell = pool.core();
    const scene = pool.scene('quadrant', [cell]);
    const { name } = cell.concept;
    return scene && pool.made(scene, `where ${be(name)} the ${name}?`, corner(scene.objects[0]), corners);
  },

  attribute_recognition(pool) {
    const scene = pool.outlines('single');
    const [{ concept: name, ink }] = scene.objects;
    return pool.made(scene, `what color ${be(name)} the ${name}?`, ink!, inkNames);
  },

  celebrity_recognition(pool) {
    const isFigure = (each: Concept) => each.subgroup === 'person-fantasy';
    const cell = pool.cellByAnswer(isFigure, ({ family }) => family);
    return pool.made(pool.scene('single', [cell]), 'who is this?', cell.concept.name, pool.distractors(isFigure, cell.concept).map(({ name }) => name));
  },

  ocr(pool) {
    if (pool.stream.uniform() < 0.5) {
      const cell = pool.cellByAnswer(({ name }) => /^keycap \d+$/.test(name), ({ name }) => name);
      return pool.made(pool.scene('single', [cell]), 'which number is written here?', cell.concept.name.slice(7), ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10']);
    }
    const cell = pool.cellByAnswer(({ name }) => name in wordsOnButtons, ({ name }) => name);
    return pool.made(pool.scene('single', [cell]), 'which word is written here?', wordsOnButtons[cell.concept.name], Object.values(wordsOnButtons));
  },

  spatial_relationship(pool) {
    const scene = pool.scene('pair', twoDifferent(pool));
    if (!scene) return undefined;
    const [a, b] = scene.objects;
    const side = (where: string) => `${where} the ${b.concept}`;
    return pool.made(scene, `where ${be(a.concept)} the ${a.concept}?`, side(relation(a, b)), ['left of', 'right of', 'above', 'below'].map(side));
  },

  attribute_comparison(pool) {
    if (pool.stream.uniform() < 0.5) {
      const scene = pool.scene('sizes', twoDifferent(pool));
      return scene && pool.made(scene, 'which is bigger?', `the ${scene.objects[0].concept}`, scene.objects.map((object) => `the ${object.concept}`));
    }
    const scene = pool.outlines('colors');
    const [a] = scene.objects;
    return pool.made(scene, `which is ${a.ink}?`, `the ${a.concept}`, scene.objects.map((object) => `the ${object.concept}`));
  },

  action_recognition(pool) {
    const isAction = (each: Concept) => /^person-(?:activity|sport|gesture)$/.test(each.subgroup) && actionOf(each.name) !== undefined;
    const cell = pool.cellByAnswer(isAction, ({ name }) => actionOf(name)!);
    const actions = pool.distractors(isAction, cell.concept).map(({ name }) => actionOf(name)!);
    return pool.made(pool.scene('single', [cell]), 'what is the person doing?', actionOf(cell.concept.name)!, [...new Set(actions)]);
  },

  physical_property_reasoning(pool) {
    const [pattern, right] = pool.oneOf(properties, ([pattern], { subgroup }) => pattern.test(subgroup));
    const cell = pool.cell((each) => pattern.test(each.subgroup));
    return pool.made(pool.scene('single', [cell]), 'what is true of this thing?', right, properties.map(([, property]) => property));
  },

  function_reasoning(pool) {
    const subgroup = pool.oneOf(Object.keys(functions), (key, each) => key === each.subgroup);
    const cell = pool.cell((each) => each.subgroup === subgroup);
    return pool.made(pool.scene('single', [cell]), 'what is this for?', functions[subgroup], Object.values(functions));
  },

  identity_reasoning(pool) {
    const isWorker = (each: Concept) => each.subgroup === 'person-role' && !/with|wearing|in tuxedo|pregnant|feeding|prince|ninja/.test(each.name);
    const work = (each: Concept) => withoutGender(each.name);
    const cell = pool.cellByAnswer(isWorker, work);
    const works = pool.distractors(isWorker, cell.concept).map(work);
    return pool.made(pool.scene('single', [cell]), 'what is the work of this person?', work(cell.concept), [...new Set(works)]);
  },

  social_relation(pool) {
    const [pattern, right] = pool.oneOf(socialRelations, ([pattern], { name }) => pattern.test(name));
    const cell = pool.cell(({ name }) => pattern.test(name));
    return pool.made(pool.scene('single', [cell]), 'who are these people?', right, socialRelations.map(([, each]) => each));
  },

  nature_relation(pool) {
    const classes = ['animal-mammal', 'animal-bird', 'animal-reptile', 'animal-marine', 'animal-bug', 'plant-flower', 'food-fruit', 'food-vegetable'];
    const subgroup = pool.oneOf(classes, (key, each) => isWhole(each) && key === each.subgroup);
    const first = pool.cell((each) => isWhole(each) && each.subgroup === subgroup);
    const second = pool.cell((each) => isWhole(each) && each.subgroup === subgroup);
    if (first.concept.component === second.concept.component) return undefined;
    const both = (key: string) => `both are ${kinds[key][1]}`;
    return pool.made(pool.scene('pair', [first, second]), 'what do the two have in common?', both(subgroup), classes.map(both));
  },

  physical_relation(pool) {
    const given = twoDifferent(pool);
    const kind = pool.stream.choice(['inside', 'pair'] as const);
    const scene = pool.scene(kind, given);
    if (!scene) return undefined;
    const [a, b] = scene.objects;
    // Told from either side, so that the order of the names says nothing.
    const [x, y] = pool.stream.shuffle([a, b]);
    const say = (where: string, first = x, second = y) => `the ${first.concept} ${be(first.concept)} ${where} the ${second.concept}`;
    const right = kind === 'inside' ? say('in front of', a, b) : say(relation(x, y));
    return pool.made(scene, 'what is true?', right, [say('in front of'), say('in front of', y, x), say('left of'), say('right of'), say('above'), say('below')]);
  },

  structuralized_imagetext_understanding(pool) {
    const [a, b] = twoDifferent(pool);
    if (pool.stream.uniform() < 0.5) {
      const [many, few] = pool.stream.choice([[2, 1], [3, 1], [3, 2], [4, 2], [4, 1]]);
      const columns = [...Array<Cell>(many).fill(a), ...Array<Cell>(few).fill(b)];
      const scene = pool.scene('chart', pool.stream.uniform() < 0.5 ? columns : columns.reverse());
      const plurals = [a, b].map(({ concept: { name } }) => (isCountable(name) ? plural(name) : name));
      if (pool.stream.uniform() < 0.5) return pool.made(scene, 'of what are there more in the chart?', plurals[0], plurals);
      const asked = pool.stream.integer(2);
      return pool.made(scene, `how many ${plurals[asked]} are in the chart?`, numberWord([many, few][asked]), [1, 2, 3, 4].map(numberWord));
    }
    const third = pool.core((each) => each.component !== a.concept.component && each.component !== b.concept.component);
    const row = [a, b, third];
    const position = pool.stream.integer(3);
    return pool.made(pool.scene('row', row), `what is ${['first', 'second', 'third'][position]} in the row?`, row[position].concept.name, row.map((cell) => cell.concept.name));
  },

  future_prediction(pool) {
    if (pool.stream.uniform() < 0.25) {
      const start = pool.stream.integer(moons.length);
      const phase = (step: number) => moons[(start + step) % moons.length];
      void pool.stream.choice(['simple', 'glossy', 'flat']); // not used, but the questions after it are drawn from what follows
      const given = [0, 1, 2, 3].map((step) => pool.named(phase(step)));
      const [first, second, third] = given;
      if (!given.every((cell) => cell)) return undefined;
      const phases = pool.distractors(({ name }) => moons.includes(name)).map(({ name }) => name);
      return pool.made(pool.scene('row', [first!, second!, third!]), 'what comes next?', phase(3), phases);
    }
    const [a, b] = twoDifferent(pool);
    const [pattern, next] = pool.stream.choice([[[a, b, a, b], a], [[a, b, a], b], [[a, a, b, a], a], [[a, b, b, a], b]] as const);
    // One look-alike of each, so that the company an option keeps says nothing.
    const wrong = [a, b].flatMap((cell) => [cell.concept.name, ...similarNames(cell.concept, pool.stream, 1)]);
    return pool.made(pool.scene('row', pattern), 'what comes next?', next.concept.name, wrong);
  },
};

/** Not a feather or a print, which a class of animals has among its emoji. */
const isWhole = ({ name }: Concept) => !/feather|wing|print|shell|coral|web|nose|microbe|nest/.test(name);

function twoDifferent(pool: Pool): [Cell, Cell] {
  const first = pool.core();
  return [first, pool.core((each) => each.component !== first.concept.component)];
}
