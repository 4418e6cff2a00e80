import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { packageRoot } from '../core/process.js';
import { sha256 } from './files.js';

/** What must be known to repeat a run beside its settings. */
export interface Provenance {
  code: { version: string; commit: string | null; /** sha256 of the uncommitted changes below src/, null when there are none. */ dirty: string | null };
  versions: { node: string; tfjs: string };
  hardware: { cpu: string; cores: number; memoryGiB: number; system: string };
  backend: string;
}

export function provenance(): Provenance {
  const [cpu] = cpus();
  return {
    code: codeVersion(),
    versions: { node: process.version, tfjs: tf.version['tfjs-core'] },
    hardware: {
      cpu: cpu?.model ?? 'unknown',
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${platform()} ${release()} ${arch()}`,
    },
    backend: tf.getBackend(),
  };
}

/** Version of the package and, in a git checkout, the commit and a hash of what differs from it. */
export function codeVersion(): Provenance['code'] {
  const root = packageRoot();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  if (!existsSync(join(root, '.git'))) return { version, commit: null, dirty: null };
  const git = (...args: string[]) => execFileSync('git', ['-C', root, ...args], { encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const untracked = git('ls-files', '--others', '--exclude-standard', '--', 'src').split('\n').filter(Boolean);
    const changes = git('diff', 'HEAD', '--', 'src') + untracked.map((file) => file + readFileSync(join(root, file), 'utf8')).join('');
    return { version, commit: git('rev-parse', 'HEAD').trim(), dirty: changes ? sha256(changes) : null };
  } catch {
    return { version, commit: null, dirty: null }; // no git on this machine
  }
}
