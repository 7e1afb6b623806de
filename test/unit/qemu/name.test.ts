import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ImageName, imageNameOf, isImageName, parseImageName } from '../../../src/qemu/name.js';
import { refusedNames, takenNames } from '../../helpers/sheepdog-names.js';

function flat({ server, vdi, snapId, tag }: ImageName): [string, string, string | number] {
  return ['path' in server ? server.path : `${server.host}:${server.port}`, vdi, snapId === 0 ? tag : snapId];
}

test('every form of name that QEMU took is taken, and means the same', () => {
  for (const [text, ...meaning] of takenNames) assert.equal(flat(parseImageName(text)), meaning, text);
});

test('every name that QEMU refused is refused with its words', () => {
  for (const [text, complaint] of refusedNames) {
    assert.throws(
      () => parseImageName(text),
      (error: Error) => error.message === complaint,
      text,
    );
  }
});

test('only the three schemes are ours', () => {
  for (const text of ['sheepdog:x', 'sheepdog+tcp:///x', 'sheepdog+unix:///x']) assert.ok(isImageName(text));
  for (const text of [
    'x',
    './sheepdog:x',
    'SHEEPDOG:x',
    'sheepdog+foo:///x',
    'nbd://h/sheepdog:x',
    'sheepdogx:',
  ])
    assert.not(isImageName(text), text);
});

const inet = { 'server.type': 'inet', 'server.host': 'h', 'server.port': '7001' };
const named = (fields: Record<string, unknown>) => imageNameOf(new Map(Object.entries(fields)));

test('structured names take text and numbers', () => {
  assert.equal(flat(named({ ...inet, vdi: 'x' })), ['h:7001', 'x', '']);
  assert.equal(flat(named({ ...inet, 'server.port': 7001, vdi: 'x', 'snap-id': 3 })), ['h:7001', 'x', 3]);
  assert.equal(flat(named({ ...inet, vdi: 'x', 'snap-id': '3', tag: 't' })), ['h:7001', 'x', 3]);
  assert.equal(flat(named({ 'server.type': 'unix', 'server.path': '/s', vdi: 'x y', tag: 't' })), [
    '/s',
    'x y',
    't',
  ]);
});

test('structured names that lack something are refused with QEMU words', () => {
  const wrong: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ vdi: 'x' }, "Parameter 'type' is missing"],
    [{ 'server.type': 'unix', vdi: 'x' }, "Parameter 'path' is missing"],
    [{ 'server.type': 'inet', 'server.host': 'h', vdi: 'x' }, "Parameter 'port' is missing"],
    [inet, "parameter 'vdi' is missing"],
    [{ ...inet, vdi: 'a'.repeat(256) }, "value of parameter 'vdi' is too long"],
    [{ ...inet, vdi: 'x', tag: 'a'.repeat(256) }, "value of parameter 'tag' is too long"],
    [{ ...inet, vdi: 'x', 'snap-id': 0 }, "'snap-id=0' is not a valid snapshot ID"],
    [{ ...inet, vdi: 'x', 'snap-id': 2 ** 32 }, "'snap-id=4294967296' is not a valid snapshot ID"],
  ];
  for (const [fields, complaint] of wrong) {
    assert.throws(
      () => named(fields),
      (error: Error) => error.message === complaint,
      complaint,
    );
  }
});

test.run();
