import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import {
  checkCheckpointName,
  imageNameOf,
  parseImageName,
  parseTag,
  tagOf,
} from '../../../../src/vm/checkpoint/names.js';

test("a state's name tells its domain and checkpoint, whatever the domain is called", () => {
  for (const domain of ['web', 'a:b', 'mail@home', 'two words', 'grün', '100%', 'x/y']) {
    const image = imageNameOf({ domain, name: 'before-1.2' });
    assert.not.match(image, /[@/ ]/);
    assert.equal(parseImageName(image), { domain, name: 'before-1.2' });
  }
  assert.is(imageNameOf({ domain: 'web', name: 'm' }), 'checkpoint:web:m');
  assert.throws(() => imageNameOf({ domain: 'd'.repeat(250), name: 'm' }), /too long/);
});

test("other volumes' names and tags are not taken for pieces of checkpoints", () => {
  for (const name of [
    'web',
    'checkpoint:web',
    'checkpoint:a:b:c',
    'checkpoint:%ff:m',
    'checkpoint:a:',
    'xcheckpoint:a:b',
  ])
    assert.is(parseImageName(name), undefined, name);
  const tag = tagOf({ name: 'm', id: '0123456789ab' });
  assert.equal(parseTag(tag), { name: 'm', id: '0123456789ab' });
  for (const other of ['m', 'checkpoint:m', `${tag}0`, `${tag}:x`, 'checkpoint:m:0123456789AB', ''])
    assert.is(parseTag(other), undefined, other);
});

test('a name that could be taken for something else is wrong usage', () => {
  for (const name of ['m', '1', 'before-1.2_x+y', 'x'.repeat(64)]) checkCheckpointName(name);
  for (const name of ['', 'a b', 'a:b', 'a/b', 'a@b', 'ä', 'x'.repeat(65)])
    assert.throws(
      () => checkCheckpointName(name),
      (error: unknown) => AppError.isCode(error, 'usage'),
      name,
    );
});

test.run();
