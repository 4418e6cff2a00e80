import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { contextConversationAt, contextRequestAt, contextTasks } from './subjects.js';
import { sceneRef } from './scenes.js';

describe('requests about a given picture', () => {
  test('keep the subject and change what they name', () => {
    for (let i = 0; i < 40; i++) {
      for (const task of contextTasks) {
        const { source, target, request } = contextRequestAt(task, 3, i, { split: 'test' });
        const [[given], [wanted]] = [source.objects, target.objects];
        assert.deepEqual([wanted.concept, wanted.style], [given.concept, given.style]);
        assert.ok(request.includes(`${target.ground} background.`), request);
        assert.ok(!request.includes(given.concept), 'the words do not name the subject');
        if (task === 'recolor') {
          assert.notEqual(wanted.ink, given.ink);
          assert.ok(request.includes(` ${wanted.ink} `), request);
        } else assert.notEqual(target.ground, source.ground);
      }
    }
  });

  test('become conversations of two pictures, the same each time', () => {
    const made = contextConversationAt('subject', 3, 5, { split: 'train' });
    const { source, target } = contextRequestAt('subject', 3, 5, { split: 'train' });
    assert.deepEqual(made.images, [sceneRef(source), sceneRef(target)]);
    assert.match(made.conversations[1].value, /^here it is\. <dream>$/);
    assert.deepEqual(contextConversationAt('subject', 3, 5, { split: 'train' }), made);
  });
});
