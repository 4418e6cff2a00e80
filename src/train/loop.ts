import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { fetchValues } from '../core/checkpoint.js';
import { clipFactor, globalNorm, valueAndGrads } from '../core/ops/index.js';
import { Ema } from './ema.js';
import { LeakLedger } from './ledger.js';
import { Optimizer, type OptimizerSettings } from './optimizer.js';
import { silent, type Progress } from './progress.js';
import { latestCheckpoint, type RunFolder } from './run-folder.js';
import { learningRate, type Schedule } from './schedules.js';
import { firstNonFinite, loadExact, saveExact } from './tensors.js';

/** Something to minimise. The loop knows nothing else of a model. */
export interface Task<Inputs extends tf.TensorContainer = tf.TensorContainer> {
  name: string;
  /** What trains, by key. */
  trainable: ReadonlyMap<string, tf.Variable>;
  /** A micro-batch. It must be a pure function of step and number: a resumed run asks again, and a step asks for the next one's. Its tensors become the loop's. */
  batch(step: number, micro: number): Batch<Inputs> | Promise<Batch<Inputs>>;
  /** The loss and named parts of it, from what `batch` gave. */
  loss(inputs: Inputs): Losses;
  /** Parameters that a batch does not reach, such as a projector in a batch without pictures, have zeros for gradients instead of an error. */
  allowUnused?: boolean;
}

export interface Batch<Inputs> {
  /** Names the samples, for the message of a step that went wrong. */
  ids: readonly string[];
  inputs: Inputs;
}

export type Losses = { loss: tf.Scalar } & Record<string, tf.Scalar>;

export interface LoopSettings {
  steps: number;
  /** Micro-batches whose gradients are averaged into one step. */
  accumulation: number;
  schedule: Schedule;
  optimizer: OptimizerSettings;
  /** Global norm to which gradients are clipped. */
  maxGradNorm: number;
  /** Decay of the moving average of the parameters; without it there is none. */
  emaDecay?: number;
  checkpointEvery: number;
  keepLast: number;
}

export interface StepMetrics {
  loss: number;
  gradNorm: number;
  learningRate: number;
  [part: string]: number;
}

export interface LoopOptions {
  folder?: RunFolder;
  signal?: AbortSignal;
  progress?: Progress;
  /** Continue from the newest whole checkpoint of `folder`. */
  resume?: boolean;
  /**
   * Called before the first step, every so many steps, and after the last, with the parameters to be used later (the moving average, if any); what it returns is logged,
   * with `before: true` the first time. `best` names a number of it: a checkpoint is written where it is lowest after a step, and kept.
   */
  evaluate?: { every: number; run(step: number): Promise<Record<string, number>> | Record<string, number>; best?: string };
  /** Called after each step. */
  onStep?(step: number, metrics: StepMetrics): void;
}

/** A training under way: what changes from step to step. */
export class Training {
  /** Steps taken. */
  step = 0;
  best: { step: number; value: number } | undefined;
  readonly optimizer: Optimizer;
  readonly ema: Ema | undefined;
  /** The micro-batch that comes next, made while the kernels of the last one run. */
  private ahead: { step: number; micro: number; batch: ReturnType<Task['batch']> } | undefined;

  constructor(
    readonly task: Task,
    readonly settings: LoopSettings,
  ) {
    this.optimizer = new Optimizer(task.trainable, settings.optimizer);
    if (settings.emaDecay !== undefined) this.ema = new Ema(task.trainable, settings.emaDecay);
  }

  /** Makes a micro-batch ahead of its time. What goes wrong is told when it is taken. */
  prepare(step: number, micro: number): void {
    this.drop();
    let batch: ReturnType<Task['batch']>;
    try {
      batch = this.task.batch(step, micro);
    } catch (error) {
      batch = Promise.reject(error);
    }
    if (batch instanceof Promise) batch.catch(() => {});
    this.ahead = { step, micro, batch };
  }

  /** The micro-batch, made ahead or now. */
  take(step: number, micro: number): ReturnType<Task['batch']> {
    if (this.ahead?.step !== step || this.ahead.micro !== micro) {
      this.drop();
      return this.task.batch(step, micro);
    }
    const { batch } = this.ahead;
    this.ahead = undefined;
    return batch;
  }

  /** The tensors that were made ahead, when they are there. */
  async waiting(): Promise<tf.Tensor[]> {
    const batch = await Promise.resolve(this.ahead?.batch).catch(() => undefined);
    return [...tensorsOf('', batch?.inputs)].map(([, tensor]) => tensor);
  }

  /** Calls `use` while the parameters have the values to be used after training: their moving average where there is one. */
  async withResult<T>(use: () => T | Promise<T>): Promise<T> {
    this.ema?.swap();
    try {
      return await use();
    } finally {
      this.ema?.swap();
    }
  }

  async save(folder: RunFolder): Promise<void> {
    for (const tensors of [this.task.trainable, this.optimizer.state, this.ema?.averages ?? new Map()]) await fetchValues(tensors);
    const state = { step: this.step, optimizerSteps: this.optimizer.steps, emaUpdates: this.ema?.updates ?? null, best: this.best ?? null };
    folder.saveCheckpoint(String(this.step), state, (into) => {
      saveExact(join(into, 'parameters.safetensors'), this.task.trainable);
      saveExact(join(into, 'optimizer.safetensors'), this.optimizer.state);
      if (this.ema) saveExact(join(into, 'ema.safetensors'), this.ema.averages);
    });
    folder.prune(this.settings.keepLast, this.best?.step);
  }

  /** Goes back to the newest whole checkpoint. Without one the run starts over, which gives the same numbers. */
  restore(folder: RunFolder, say: (message: string) => void): void {
    const checkpoint = latestCheckpoint(folder.path, say);
    if (checkpoint) {
      const state = checkpoint.state as { step: number; optimizerSteps: number; emaUpdates: number | null; best: Training['best'] | null };
      loadExact(join(checkpoint.folder, 'parameters.safetensors'), this.task.trainable);
      loadExact(join(checkpoint.folder, 'optimizer.safetensors'), this.optimizer.state);
      if (this.ema) {
        loadExact(join(checkpoint.folder, 'ema.safetensors'), this.ema.averages);
        this.ema.updates = state.emaUpdates ?? 0;
      }
      this.step = state.step;
      this.optimizer.steps = state.optimizerSteps;
      this.best = state.best ?? undefined;
      folder.dropAfter(this.step); // what is newer is damaged, and must not count as one of the last
      folder.prune(this.settings.keepLast, this.best?.step); // an earlier process may have died before it came to this
    }
    folder.append({ type: 'resume', step: this.step });
  }

  dispose(): void {
    this.drop();
    this.optimizer.dispose();
    this.ema?.dispose();
  }

  private drop(): void {
    const batch = this.ahead?.batch;
    this.ahead = undefined;
    if (batch instanceof Promise) batch.then(({ inputs }) => tf.dispose(inputs), () => {});
    else if (batch) tf.dispose(batch.inputs);
  }
}

/** Takes one optimizer step. Returns plain numbers: no tensor outlives the call but those of the next batch, which are the training's. */
export async function trainStep(training: Training): Promise<StepMetrics & { samples: number }> {
  const { task, settings, optimizer, ema, step } = training;
  const ids: string[] = [];
  const parts: Record<string, number> = {};
  const gradients = new Map<string, tf.Tensor>();

  for (let micro = 0; micro < settings.accumulation; micro++) {
    const { ids: names, inputs } = await training.take(step, micro);
    ids.push(...names);
    const losses: [string, tf.Scalar][] = [];
    const { value, grads } = valueAndGrads(
      () => {
        const { loss, ...rest } = task.loss(inputs);
        for (const [name, part] of Object.entries(rest)) losses.push([name, tf.keep(part)]);
        return loss;
      },
      task.trainable,
      { allowUnused: task.allowUnused },
    );
    const isLast = micro + 1 === settings.accumulation;
    if (!isLast || step + 1 < settings.steps) training.prepare(isLast ? step + 1 : step, isLast ? 0 : micro + 1);
    for (const [name, part] of [['loss', value] as const, ...losses]) parts[name] = (parts[name] ?? 0) + (await part.data())[0] / settings.accumulation;
    if (!Number.isFinite(parts.loss)) throw await notFinite(task, step, ids, parts, [...tensorsOf('input', inputs), ...named('parameter', task.trainable), ...named('gradient', grads)]);
    accumulate(gradients, grads, 1 / settings.accumulation);
    tf.dispose([value, inputs, ...losses.map(([, part]) => part)]);
  }

  const norm = globalNorm(gradients.values());
  const [gradNorm] = await norm.data();
  norm.dispose();
  if (!Number.isFinite(gradNorm)) throw await notFinite(task, step, ids, { ...parts, gradNorm }, [...named('parameter', task.trainable), ...named('gradient', gradients)]);

  const rate = learningRate(settings.schedule, step, settings.steps);
  optimizer.update(gradients, rate, clipFactor(gradNorm, settings.maxGradNorm));
  ema?.update();
  for (const gradient of gradients.values()) gradient.dispose();
  await training.waiting(); // whatever comes next finds no half-made tensors
  return { ...parts, loss: parts.loss, gradNorm, learningRate: rate, samples: ids.length };
}

/**
 * Runs a task to the end of its steps: step, log, evaluate, save. What it wrote is enough to go on after a kill at any moment and to end
 * with the same bytes. Rejects when `signal` is aborted, after a checkpoint.
 */
export async function train(task: Task, settings: LoopSettings, options: LoopOptions = {}): Promise<Training> {
  const { folder, signal, progress = silent, evaluate } = options;
  const training = new Training(task, settings);
  const ledgers = { step: new LeakLedger(), evaluation: new LeakLedger('The evaluation at step', 1) };
  /** What the evaluation gives, logged. */
  const evaluated = async (logged: { step: number; before?: true }): Promise<Record<string, number>> => {
    ledgers.evaluation.begin();
    const values = await training.withResult(() => evaluate!.run(training.step));
    ledgers.evaluation.end(logged.step);
    folder?.append({ type: 'evaluation', ...logged, ...values });
    progress.say(`${task.name} after ${training.step} steps: ${summary(Object.fromEntries(Object.entries(values).slice(0, 8)))}`);
    return values;
  };
  try {
    if (options.resume && folder) {
      training.restore(folder, (message) => {
        progress.say(message);
        folder.append({ type: 'damaged-checkpoint', message });
      });
    }
    folder?.append({ type: 'start', step: training.step, steps: settings.steps });

    if (evaluate && training.step === 0) await evaluated({ step: 0, before: true });
    while (training.step < settings.steps) {
      if (signal?.aborted) {
        if (folder) await training.save(folder);
        throw signal.reason;
      }
      const { step } = training;
      const start = performance.now();
      ledgers.step.begin(await training.waiting());
      const { samples, ...metrics } = await trainStep(training);
      ledgers.step.end(step, await training.waiting());
      training.step++;

      const ms = performance.now() - start;
      folder?.append({ type: 'step', step, ...metrics, ms: round(ms), samplesPerSecond: round((1000 * samples) / ms), tensors: tf.memory().numTensors });
      options.onStep?.(step, metrics);
      progress.update(training.step, summary(metrics));

      const isLast = training.step === settings.steps;
      let isBest = false;
      if (evaluate && (isLast || training.step % evaluate.every === 0)) {
        const values = await evaluated({ step });
        const value = evaluate.best === undefined ? undefined : values[evaluate.best];
        if (evaluate.best !== undefined && value === undefined) throw new Error(`${task.name}: the best checkpoint is chosen by ${evaluate.best}, and the evaluation gave ${Object.keys(values).join(', ') || 'nothing'}.`);
        isBest = value !== undefined && value < (training.best?.value ?? Infinity);
        if (isBest) training.best = { step: training.step, value: value! };
      }
      if (folder && (isLast || isBest || training.step % settings.checkpointEvery === 0)) await training.save(folder);
      await new Promise(setImmediate); // lets a signal or a server in the same process be heard
    }
    progress.end();
    return training;
  } catch (error) {
    training.dispose();
    throw error;
  } finally {
    for (const ledger of Object.values(ledgers)) ledger.stop();
  }
}

function accumulate(sum: Map<string, tf.Tensor>, grads: ReadonlyMap<string, tf.Tensor>, factor: number): void {
  for (const [key, grad] of grads) {
    const scaled = factor === 1 ? grad : grad.mul(factor);
    const before = sum.get(key);
    sum.set(key, before ? before.add(scaled) : scaled);
    if (before) tf.dispose([before, scaled]);
    if (factor !== 1) grad.dispose();
  }
}

function* named(kind: string, tensors: ReadonlyMap<string, tf.Tensor>): Iterable<[string, tf.Tensor]> {
  for (const [key, tensor] of tensors) yield [`${kind} ${key}`, tensor];
}

function* tensorsOf(kind: string, container: unknown): Iterable<[string, tf.Tensor]> {
  if (container instanceof tf.Tensor) yield [kind, container];
  else if (container && typeof container === 'object') for (const [key, value] of Object.entries(container)) yield* tensorsOf(`${kind} ${key}`, value);
}

async function notFinite(task: Task, step: number, ids: string[], values: Record<string, number>, suspects: [string, tf.Tensor][]): Promise<Error> {
  const [name, value] = Object.entries(values).find(([, value]) => !Number.isFinite(value))!;
  return new Error(
    `${task.name}: ${name} became ${value} in step ${step}. Batch: ${ids.join(', ')}. ` +
      `First bad tensor: ${(await firstNonFinite(suspects)) ?? 'none among inputs, parameters and gradients, so the loss itself'}. ` +
      'Nothing was updated, and the last checkpoint is whole. Look at this batch, or lower the learning rate and start again.',
  );
}

const round = (x: number) => Math.round(x * 10) / 10;

/** Numbers in the few digits a person reads. */
const summary = (values: Record<string, number>) =>
  Object.entries(values).map(([name, value]) => `${name} ${value.toPrecision(4)}`).join('  ');
