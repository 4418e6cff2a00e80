import { groundNames, inkNames } from '../../data/colors.js';
import { contextAnswer, contextRequestAt, type ContextTask } from '../../data/subjects.js';
import { renderScene, type Scene } from '../../data/scenes.js';
import { promptText } from '../../dreamllm/conversation.js';
import type { Prompt } from '../../dreamllm/prompt.js';
import type { Measurement } from '../protocol.js';
import { defaultTestSet } from './comprehension.js';
import { drawScenes, measureIdentification, measureNearest, type CreationOptions, type Drawings, type Wanted } from './creation.js';
import type { Subject } from './subject.js';

/** What stands before the request: its own picture, that of another request, or none. */
export const givenPictures = ['own', 'other', 'none'] as const;
export type GivenPicture = (typeof givenPictures)[number];

/** Draws what requests about a given picture ask for, in the model's conversation template as in training. The picture may be withheld or exchanged. */
export async function drawInContext(subject: Subject, task: ContextTask, given: GivenPicture, options: CreationOptions = {}): Promise<Drawings> {
  const { count = 128, testSet = defaultTestSet } = options;
  const { config } = subject.model;
  const side = config.vision.imageSize;
  const requests = Array.from({ length: count }, (_, i) => contextRequestAt(task, testSet.seed, i, testSet));
  const [before, after] = promptText('<image>', config.template).split('<image>');
  const wanted = requests.map(({ target, request }, i): Wanted => {
    const { source } = requests[given === 'other' ? (i + 1) % count : i];
    const asked: Prompt = given === 'none'
      ? `${before}${request}${after} ${contextAnswer} `
      : [before, { width: side, height: side, data: renderScene(source, side) }, `\n${request}${after} ${contextAnswer} `];
    return { scene: target, prompt: request, asked };
  });
  const about = { dataset: `emoji world, ${task} requests`, captionPolicy: 'the request in a conversation', given: given === 'none' ? 'no picture' : `${given} picture` };
  return drawScenes(subject, wanted, { ...options, unprompted: false, about });
}

/**
 * Whether a drawn picture shows the given subject (`identification`), what the request names (`ground-identification`, and `ink-identification` where
 * it names an ink), each among renderings that differ in that alone.
 */
export function measureInContext(drawings: Drawings): Measurement[] {
  const changed = (scene: Scene, ink: (typeof inkNames)[number]) => ({ ...scene, objects: [{ ...scene.objects[0], ink }] });
  return [
    measureIdentification(drawings),
    measureNearest('ground-identification', drawings, (scene) => groundNames.filter((ground) => ground !== scene.ground).map((ground) => ({ ...scene, ground }))),
    ...(drawings.scenes.every(({ objects: [{ ink }] }) => ink)
      ? [measureNearest('ink-identification', drawings, (scene) => inkNames.filter((ink) => ink !== scene.objects[0].ink).map((ink) => changed(scene, ink)))]
      : []),
  ];
}
