import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random } from '../core/random.js';
import { abilities, abilityNames, abilityQuestion } from './abilities.js';
import { captioning, mmbench, pope, popeSplits, rotations, rotationStep, vqa } from './benchmarks.js';
import { relation } from './captions.js';
import { choiceOf } from './choices.js';
import { combinations, combinationSplit } from './combinations.js';
import { concept, concepts } from './emoji.js';
import { sceneOf } from './images.js';
import { presenceQuestion, shortQuestions } from './questions.js';
import { sceneAt } from './scenes.js';

describe('short questions', () => {
  test('are answered by the ground truth of their scene', () => {
    for (let i = 0; i < 400; i++) {
      const scene = sceneAt(0, i, { split: 'train', kinds: { single: 1, count: 1, pair: 1, colors: 1, sizes: 1, quadrant: 1 } });
      const { objects } = scene;
      for (const { category, question, answer } of shortQuestions(scene, random(0, i))) {
        if (category === 'background') assert.equal(answer, scene.ground);
        if (category === 'count') assert.equal(['zero', 'one', 'two', 'three', 'four', 'five'].indexOf(answer), objects.length);
        if (category === 'color') assert.ok(objects.some(({ concept: name, ink }) => ink === answer && question.includes(name)));
        if (category === 'relation' && question.startsWith('what')) {
          const asked = objects.find((object) => object.concept === answer)!;
          const other = objects.find((object) => object !== asked)!;
          assert.ok(question.includes(relation(asked, other)) && question.includes(other.concept));
        }
        if (category === 'presence') {
          const isShown = objects.some(({ concept: name }) => question === presenceQuestion(name));
          assert.equal(answer, isShown ? 'yes' : 'no', question);
        }
        if (category === 'place') {
          const [{ x, y }] = objects;
          assert.equal(answer, `${y < 9 ? 'top' : 'bottom'} ${x < 9 ? 'left' : 'right'}`);
        }
      }
    }
  });

  test('ask for a shown and for an absent object equally often', () => {
    const answers = vqa(1, { split: 'train', count: 3000 }).filter(({ category }) => category === 'presence').map(({ answer }) => answer);
    const share = answers.filter((answer) => answer === 'yes').length / answers.length;
    assert.ok(answers.length > 250 && share > 0.42 && share < 0.58, `${answers.length} ${share}`);
  });

  test('become choices with one right option and no option twice', () => {
    let count = 0;
    for (let i = 0; i < 300; i++) {
      const stream = random(2, i);
      for (const asked of shortQuestions(sceneAt(2, i, { split: 'train' }), stream)) {
        const choice = choiceOf(asked, stream);
        if (!choice) continue;
        count++;
        const options = [choice.right, ...choice.wrong];
        assert.equal(choice.right, asked.answer);
        assert.equal(new Set(options).size, options.length);
        assert.ok(options.length >= 2 && options.length <= 4);
      }
    }
    assert.ok(count > 500);
  });
});

describe('the MMBench-shaped benchmark', () => {
  const questions = mmbench(0, { split: 'test', perAbility: 24 });

  test('covers the 20 abilities equally, each with its official second level', () => {
    assert.equal(abilityNames.length, 20);
    for (const ability of abilityNames) {
      const mine = questions.filter(({ category }) => category === ability);
      assert.equal(mine.length, 24);
      for (const question of mine) assert.equal(question['l2-category'], abilities[ability][0]);
    }
    assert.deepEqual(new Set(Object.values(abilities).map(([l2]) => l2)), new Set(['coarse_perception', 'finegrained_perception (instance-level)', 'finegrained_perception (cross-instance)', 'attribute_reasoning', 'relation_reasoning', 'logic_reasoning']));
  });

  test('spreads the right letters evenly among questions with the same number of options', () => {
    for (const ability of abilityNames) {
      for (const numOptions of [2, 3, 4]) {
        const answers = questions.filter(({ category, options }) => category === ability && options!.length === numOptions).map(({ answer }) => answer);
        const counts = [...'ABCD'].slice(0, numOptions).map((letter) => answers.filter((answer) => answer === letter).length);
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${ability}: ${counts}`);
        assert.ok(answers.every((answer) => 'ABCD'.indexOf(answer) < numOptions));
      }
    }
  });

  test('has two to four different options a question', () => {
    for (const { options = [] } of questions) {
      assert.ok(options.length >= 2 && options.length <= 4);
      assert.equal(new Set(options).size, options.length);
    }
  });

  test('shows only held-out cells or combinations where it says so', () => {
    for (const { image, source, category } of questions) {
      if (source!.includes('trained cells')) continue;
      const { kind, objects } = sceneOf(image);
      const isNewCell = objects.every((object) => concept(object.concept).heldOutStyle === object.style && concept(object.concept).heldOutSplit === 'test');
      const isNewCombination = combinations(kind, objects).some((each) => combinationSplit(each) === 'test');
      assert.ok(isNewCell || isNewCombination, `${category} ${image}`);
    }
    const share = questions.filter(({ source }) => source!.includes('trained cells')).length / questions.length;
    assert.ok(share < 0.06, `${share} fall back to trained cells`);
  });

  test('asks the training split about training scenes only', () => {
    for (const ability of abilityNames) {
      for (let i = 0; i < 30; i++) {
        const { scene, wrong } = abilityQuestion(ability, random(3, ability, i), { split: 'train' });
        for (const each of concepts()) if (wrong.includes(each.name)) assert.equal(each.split, 'train', `${ability} offers ${each.name}`);
        for (const { concept: name, style } of scene.objects) {
          assert.equal(concept(name).split, 'train', `${ability}: ${name}`);
          assert.notEqual(concept(name).heldOutStyle, style, `${ability}: ${style} ${name}`);
        }
      }
    }
  });

  test('rotates the options by one place a copy, at index + k · 10⁶', () => {
    const [question] = questions;
    const copies = rotations(question);
    assert.deepEqual(copies.map(({ index }) => index), question.options!.map((_, k) => question.index + k * rotationStep));
    for (const [k, copy] of copies.entries()) {
      assert.equal(copy.options!['ABCD'.indexOf(copy.answer)], question.options!['ABCD'.indexOf(question.answer)]);
      assert.equal(copy.options![0], question.options![k]);
    }
  });

  test('is the same again and another for another seed', () => {
    assert.deepEqual(mmbench(0, { split: 'test', perAbility: 2 }), mmbench(0, { split: 'test', perAbility: 2 }));
    assert.notDeepEqual(mmbench(1, { split: 'test', perAbility: 2 }), mmbench(0, { split: 'test', perAbility: 2 }));
  });
});

describe('POPE', () => {
  for (const kind of popeSplits) {
    test(`asks ${kind} questions, half of them with the answer yes, all of them true`, () => {
      const questions = pope(0, kind, { split: 'test', count: 200 });
      assert.equal(questions.filter(({ label }) => label === 'yes').length, 100);
      for (const { image, text, label } of questions) {
        const isShown = sceneOf(image).objects.some(({ concept: name }) => text === presenceQuestion(name));
        assert.equal(label, isShown ? 'yes' : 'no', `${text} ${image}`);
      }
    });
  }
});

test('an absent object of an unseen-concept test is an unseen concept too, so that its name gives nothing away', () => {
  const asked = [...pope(0, 'random', { split: 'test', axis: 'concept', count: 60 }).map(({ text }) => text), ...vqa(0, { split: 'test', axis: 'concept', count: 200 }).map(({ question }) => question)];
  const trained = new Set(concepts().filter(({ split }) => split === 'train').map(({ name }) => presenceQuestion(name)));
  for (const question of asked) assert.ok(!trained.has(question), question);
});

describe('the captioning test', () => {
  test('gives each picture several different references', () => {
    for (const { references } of captioning(0, { split: 'test', count: 50 })) assert.ok(new Set(references).size >= 2 && new Set(references).size === references.length);
  });
});
