import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Command } from './cli/command.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const inside = (folder: string) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`);

/** What people read. Reproduced tables and the API reference are made, and hold no commands of their own. */
const documents = [
  'README.md', 'environment.md', 'data/foundation/README.md',
  ...inside('docs').filter((path) => path.endsWith('.md')),
  ...inside('experiments').map((path) => `${path}/README.md`).filter((path) => existsSync(join(root, path)) && !path.includes('reproduced')),
];

/** Commands of a document: lines of code blocks and spans of code that begin with npm, npx or dreamllm. */
function commandsIn(text: string): string[] {
  const lines = [...text.matchAll(/^ {4}(.+)$/gm), ...[...text.matchAll(/^```sh\n([^]*?)^```/gm)].flatMap(([, block]) => [...block.matchAll(/^(.+)$/gm)])].map(([, line]) => line);
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, span]) => span);
  return [...lines, ...spans]
    .flatMap((each) => each.replace(/ {2,}#.*$/, '').split(' && '))
    // Of alternatives such as run|check the first stands for all.
    .map((each) => each.trim().replace(/^([A-Z_]+=\S+ )+/, '').replace(/^npx (?=dreamllm)/, '').replace(/(?<= \w+)(\|\w+)+/, ''))
    .filter((each) => /^(npm|npx|dreamllm) [a-z]/.test(each));
}

/** The table of environment.md: command, and what it says of who runs it. */
const ranBy = new Map([...read('environment.md').split('## What runs each command')[1].matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)].map(([, command, by]) => [command, by]));

const isBegunBy = (command: string, row: string) => command === row || command.startsWith(`${row} `);

describe('commands in the documents', () => {
  test('are each in the table of who runs them', () => {
    const unknown = documents.flatMap((path) => commandsIn(read(path)).filter((command) => !/^npm (ci|install [^-\s])/.test(command) && ![...ranBy.keys()].some((row) => isBegunBy(command, row))).map((command) => `${path}: ${command}`));
    assert.deepEqual(unknown, []);
  });

  test('have options that exist', async () => {
    for (const path of documents) {
      for (const command of commandsIn(read(path))) {
        const [program, name, ...words] = command.replace(/^npm run reproduce --/, 'dreamllm reproduce').split(/\s+/);
        if (program !== 'dreamllm' || name === 'help') continue;
        const file = new URL(`./cli/${name}.ts`, import.meta.url);
        assert.ok(existsSync(file), `${path}: ${command}: there is no command "${name}"`);
        const { default: known } = (await import(file.href)) as { default: Command };
        for (const word of words.map((each) => each.replace(/[[\]…]/g, '')).filter((each) => /^--?[a-z]/.test(each))) {
          const isKnown = word === '--help' || Object.entries(known.options).some(([option, { short }]) => word === `--${option}` || word === `-${short}`);
          assert.ok(isKnown, `${path}: ${command}: ${name} has no option ${word}`);
        }
      }
    }
  });

  test('run scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const builtIn = new Set(['install', 'ci', 'test', 'start', 'exec']);
    for (const path of documents) {
      for (const command of commandsIn(read(path))) {
        const script = /^npm run ([\w:-]+)/.exec(command)?.[1];
        if (script) assert.ok(script in scripts, `${path}: ${command}`);
        else if (command.startsWith('npm ')) assert.ok(builtIn.has(command.split(/\s+/)[1]), `${path}: ${command}`);
      }
    }
  });

  test('that a test is said to run are known to a test of that name', () => {
    for (const [command, by] of ranBy) {
      const tests = [...by.matchAll(/`(src\/[^`]+\.test\.ts)`/g)].map(([, file]) => file);
      assert.ok(tests.length > 0 || /not run by CI: |`\.ci\/run`|`npm (test|install)`/.test(by), `${command}: ${by}`);
      for (const file of tests) assert.ok(existsSync(join(root, file)), `${command}: ${file}`);
      const isHere = tests.includes('src/documents.test.ts');
      assert.equal(cheap.some((each) => isBegunBy(each.command, command)), isHere, `${command}: ${isHere ? 'not run here' : 'run here, and the table does not say so'}`);
    }
  });
});

const temporary = mkdtempSync(join(tmpdir(), 'dreamllm-documents-'));
after(() => rmSync(temporary, { recursive: true, force: true }));

/** Commands that cost a second or two, and what they must say. */
const cheap: { command: string; says: RegExp }[] = [
  { command: 'dreamllm help', says: /dreamllm COMMAND …[^]*publish[^]*sweep/ },
  { command: 'dreamllm data inspect document --index 3', says: /\d+ positions, \d+ targets/ },
  { command: 'dreamllm inspect data/foundation/vae.safetensors', says: /vae/i },
  { command: 'dreamllm notebook check notebooks/paper-tables.ts', says: /paper-tables\.ts: \d+ cells, no type errors/ },
  { command: 'dreamllm notebook pair notebooks/tour.ts --out OUT/tour.ipynb', says: /tour\.ipynb written from/ },
  { command: 'dreamllm parity data/fixtures/schedulers', says: /schedulers/ },
  { command: 'dreamllm plot latency --out OUT/latency.svg', says: /latency\.svg/ },
  { command: 'dreamllm sweep experiments/guidance-scale/sweep.ts --out OUT/guidance --dry-run', says: /guidanceScale/ },
  { command: 'dreamllm table table9a', says: /dream queries[^]*9\.56/i },
  { command: 'dreamllm train --table', says: /alignment-creation/ },
  { command: 'npm run reproduce -- --from-scratch --dry-run', says: /dreamllm foundation train[^]*dreamllm start[^]*experiments\/synergy\/sweep\.ts/ },
  { command: 'dreamllm reproduce --from-scratch --dry-run', says: /\d+ steps, about/ },
];

describe('a command that costs little', { concurrency: 2 }, () => {
  for (const { command, says } of cheap) {
    if (command.startsWith('npm run reproduce')) continue; // the same as `dreamllm reproduce`, by way of dist/
    test(`${command} does what it says`, () => {
      const [, ...argv] = command.replaceAll('OUT', temporary).split(' ');
      const said = execFileSync(process.execPath, ['--import', 'tsx', join(root, 'src/cli/main.ts'), ...argv], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: '' } });
      assert.match(said, says);
    });
  }
});
