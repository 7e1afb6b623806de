import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatImageOptions,
  formatJsonName,
  imageParts,
  parseImageOptions,
  parseJsonName,
  replacePart,
} from '../../../src/qemu/structured.js';

const server = '"server":{"type":"inet","host":"h","port":"7000"}';
const nbd = [
  ['driver', 'nbd'],
  ['export', 'x,y'],
] as const;

test('a JSON name is flat, however it was nested', () => {
  const options = parseJsonName(`json:{"driver":"qcow2","file":{"driver":"sheepdog","vdi":"x",${server}}}`)!;
  assert.equal(
    [...options],
    [
      ['driver', 'qcow2'],
      ['file.driver', 'sheepdog'],
      ['file.vdi', 'x'],
      ['file.server.type', 'inet'],
      ['file.server.host', 'h'],
      ['file.server.port', '7000'],
    ],
  );
  assert.equal(imageParts(options)[0]?.prefix, 'file.');
});

test('what is no JSON object is left alone', () => {
  for (const text of ['x', 'json:', 'json:{"driver":"sheepdog"', 'json:[1]', 'json:null']) {
    assert.is(parseJsonName(text), undefined, text);
  }
});

test('only the part of the driver sheepdog is replaced, and its other options stay', () => {
  const options = parseJsonName(
    `json:{"driver":"raw","offset":512,"file":{"driver":"sheepdog","vdi":"x","cache":{"direct":true},${server}}}`,
  )!;
  const [part] = imageParts(options);
  assert.is(
    formatJsonName(replacePart(options, part!, nbd)),
    'json:{"file.driver":"nbd","file.export":"x,y","driver":"raw","offset":512,"file.cache.direct":true}',
  );
});

test('image options are the same in another dress', () => {
  const options = parseImageOptions('driver=sheepdog,vdi=a,,b,server.type=unix,server.path=/s,discard=unmap');
  const [part] = imageParts(options);
  assert.equal(part?.name, { server: { path: '/s' }, vdi: 'a,b', snapId: 0, tag: '' });
  assert.is(formatImageOptions(replacePart(options, part!, nbd)), 'driver=nbd,export=x,,y,discard=unmap');
});

test('options without a sheepdog part have none', () => {
  assert.equal(imageParts(parseImageOptions('driver=raw,file.driver=file,file.filename=sheepdog')), []);
});

test.run();
