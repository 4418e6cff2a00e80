import { random } from '../core/random.js';
import { conversationAt } from './instructions.js';
import { groundNames } from './colors.js';
import { concept } from './emoji.js';
import { drawScene, parseSceneRef, sceneRef, sceneWith, visibleGrounds, type Scene, type SceneOptions } from './scenes.js';
import type { Conversation } from './types.js';

/**
 * Requests for a picture whose answer depends on a picture that is given: another colour for it (image-to-image translation), or the same subject in
 * other surroundings (subject-driven generation). Stage III of nano has a few of the first and none of the second.
 */
export const contextTasks = ['recolor', 'subject'] as const;
export type ContextTask = (typeof contextTasks)[number];

/** A request with the given and the wanted picture. */
export interface ContextRequest {
  id: string;
  source: Scene;
  target: Scene;
  /** What is said behind the given picture. */
  request: string;
}

/** How the assistant answers, before it draws. */
export const contextAnswer = 'here it is.';

export function contextRequestAt(task: ContextTask, seed: number, index: number, { split, axis }: Pick<SceneOptions, 'split' | 'axis'>): ContextRequest {
  if (task === 'subject') return subjectRequest(seed, index, { split, axis });
  const { id, images, conversations } = conversationAt(seed, index, { split, axis, conversationKinds: { recolor: 1 } });
  const [source, target] = images.map(parseSceneRef);
  return { id, source, target, request: conversations[0].value.replace('<image>\n', '') };
}

/** A painted object on a ground, wanted again on another one, as large and elsewhere: nothing but the given picture says what it is. */
function subjectRequest(seed: number, index: number, options: Pick<SceneOptions, 'split' | 'axis'>): ContextRequest {
  for (let attempt = 0; attempt < 200; attempt++) {
    const stream = random(seed, 'subject', options.split, options.axis ?? 'cell', index, attempt);
    const source = drawScene(stream, 'single', options, undefined, 'painted');
    const [{ concept: name, style }] = source.objects;
    const grounds = visibleGrounds(source.objects).filter((ground) => ground !== source.ground);
    if (grounds.length === 0) continue;
    const ground = stream.choice(grounds);
    const target = sceneWith(stream, 'single', [{ concept: concept(name), style }], options, { ground });
    if (target?.ground !== ground) continue;
    return { id: `subject-${options.split}-${seed}-${index}`, source, target, request: `the same on ${ground === 'orange' ? 'an' : 'a'} ${ground} background.` };
  }
  throw new Error(`No subject of split "${options.split}" was found in 200 draws that stands out on two of ${groundNames.length} grounds.`);
}

/** Such a request as a conversation of stage III. */
export function contextConversationAt(task: ContextTask, seed: number, index: number, options: Pick<SceneOptions, 'split' | 'axis'>): Conversation {
  const { id, source, target, request } = contextRequestAt(task, seed, index, options);
  return {
    id, images: [sceneRef(source), sceneRef(target)],
    conversations: [{ from: 'human', value: `<image>\n${request}` }, { from: 'gpt', value: `${contextAnswer} <dream>` }],
  };
}
