import { execFileSync, spawnSync } from 'node:child_process';

/** Installs those of these Debian packages that are missing. It needs root or sudo for that alone. */
export function installPackages(packages: readonly string[]): void {
  const missing = packages.filter((name) => !/^install ok installed/.test(spawnSync('dpkg-query', ['-W', '-f=${Status}', name], { encoding: 'utf8' }).stdout));
  if (missing.length === 0) return;
  const [command, ...first] = process.getuid?.() === 0 ? ['apt-get'] : ['sudo', 'apt-get'];
  const apt = (...args: string[]) => execFileSync(command, [...first, ...args], { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  apt('update', '-qq');
  apt('install', '-y', '-qq', '--no-install-recommends', ...missing);
}
