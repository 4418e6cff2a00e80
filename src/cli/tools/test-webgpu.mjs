// `npm run test:webgpu`: the models on the backend `webgpu`, against plain JavaScript. Where no GPU is, SwiftShader computes, a Vulkan in software that
// Debian's Chromium brings; its files are unpacked below build/, and nothing is installed but libvulkan1 (needs root) and two npm packages in
// node_modules, outside of package.json.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
const run = (command, args, options = {}) => execFileSync(command, args, { stdio: 'inherit', cwd: root, ...options });

const packages = { webgpu: '0.6.2', '@tensorflow/tfjs-backend-webgpu': '4.22.0' };
const missing = Object.entries(packages).filter(([name]) => !existsSync(join(root, 'node_modules', name)));
if (missing.length > 0) run('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', ...missing.map(([name, version]) => `${name}@${version}`)]);

const folder = join(root, 'build/swiftshader');
const library = join(folder, 'usr/lib/chromium/libvk_swiftshader.so');
if (!existsSync(library)) {
  mkdirSync(folder, { recursive: true });
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'libvulkan1']);
  for (const name of ['chromium-common', 'chromium']) {
    run('apt-get', ['download', '-qq', name], { cwd: folder });
    run('dpkg', ['-x', readdirSync(folder).find((file) => file.startsWith(`${name}_`)), '.'], { cwd: folder });
    if (existsSync(library)) break; // in which of the two it lies has changed over time
  }
  if (!existsSync(library)) throw new Error(`Neither chromium-common nor chromium brought ${library}. Look for libvk_swiftshader.so in ${folder}.`);
}
const driver = join(folder, 'swiftshader.json');
writeFileSync(driver, JSON.stringify({ file_format_version: '1.0.0', ICD: { library_path: library, api_version: '1.1.0' } }));

// A driver that was named by the caller is a real one to be tested.
const environment = { ...process.env, ...(process.env.VK_DRIVER_FILES ? {} : { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver }) };
run(process.execPath, ['--import', 'tsx', '--test', '--test-reporter=spec', join(here, 'webgpu.ts')], { env: environment });
