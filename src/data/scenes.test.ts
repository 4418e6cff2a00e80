import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { siblingModule } from '../core/process.js';
import { caption, pairAt, references, relation } from './captions.js';
import { grounds, inks } from './colors.js';
import { combinations, combinationSplit } from './combinations.js';
import { concept } from './emoji.js';
import { loadImage } from './images.js';
import { parseSceneRef, renderScene, sceneAt, sceneKinds, sceneRef, drawScene, type Scene } from './scenes.js';
import { random } from '../core/random.js';

const scenesOf = (count: number, options: Parameters<typeof sceneAt>[2]) => Array.from({ length: count }, (_, i) => sceneAt(7, i, options));

describe('scenes', () => {
  test('are the same in another process, to the pixel', () => {
    const digest = () => {
      const hash = createHash('sha256');
      for (let i = 0; i < 60; i++) hash.update(loadImage(pairAt(3, i, { split: 'train' }).image)).update(pairAt(3, i, { split: 'train' }).caption);
      return hash.digest('hex');
    };
    const script = [
      `import { createHash } from 'node:crypto';`,
      `import { pairAt } from ${JSON.stringify(siblingModule(import.meta.url, './captions'))};`,
      `import { loadImage } from ${JSON.stringify(siblingModule(import.meta.url, './images'))};`,
      `const hash = createHash('sha256');`,
      `for (let i = 0; i < 60; i++) hash.update(loadImage(pairAt(3, i, { split: 'train' }).image)).update(pairAt(3, i, { split: 'train' }).caption);`,
      `console.log(hash.digest('hex'));`,
    ].join('\n');
    const cwd = fileURLToPath(new URL('../..', import.meta.url));
    const argv = process.execArgv.filter((argument) => !argument.startsWith('--test'));
    assert.equal(execFileSync(process.execPath, [...argv, '--input-type=module', '-e', script], { cwd, encoding: 'utf8' }).trim(), digest());
  });

  test('come back from their names', () => {
    for (const kind of sceneKinds) {
      for (let i = 0; i < 20; i++) {
        const scene = drawScene(random(0, kind, i), kind, { split: 'train' });
        assert.deepEqual(parseSceneRef(sceneRef(scene)), scene);
      }
    }
    const blurred: Scene = { ...sceneAt(0, 0, { split: 'train' }), effect: 'blurred' };
    assert.deepEqual(parseSceneRef(sceneRef(blurred)), blurred);
  });

  test('say which part of a wrong name is wrong', () => {
    assert.throws(() => loadImage('scene:heap:white/twemoji/dog@1,1,20'), /expected a kind .* found "heap"/);
    assert.throws(() => loadImage('scene:single:mauve/twemoji/dog@1,1,20'), /expected a ground .* found "mauve"/);
    assert.throws(() => loadImage('scene:single:white/twemoji/gryphon@1,1,20'), /found "twemoji\/gryphon"/);
    assert.throws(() => loadImage('scene:single:white/twemoji/dog@1,1'), /found "twemoji\/dog@1,1"/);
    assert.throws(() => loadImage('photo.png'), /expected emoji:SET\/ICON/);
  });

  test('show single objects in six of ten', () => {
    const share = scenesOf(2000, { split: 'train' }).filter(({ kind }) => kind === 'single').length / 2000;
    assert.ok(share > 0.56 && share < 0.64, String(share));
  });

  test('of training combine only what training may combine', () => {
    for (const { kind, objects } of scenesOf(1500, { split: 'train' })) {
      for (const combination of combinations(kind, objects)) assert.equal(combinationSplit(combination), 'train', combination);
      for (const { concept: name, style } of objects) {
        assert.equal(concept(name).split, 'train');
        assert.notEqual(concept(name).heldOutStyle, style);
      }
    }
  });

  for (const split of ['val', 'test'] as const) {
    test(`of ${split} are new in exactly what their axis says`, () => {
      for (const { objects } of scenesOf(300, { split, axis: 'cell' })) {
        for (const object of objects) {
          assert.equal(concept(object.concept).split, 'train');
          assert.equal(concept(object.concept).heldOutStyle, object.style);
          assert.equal(concept(object.concept).heldOutSplit, split);
        }
      }
      for (const { kind, objects } of scenesOf(300, { split, axis: 'composition' })) {
        const splits = combinations(kind, objects).map(combinationSplit);
        assert.ok(splits.includes(split) && splits.every((each) => each === split || each === 'train'), splits.join());
        for (const object of objects) assert.equal(concept(object.concept).split, 'train');
      }
      for (const { objects } of scenesOf(300, { split, axis: 'concept' })) for (const object of objects) assert.equal(concept(object.concept).split, split);
    });
  }

  test('combine the same whichever of two objects is named first', () => {
    for (const { kind, objects } of scenesOf(200, { split: 'train', kinds: { pair: 1, colors: 1 } })) {
      assert.deepEqual(combinations(kind, [...objects].reverse()).sort(), combinations(kind, objects).sort());
      const [a, b] = objects;
      const where = relation(a, b);
      const [first, second] = where === 'left of' || where === 'above' ? [a, b] : [b, a];
      const line = where === 'left of' || where === 'right of' ? 'row' : 'column';
      assert.ok(combinations(kind, objects).includes(`${line}/${first.concept}/${second.concept}`));
    }
  });

  test('are drawn in the colours that they name', () => {
    for (const scene of scenesOf(400, { split: 'train', kinds: { single: 1, quadrant: 1 } })) {
      const pixels = renderScene(scene);
      const isColor = (at: number, [r, g, b]: readonly number[]) => pixels[at] === r && pixels[at + 1] === g && pixels[at + 2] === b;
      const [{ x, y, size, ink }] = scene.objects;
      for (let v = 0; v < 32; v++) for (let u = 0; u < 32; u++) {
        const inside = u >= x && u < x + size && v >= y && v < y + size;
        if (!inside) assert.ok(isColor((v * 32 + u) * 3, grounds[scene.ground]));
      }
      if (!ink) continue;
      const distances = Array.from({ length: 1024 }, (_, i) => Math.hypot(...inks[ink].map((value, c) => value - pixels[i * 3 + c])));
      assert.ok(Math.min(...distances) < 40, `${sceneRef(scene)}: no pixel is ${ink}`);
    }
  });

  test('at 64 pixels, halved, look like those at 32', () => {
    for (const scene of scenesOf(40, { split: 'train' })) {
      const [small, large] = [renderScene(scene), renderScene(scene, 64)];
      let error = 0;
      for (let v = 0; v < 32; v++) for (let u = 0; u < 32; u++) for (let c = 0; c < 3; c++) {
        const at = (dv: number, du: number) => large[((2 * v + dv) * 64 + 2 * u + du) * 3 + c];
        error += Math.abs((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4 - small[(v * 32 + u) * 3 + c]);
      }
      assert.ok(error / 3072 < 8, `${sceneRef(scene)}: mean difference ${error / 3072}`);
    }
  });
});

describe('captions', () => {
  test('say what the picture holds: kind by kind', () => {
    const say = (objects: string, kind: string) => caption(parseSceneRef(`scene:${kind}:orange/${objects}`), 'full');
    assert.equal(say('twemoji/owl@1,1,26', 'single'), 'a simple picture of an owl on an orange background');
    assert.equal(say('noto/grapes@1,1,26', 'single'), 'a glossy picture of grapes on an orange background');
    assert.equal(say('twemoji/mouse@1,1,10/twemoji/mouse@11,1,10/twemoji/mouse@1,11,10', 'count'), 'a simple picture of three mice on an orange background');
    assert.equal(say('twemoji/owl@1,8,15/noto/dog@16,8,15', 'pair'), 'an owl left of a dog on an orange background');
    assert.equal(say('fluent-emoji-high-contrast/key#red@8,16,15/fluent-emoji-high-contrast/owl#blue@8,1,15', 'colors'), 'a red outlined key below a blue outlined owl on an orange background');
    assert.equal(say('noto/grapes@11,1,20/noto/owl@1,1,9', 'sizes'), 'a glossy picture of big grapes and a small owl on an orange background');
    assert.equal(say('noto/owl@16,1,14', 'quadrant'), 'a glossy picture of an owl in the top right on an orange background');
  });

  test('state the relation that the boxes have', () => {
    for (const { objects } of scenesOf(300, { split: 'train', kinds: { pair: 1, colors: 1 } })) {
      const [a, b] = objects;
      const isTrue = { 'left of': a.x + a.size <= b.x, 'right of': b.x + b.size <= a.x, above: a.y + a.size <= b.y, below: b.y + b.size <= a.y };
      assert.ok(isTrue[relation(a, b)]);
    }
  });

  test('differ in form and agree in content', () => {
    for (const scene of scenesOf(100, { split: 'train' })) {
      const all = references(scene);
      assert.ok(all.length >= 2);
      for (const each of all) assert.ok(each.includes(all[0]));
    }
  });
});
