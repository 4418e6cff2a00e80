import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { packageRoot } from '../packages.js';
import { typescriptVersion } from '../language/versions.js';

/** What made the outputs of a notebook. Running it again in the same place gives the same record: there are no times in it. */
export interface Provenance {
  /** Commit, with `+` and a hash of the changes where files differ from it; absent outside of a repository. */
  code?: string;
  seed?: unknown;
  parameters: Record<string, unknown>;
  versions: Record<string, string>;
  hardware: { cpu: string; cores: number; memoryGiB: number; platform: string };
}

export function provenance(cwd: string, parameters: Record<string, unknown>): Provenance {
  const code = codeVersion(cwd);
  return {
    ...(code ? { code } : {}),
    ...('seed' in parameters ? { seed: parameters.seed } : {}),
    parameters,
    versions: {
      dreamllm: versionIn(join(packageRoot, 'package.json')),
      node: process.versions.node,
      typescript: typescriptVersion(),
      tfjs: versionIn(createRequire(import.meta.url).resolve('@tensorflow/tfjs/package.json')),
    },
    hardware: { cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30), platform: `${platform()} ${arch()}` },
  };
}

const versionIn = (file: string) => (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;

function codeVersion(cwd: string): string | undefined {
  const git = (...args: string[]) => execFileSync('git', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 28 });
  try {
    const commit = git('rev-parse', 'HEAD').trim();
    // Notebooks change by being run, so they are no part of the code.
    const changes = git('diff', 'HEAD', '--', ':/', ':(top,exclude)*.ipynb');
    return changes === '' ? commit : `${commit}+${createHash('sha256').update(changes).digest('hex').slice(0, 12)}`;
  } catch {
    return undefined; // no repository, or no git
  }
}
