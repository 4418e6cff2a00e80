import { stepsOf, type Stage } from './stages.js';

/** Everything about one training of one stage. Plain data: it is written to config.json as it is. */
export type StageSettings = Stage & {
  /** Steps between checkpoints, and how many of them are kept beside the best. */
  checkpointEvery: number;
  keepLast: number;
  /** Steps between validations, which also draw samples and measure gradient conflict. Default: a quarter of all steps. */
  evaluateEvery?: number;
  /** Number of the validation whose lowest checkpoint is kept beside the last. Default: valLoss, both losses by their weights. */
  best?: string;
  /** Decay of a moving average of what trains, which is then the result. No stage of the paper has one. */
  emaDecay?: number;
};

export const stageSettings = (stage: Stage): StageSettings => ({ ...stage, checkpointEvery: Math.max(1, Math.ceil(stepsOf(stage) / 4)), keepLast: 2 });

/**
 * Changes settings by `key=value` texts: a dotted key of the settings and a JSON value (or a bare word). `steps` and `epochs` set the length,
 * `learningRate` the peak of the schedule. An unknown key or a value of another type is an error.
 */
export function override(settings: StageSettings, assignments: readonly string[]): StageSettings {
  const changed = structuredClone(settings) as StageSettings & Record<string, unknown>;
  for (const assignment of assignments) {
    const [, key, text] = /^([^=]+)=(.*)$/s.exec(assignment) ?? [];
    if (key === undefined) throw new Error(`"${assignment}": expected key=value, such as steps=100.`);
    const value = parseValue(text);
    if (key === 'steps' || key === 'epochs') changed.length = { [key]: positive(key, value) } as Stage['length'];
    else if (key === 'learningRate') changed.schedule = { ...changed.schedule, peak: positive(key, value) };
    else if (key === 'snrGamma' || key === 'evaluateEvery') changed[key] = positive(key, value);
    else if (key === 'emaDecay') changed.emaDecay = share(key, value);
    else if (key === 'best') changed.best = String(value);
    else if (key.startsWith('data.')) changed.data = { ...changed.data, [key.slice(5)]: positive(key, value) };
    else assign(changed, key.split('.'), value, key);
  }
  for (const key of ['microBatchSize', 'accumulation', 'checkpointEvery', 'keepLast', 'maxTokens', 'evaluateEvery'] as const) {
    if (changed[key] !== undefined && !Number.isInteger(positive(key, changed[key]))) throw new Error(`${key}: expected a whole number, found ${changed[key]}.`);
  }
  return changed;
}

function assign(target: Record<string, unknown>, [head, ...rest]: string[], value: unknown, key: string): void {
  if (!Object.hasOwn(target, head)) {
    throw new Error(`Unknown setting "${key}". There are: ${Object.keys(target).join(', ')}, and the short forms steps, epochs, learningRate.`);
  }
  const before = target[head];
  if (rest.length > 0 && typeof before === 'object' && before !== null) return assign(before as Record<string, unknown>, rest, value, key);
  const [expected, found] = [kindOf(before), kindOf(value)];
  if (rest.length > 0 || expected !== found) throw new Error(`${key}: expected a value of type ${expected}, such as ${JSON.stringify(before)}, found ${JSON.stringify(value)}.`);
  target[head] = value;
}

const kindOf = (value: unknown) => (Array.isArray(value) ? 'list' : typeof value);

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a bare word, such as mode=joint
  }
}

function positive(key: string, value: unknown): number {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
  throw new Error(`${key}: expected a positive number, found ${JSON.stringify(value)}.`);
}

function share(key: string, value: unknown): number {
  if (typeof value === 'number' && value > 0 && value < 1) return value;
  throw new Error(`${key}: expected a number between 0 and 1, found ${JSON.stringify(value)}.`);
}
