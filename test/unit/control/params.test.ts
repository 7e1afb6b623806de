import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import * as params from '../../../src/control/params.js';

function refused(run: () => unknown, pattern: RegExp): void {
  assert.throws(run, (error: unknown) => AppError.isCode(error, 'invalid') && pattern.test(error.message));
}

test('names of 1 to 255 bytes are taken as they are', () => {
  for (const name of ['a', 'with space', 'ünïcode', 'x'.repeat(255), 'vol-1.raw', '7']) {
    assert.is(params.checkName(name), name);
  }
});

test('names that cannot be stored or addressed are refused with the reason', () => {
  refused(() => params.checkName(''), /must not be empty/);
  refused(() => params.checkName(7), /must not be empty/);
  refused(() => params.checkName('x'.repeat(256)), /longer than 255 bytes/);
  refused(() => params.checkName('é'.repeat(128)), /longer than 255 bytes/);
  refused(() => params.checkName('a\0b'), /control character/);
  refused(() => params.checkName('a\nb'), /control character/);
  refused(() => params.checkName('a@b'), /must not contain '@'/);
  refused(() => params.checkName('a/b'), /must not contain '\/'/);
  refused(() => params.checkName('a\ud800'), /well-formed/);
});

test('a tag of digits only is refused, because it would name a snapshot id', () => {
  refused(() => params.checkTag('12'), /snapshot id/);
  assert.is(params.checkTag('12a'), '12a');
  assert.is(params.checkNewTag(undefined), '');
});

test('integers are refused when they are not whole, not numbers or out of range', () => {
  for (const value of [1.5, '1', Number.NaN, -1, 11, null, 2 ** 60]) {
    refused(() => params.checkInteger(value, 'n', 0, 10), /n must be an integer from 0 to 10/);
  }
  assert.is(params.checkInteger(10, 'n', 0, 10), 10);
  assert.is(params.checkOptionalInteger(undefined, 'n', 0, 10), undefined);
});

test('a volume is at least one byte and at most what its index can hold', () => {
  assert.is(params.checkSizeBytes(2 ** 42, 22), 2 ** 42);
  refused(() => params.checkSizeBytes(2 ** 42 + 1, 22), /New VDI size is too large/);
  refused(() => params.checkSizeBytes(0, 22), /at least 1/);
  refused(() => params.checkSizeBytes(1.5, 22), /whole number/);
});

test('a volume reference names a snapshot by tag or by id, not by both', () => {
  assert.equal(params.checkVdiRef({ name: 'a' }), { name: 'a' });
  assert.equal(params.checkVdiRef({ name: 'a', tag: 't' }), { name: 'a', tag: 't' });
  assert.equal(params.checkVdiRef({ name: 'a', snapId: 3 }), { name: 'a', snapId: 3 });
  refused(() => params.checkVdiRef({ name: 'a', tag: 't', snapId: 3 }), /not by both/);
  refused(() => params.checkVdiRef({ name: 'a', snapId: 0 }), /snapId/);
});

test('parameters that are no object are refused', () => {
  for (const value of [null, [], 'x', 3]) refused(() => params.checkFields(value), /JSON object/);
});

test('an attribute value is base64 of at most 64 KiB', () => {
  assert.is(params.checkAttrValue('YWJj'), 'YWJj');
  refused(() => params.checkAttrValue('***'), /base64/);
  refused(() => params.checkAttrValue(Buffer.alloc(65537).toString('base64')), /longer than/);
});

test.run();
