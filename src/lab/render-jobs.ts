import { siblingModule } from '../core/process.js';
import { compactIndices } from './slurm.js';
import type { Plan } from './plan.js';
import type { Sweep } from './sweep.js';
import type { WorkerOrder } from './worker.js';

/**
 * The trials of a plan that are still to run, written for schedulers that this project does not start itself. Each task is the same worker
 * process on one trial by position, so leases, caching and records are those of every other executor, and a task that runs twice does no harm.
 */
export interface RenderOptions {
  /** The sweep's file and folder, as the tasks see them. */
  file: string;
  out: string;
  shared?: string;
  /** Failures after which a trial is left alone. */
  attempts?: number;
  ttl?: number;
}

/** Positions of the trials that have something left to do. */
export function openIndices({ trials, finished }: Plan): number[] {
  const done = new Set(finished.map(({ hash }) => hash));
  return trials.flatMap(({ hash }, i) => (done.has(hash) ? [] : [i]));
}

/** A file for `parallel --jobs N --joblog LOG --resume-failed < FILE`: one command a line. */
export function renderParallel(plan: Plan, options: RenderOptions): string {
  return openIndices(plan)
    .map((index) => `${[...program(), JSON.stringify(order(options, `parallel.${index}`, index))].map(quote).join(' ')}\n`)
    .join('');
}

export interface KubernetesOptions extends RenderOptions {
  image: string;
  /** Claim of a volume that all pods share; it is mounted at `mountPath`, under which `file` and `out` lie. */
  volumeClaim: string;
  mountPath: string;
  /** Pods at once. */
  workers: number;
  cpu?: string;
  memory?: string;
  /** Where the image has the built package. */
  packagePath?: string;
}

/**
 * An Indexed Job (Kubernetes 1.33 for `backoffLimitPerIndex`): each pod gets its index in JOB_COMPLETION_INDEX and maps it to a trial. One trial that
 * keeps failing fails alone.
 */
export function renderKubernetes(sweep: Sweep, plan: Plan, options: KubernetesOptions): string {
  const { image, volumeClaim, mountPath, workers, attempts = 1, cpu = '2', memory = '4Gi', packagePath = '/opt/dreamllm' } = options;
  const indices = openIndices(plan);
  if (indices.length === 0) throw new Error(`Sweep "${sweep.name}" has nothing left to run.`);
  // A finished trial has no pod, so pods count from 0 and look up the trial's position.
  const text = JSON.stringify({ ...order({ ...options, attempts }, 'WORKER', -1), only: ['INDEX'] });
  const script = [
    'set -eu',
    `positions="${indices.join(' ')}"`,
    'set -- $positions',
    'shift "$JOB_COMPLETION_INDEX"',
    `order=$(printf '%s' ${quote(text)} | sed -e "s/WORKER/kubernetes.$HOSTNAME/" -e "s/\\"INDEX\\"/$1/")`,
    `exec node ${packagePath}/dist/lab/worker-process.js "$order"`,
  ];
  const name = `sweep-${sweep.name}`.toLowerCase().replace(/[^a-z0-9-]/g, '-').slice(0, 52).replace(/-+$/, '');
  return `# Trials ${compactIndices(indices)} of sweep ${sweep.name}: ${oneLine(sweep.question)}
apiVersion: batch/v1
kind: Job
metadata:
  name: ${name}
spec:
  completionMode: Indexed
  completions: ${indices.length}
  parallelism: ${Math.min(workers, indices.length)}
  backoffLimitPerIndex: ${attempts}
  maxFailedIndexes: ${indices.length}
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: trial
          image: ${JSON.stringify(image)}
          command:
            - /bin/sh
            - -c
            - |
${script.map((line) => `              ${line}`).join('\n')}
          resources:
            requests:
              cpu: ${JSON.stringify(cpu)}
              memory: ${JSON.stringify(memory)}
          volumeMounts:
            - name: sweep
              mountPath: ${JSON.stringify(mountPath)}
      volumes:
        - name: sweep
          persistentVolumeClaim:
            claimName: ${JSON.stringify(volumeClaim)}
`;
}

const program = () => [process.execPath, ...process.execArgv, siblingModule(import.meta.url, './worker-process')];

const order = ({ file, out, shared, attempts = 1, ttl = 60_000 }: RenderOptions, worker: string, index: number): WorkerOrder => ({ file, out, ...(shared ? { shared } : {}), worker, attempts, stopOnFailure: false, ttl, only: [index] });

const quote = (text: string) => (/^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const oneLine = (text: string) => text.replace(/\s+/g, ' ');
