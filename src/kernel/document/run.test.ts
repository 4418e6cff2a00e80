import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { siblingModule } from '../start-worker.js';
import { pause, temporaryFolder } from '../testing.js';
import { checkNotebook } from './check.js';
import { emptyNotebook, isCode, readNotebook, writeNotebook, type CodeCell, type Notebook } from './notebook.js';
import { fromPercent } from './percent.js';
import { runNotebook, type RunOptions } from './run.js';
import { faultsOf } from './schema.js';

const folder = temporaryFolder();
let made = 0;

/** Writes a notebook of the given script and returns its path. */
function notebookOf(script: string): string {
  const file = join(folder, `n${++made}.ipynb`);
  writeNotebook(file, fromPercent(script));
  return file;
}

const run = async (file: string, options: RunOptions = {}) => {
  const failures = await runNotebook(file, options);
  return { failures, notebook: readNotebook(options.out ?? file) };
};
const texts = (notebook: Notebook) => notebook.cells.filter(isCode).map(({ outputs }) => outputs.map((output) => ('text' in output ? [output.text].flat().join('') : 'data' in output ? String(output.data['text/plain']) : output.ename)).join('|'));
const cellAt = (notebook: Notebook, i: number) => notebook.cells[i] as CodeCell;

describe('a headless run', () => {
  test('executes with parameters, keeps the original, and gives a valid notebook each time the same', async () => {
    const file = notebookOf('// %% tags=["parameters"]\nconst steps = 1;\nlet seed = 0;\n\n// %%\nconsole.log(steps); console.error("warn"); seed\n\n// %%\nawait display(html`<i>x</i>`);\ntf.tensor1d([1, 2])\n');
    const original = readFileSync(file, 'utf8');
    const [first, second] = [join(folder, 'first.ipynb'), join(folder, 'second.ipynb')];
    const { failures, notebook } = await run(file, { out: first, parameters: { steps: 3, seed: 9 } });
    await run(file, { out: second, parameters: { steps: 3, seed: 9 } });
    assert.deepEqual(failures, []);
    assert.equal(readFileSync(file, 'utf8'), original);
    assert.deepEqual(faultsOf(notebook), []);
    assert.equal(readFileSync(first, 'utf8'), readFileSync(second, 'utf8'));
    assert.deepEqual(texts(notebook).slice(0, 3), ['', '', '3\n|warn\n|9']);
    assert.deepEqual(notebook.cells.filter(isCode).map(({ execution_count }) => execution_count), [1, 2, 3, 4]);
    const { seed, parameters, versions, hardware } = notebook.metadata.dreamllm as Record<string, Record<string, unknown>>;
    assert.deepEqual([seed, parameters], [9, { steps: 3, seed: 9 }]);
    assert.equal(versions.node, process.versions.node);
    assert.ok(hardware.cores);
  });

  test('stops at a failed cell, saved so far, and resumes there with what it needs', async () => {
    const file = notebookOf('// %%\nimport fs from "node:fs";\nconst note = (line: string) => fs.appendFileSync("log", line + " ");\n\n// %%\nnote("expensive"); "kept"\n\n// %%\nnote("needed"); const value = 20;\n\n// %%\nnote("failing"); if (!fs.existsSync("repaired")) throw new Error("not yet");\nvalue + 1\n\n// %%\n"last"\n');
    const first = await run(file);
    assert.deepEqual(first.failures, [{ cell: 4, ename: 'Error', evalue: 'not yet' }]);
    assert.deepEqual(texts(first.notebook), ['', 'kept', '', 'Error', '']);
    writeFileSync(join(folder, 'repaired'), '');
    const lines: string[] = [];
    const { failures, notebook } = await run(file, { resume: true, onProgress: (line) => lines.push(line) });
    assert.deepEqual(failures, []);
    assert.deepEqual(texts(notebook), ['', 'kept', '', '21', 'last']);
    assert.equal(readFileSync(join(folder, 'log'), 'utf8'), 'expensive needed failing needed failing ');
    assert.ok(lines.includes('cell 2/5: kept'));
  });

  test('goes on after failures where it may: with --keep-going, or in cells that expect them', async () => {
    const file = notebookOf('// %% tags=["raises-exception"]\nthrow new Error("expected")\n\n// %%\nthrow new TypeError("real")\n\n// %%\n"after"\n');
    const { failures, notebook } = await run(file, { keepGoing: true });
    assert.deepEqual(failures, [{ cell: 2, ename: 'TypeError', evalue: 'real' }]);
    assert.deepEqual(texts(notebook), ['Error', 'TypeError', 'after']);
  });

  test('interrupts a cell that takes too long, and names one whose kernel died', async () => {
    const slow = await run(notebookOf('// %%\nconsole.log("begun");\nwhile (true) await new Promise((done) => setTimeout(done, 10));\n'), { timeout: 4 });
    assert.equal(slow.failures[0].ename, 'CellTimeout');
    assert.match(slow.failures[0].evalue, /more than 4 s/);
    const dead = await run(notebookOf('// %%\n1\n\n// %%\nconsole.log("before"); process.exit(3)\n\n// %%\n2\n'), { keepGoing: true });
    assert.deepEqual(dead.failures, [{ cell: 2, ename: 'KernelDied', evalue: 'The kernel died (exit status 3).' }]);
    assert.deepEqual(texts(dead.notebook), ['1', 'before\n|KernelDied', '']);
    assert.deepEqual(faultsOf(dead.notebook), []);
    assert.equal(cellAt(dead.notebook, 2).execution_count, null);
  });

  test('leaves what has run when it is killed, no kernel behind, and resumes', async () => {
    const file = notebookOf('// %%\nimport fs from "node:fs"; process.pid\n\n// %%\nfs.writeFileSync("begun", ""); while (!fs.existsSync("go on")) await new Promise((done) => setTimeout(done, 20));\n"went on"\n');
    const cli = siblingModule(import.meta.url, '../../cli/main');
    const runner = spawn(process.execPath, [...process.execArgv, cli, 'notebook', 'run', file], { stdio: 'ignore' });
    while (!existsSync(join(folder, 'begun'))) await pause(50);
    runner.kill('SIGKILL');
    const pid = Number(texts(readNotebook(file))[0]);
    const isAlive = () => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    for (let waited = 0; isAlive() && waited < 20_000; waited += 100) await pause(100);
    assert.equal(isAlive(), false);

    writeFileSync(join(folder, 'go on'), '');
    const { failures, notebook } = await run(file, { resume: true });
    assert.deepEqual(failures, []);
    assert.equal(texts(notebook)[1], 'went on');
  });

  test('can be stopped, and says where', async () => {
    const controller = new AbortController();
    const file = notebookOf('// %%\nprocess.stdout.write("in the loop"); for (;;) await new Promise((done) => setTimeout(done, 10));\n\n// %%\n2\n');
    const running = run(file, { signal: controller.signal, keepGoing: true });
    setTimeout(() => controller.abort(), 6000);
    const { failures } = await running;
    assert.deepEqual(failures, [{ cell: 1, ename: 'Interrupted', evalue: 'the run was interrupted' }]);
  });

  test('refuses notebooks of other kernels before anything is run', async () => {
    const file = notebookOf('// %%\n1\n');
    const notebook = readNotebook(file);
    writeNotebook(file, { ...notebook, metadata: { kernelspec: { name: 'python3', display_name: 'Python 3' } } });
    await assert.rejects(runNotebook(file), /wants the kernel "python3"; this command runs "dreamllm"/);
    await assert.rejects(runNotebook(notebookOf('// %%\n1\n'), { parameters: { a: 1 } }), /takes no parameters/);
    assert.equal(existsSync(join(folder, 'absent')), false);
  });
});

describe('a check', () => {
  test('finds type errors of all cells without running any', () => {
    const script = join(folder, 'script.ts');
    writeFileSync(script, '// %%\nconst a: number = "one";\n\n// %% [markdown]\n// text\n\n// %%\nconst b = a;\nconst c = "two";\nc.nothing;\n\n// %%\nexport const fine = b + c;\n');
    const { problems } = checkNotebook(script);
    assert.deepEqual(problems.map(({ cell, problem }) => [cell, problem.line, problem.column, problem.code]), [[1, 1, 7, 2322], [3, 3, 3, 2339]]);
  });

  test('tells stale cells', () => {
    const file = join(folder, 'stale.ipynb');
    const cell = (id: string, count: number): CodeCell => ({ cell_type: 'code', id, metadata: {}, source: '1', outputs: [], execution_count: count });
    writeNotebook(file, emptyNotebook([cell('a', 2), cell('b', 1)]));
    assert.deepEqual(checkNotebook(file), { problems: [], stale: [{ cell: 2, reason: 'it ran before a cell above it' }] });
  });
});
