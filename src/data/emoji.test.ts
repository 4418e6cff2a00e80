import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { siblingModule } from '../core/process.js';
import { cells, concepts, paintedStyles, styles } from './emoji.js';
import { nearDuplicates } from './near-duplicates.js';
import { findNearDuplicates } from './render-distance.js';
import { renderScene } from './scenes.js';
import { artwork } from './emoji.js';
import { iconSet, sprite } from './sprites.js';
import type { Axis, Split } from './types.js';

describe('the emoji world', () => {
  test('has every emoji but flags and components, with unique names of plain characters', () => {
    assert.equal(concepts().length, 1644);
    assert.equal(new Set(concepts().map(({ name }) => name)).size, 1644);
    for (const { name, group } of concepts()) {
      assert.match(name, /^[a-z0-9#*ñ][a-z0-9 #*'.ñãé-]*$/u);
      assert.notEqual(group, 'flags');
    }
  });

  test('has the number of cells in each style that its sets offer', () => {
    const count = Object.fromEntries(styles.map((style) => [style, concepts().filter(({ icons }) => icons[style]).length]));
    assert.deepEqual(count, { simple: 1644, glossy: 1643, flat: 1586, classic: 1059, blob: 1199, outline: 1586 });
  });

  test('keeps a component in one split', () => {
    const splits = new Map<string, Split>();
    for (const { component, split } of concepts()) assert.equal(splits.get(component) ?? split, (splits.set(component, split), split));
    const shares = (['train', 'val', 'test'] as const).map((split) => [...splits.values()].filter((each) => each === split).length / splits.size);
    assert.ok(shares[0] > 0.77 && shares[0] < 0.83 && shares[1] > 0.07 && shares[2] > 0.07, shares.join(' '));
  });

  test('lists all near duplicates that its pictures have', () => {
    assert.deepEqual(findNearDuplicates(), nearDuplicates.map((pair) => [...pair]));
  });

  test('has no cell in two of training, val and test', () => {
    const key = ({ concept, style }: { concept: { name: string }; style: string }) => `${style}/${concept.name}`;
    const trained = new Set(cells('train').map(key));
    const held = (['cell', 'concept'] as Axis[]).flatMap((axis) => (['val', 'test'] as Split[]).flatMap((split) => cells(split, axis).map(key)));
    assert.equal(new Set(held).size, held.length);
    for (const cell of held) assert.ok(!trained.has(cell), cell);
  });

  test('shows no picture of training in val or test, by the hash of its render', () => {
    const picture = ({ concept, style }: ReturnType<typeof cells>[number]) =>
      Buffer.from(renderScene({ kind: 'single', ground: 'grey', objects: [{ concept: concept.name, style, x: 0, y: 0, size: 16 }] }, 16)).toString('base64');
    const trained = new Map(cells('train').map((cell) => [picture(cell), cell]));
    const shared = (['val', 'test'] as const)
      .flatMap((split) => [...cells(split, 'cell'), ...cells(split, 'concept')])
      .flatMap((cell) => {
        const twin = trained.get(picture(cell));
        return twin ? [`${cell.style} ${cell.concept.name} = ${twin.concept.name}`] : [];
      });
    assert.deepEqual(shared, []);
  });

  test('draws every icon without killing the process', () => {
    const script = [
      `import { artwork, concepts, styles } from ${JSON.stringify(siblingModule(import.meta.url, './emoji'))};`,
      `import { sprite } from ${JSON.stringify(siblingModule(import.meta.url, './sprites'))};`,
      'let blank = 0;',
      'for (const { icons } of concepts()) for (const style of styles) if (icons[style] && sprite(artwork[style], icons[style], 16).coverage < 0.01) blank++;',
      'console.log("drawn", blank);',
    ].join('\n');
    const output = execFileSync(process.execPath, [...process.execArgv.filter((argument) => !argument.startsWith('--test')), '--input-type=module', '-e', script], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      encoding: 'utf8',
    });
    assert.equal(output.trim(), 'drawn 0');
  });

  test('refuses icons that the rasteriser cannot draw, naming them', () => {
    assert.equal(iconSet('noto').icons.package, undefined);
    assert.throws(() => sprite('noto', 'package', 16), /noto has no icon "package"/);
  });

  test('gives premultiplied pixels: no channel exceeds its alpha', () => {
    for (const style of paintedStyles) {
      const { icons } = concepts().find(({ name, icons }) => name === 'rocket' && icons[style])!;
      const { rgba } = sprite(artwork[style], icons[style]!, 32);
      for (let i = 0; i < rgba.length; i += 4) assert.ok(Math.max(rgba[i], rgba[i + 1], rgba[i + 2]) <= rgba[i + 3] + 1);
    }
  });
});
