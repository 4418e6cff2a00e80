import { random, type Random } from '../core/random.js';
import { caption } from './captions.js';
import { abilityNames, abilityQuestion } from './abilities.js';
import { choiceOf, type Choice } from './choices.js';
import { inkNames } from './colors.js';
import { documentAt, type DocumentKind } from './documents.js';
import { chooseQuestion, shortQuestions } from './questions.js';
import { chooseGround, drawScene, sceneAt, sceneRef, visibleGrounds, weighted, type Scene, type SceneOptions } from './scenes.js';
import type { Conversation, InstructInterleaved, Turn } from './types.js';

/** What is added to a question, in training and in evaluation alike. */
export const prompts = {
  short: 'answer briefly.',
  choice: 'answer with one of them.',
  describe: ['describe the picture.', 'what do you see?', 'what does this picture show?'],
  detail: ['describe the picture in detail.', 'tell me all about the picture.'],
  draw: ['draw', 'please draw', 'make a picture of', 'show me'],
} as const;

/** A multiple-choice question as the model reads it: the options one a line, each with its letter. */
export function choicePrompt(question: string, options: readonly string[], hint?: string): string {
  const lines = options.map((option, i) => `${'ABCD'[i]}. ${option}`);
  return [...(hint ? [hint] : []), question, ...lines, prompts.choice].join('\n');
}

export const shortPrompt = (question: string): string => `${question} ${prompts.short}`;

export const conversationKinds = ['describe', 'detail', 'question', 'dialogue', 'choice', 'draw', 'recolor'] as const;
export type ConversationKind = (typeof conversationKinds)[number];

export const defaultConversationKinds: Partial<Record<ConversationKind, number>> = { describe: 8, detail: 7, question: 10, dialogue: 25, choice: 37, draw: 10, recolor: 3 };

/** Conversation `index` of the endless list named by `seed` and `options`. */
export function conversationAt(
  seed: number,
  index: number,
  options: SceneOptions & { conversationKinds?: Partial<Record<ConversationKind, number>> },
): Conversation & { kind: ConversationKind } {
  const { conversationKinds: weights = defaultConversationKinds, ...sceneOptions } = options;
  const stream = random(seed, 'conversation', options.split, options.axis ?? 'cell', index);
  const kind = weighted(stream, weights);
  const scene = sceneAt(seed, index, sceneOptions);
  const { turns, images } = converse[kind](scene, stream, seed, index, sceneOptions);
  return { id: `${kind}-${options.split}-${seed}-${index}`, kind, images, conversations: turns };
}

interface Talk {
  turns: Turn[];
  images: string[];
}
const human = (value: string): Turn => ({ from: 'human', value });
const gpt = (value: string): Turn => ({ from: 'gpt', value });
const aboutPicture = (scene: Scene, question: string, answer: string): Talk => ({ turns: [human(`<image>\n${question}`), gpt(answer)], images: [sceneRef(scene)] });

const converse: Record<ConversationKind, (scene: Scene, stream: Random, seed: number, index: number, options: SceneOptions) => Talk> = {
  describe: (scene, stream) => aboutPicture(scene, stream.choice(prompts.describe), `${caption(scene, 'ground')}.`),

  detail: (scene, stream) => aboutPicture(scene, stream.choice(prompts.detail), `${caption(scene, 'full')}.`),

  question(scene, stream) {
    const { question, answer } = chooseQuestion(shortQuestions(scene, stream), stream);
    return aboutPicture(scene, shortPrompt(question), answer);
  },

  dialogue(scene, stream) {
    const [first, ...rest] = stream.shuffle(shortQuestions(scene, stream)).slice(0, 5);
    const talk = aboutPicture(scene, shortPrompt(first.question), first.answer);
    return { ...talk, turns: [...talk.turns, ...rest.flatMap(({ question, answer }) => [human(shortPrompt(question)), gpt(answer)])] };
  },

  /** Up to three choices about one picture. */
  choice(scene, stream, _seed, _index, options) {
    const asked = stream.uniform() < 0.75 ? abilityQuestion(stream.choice(abilityNames), stream, options) : undefined;
    const shown = asked?.scene ?? scene;
    const others = stream.shuffle(shortQuestions(shown, stream)).map((each) => choiceOf(each, stream)).filter((choice) => choice !== undefined);
    const [first, ...rest] = [...(asked ? [asked] : []), ...others.filter(({ question }) => question !== asked?.question)].slice(0, 3);
    const talk = multipleChoice(shown, first, stream);
    return { ...talk, turns: [...talk.turns, ...rest.flatMap((choice) => choiceTurns(choice, stream, ''))] };
  },

  draw(scene, stream) {
    const what = caption(scene, stream.choice(['short', 'ground', 'full'] as const));
    return { turns: [human(`${stream.choice(prompts.draw)} ${what}.`), gpt('here it is. <dream>')], images: [sceneRef(scene)] };
  },

  /** The given outline again, in another colour or on another ground: the answer depends on the picture. */
  recolor(_scene, stream, seed, index, options) {
    const scene = outlineScene(seed, index, options);
    const ink = stream.choice(inkNames.filter((each) => each !== scene.objects[0].ink && each !== scene.ground));
    const changed: Scene = { ...scene, objects: [{ ...scene.objects[0], ink }] };
    const ground = visibleGrounds(changed.objects).includes(scene.ground) ? scene.ground : chooseGround(stream, changed.objects)!;
    const request = `<image>\nthe same in ${ink} on a ${ground} background.`.replace('a orange', 'an orange');
    return { turns: [human(request), gpt('here it is. <dream>')], images: [sceneRef(scene), sceneRef({ ...changed, ground })] };
  },
};

const choiceTurns = ({ question, hint, right, wrong }: Choice, stream: Random, picture: '<image>\n' | ''): Turn[] =>
  [human(`${picture}${choicePrompt(question, stream.shuffle([right, ...wrong]), hint)}`), gpt(right)];

const multipleChoice = (scene: Scene, choice: Choice, stream: Random): Talk => ({ turns: choiceTurns(choice, stream, '<image>\n'), images: [sceneRef(scene)] });

/** A single outline that the split may show, in any colour it allows. */
function outlineScene(seed: number, index: number, { split }: SceneOptions): Scene {
  return drawScene(random(seed, 'outline', split, index), 'single', { split, axis: split === 'train' ? 'cell' : 'composition' }, undefined, 'outline');
}

const requests: Record<DocumentKind, readonly string[]> = {
  page: ['write a page about', 'tell me about'],
  shopping: ['write a shopping list'],
  story: ['tell me a story', 'write a story'],
  counting: ['count with me'],
  clock: ['tell me the time'],
  moon: ['show me the moon'],
  comparison: ['compare two things'],
};

/** InstructMMC4 in small: a document and the request for it. */
export function instructInterleavedAt(seed: number, index: number, options: Parameters<typeof documentAt>[2]): InstructInterleaved & { kind: DocumentKind } {
  const document = documentAt(seed, index, options);
  const stream = random(seed, 'instruction', options.split, index);
  const request = stream.choice(requests[document.kind]);
  // The first sentence is the title: "a page about birds on blue paper."
  const title = document.text_list[0].replace(/\.$/, '');
  const subject = document.kind === 'page' ? title.replace('a page about', '') : ` ${title.slice(title.indexOf('on '))}`;
  return { ...document, instruction: `${request}${subject} with pictures.`.replace(/ {2,}/g, ' ') };
}
