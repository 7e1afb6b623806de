import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Substitutions } from '../../../src/qemu/substitution.js';

function known(): Substitutions {
  const substitutions = new Substitutions();
  substitutions.add('nbd://h/x', 'sheepdog:x');
  substitutions.add('nbd://h/x@1', 'sheepdog:x:one');
  substitutions.add('json:{"a.b":"?*"}', 'sheepdog:y');
  return substitutions;
}

async function through(chunks: readonly string[]): Promise<string[]> {
  const stream = known().stream();
  const out: string[] = [];
  stream.on('data', (chunk: Buffer) => out.push(chunk.toString()));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await new Promise((resolve) => stream.once('end', resolve));
  return out;
}

test('the longest match counts, everywhere', () => {
  assert.is(
    known().apply('a nbd://h/x@1 b nbd://h/x, json:{"a.b":"?*"}'),
    'a sheepdog:x:one b sheepdog:x, sheepdog:y',
  );
});

test('the first meaning of a text stays', () => {
  const substitutions = known();
  substitutions.add('nbd://h/x', 'other');
  assert.is(substitutions.apply('nbd://h/x'), 'sheepdog:x');
});

test('a match may be cut anywhere in a stream', async () => {
  const text = 'é open nbd://h/x@1 and nbd://h/x: nbd://h';
  const wanted = 'é open sheepdog:x:one and sheepdog:x: nbd://h';
  for (let at = 0; at <= text.length; at++) {
    assert.is((await through([text.slice(0, at), text.slice(at)])).join(''), wanted, `cut at ${at}`);
  }
});

test('bytes of one character may come in two pieces', async () => {
  const stream = known().stream();
  const bytes = Buffer.from('é');
  let out = '';
  stream.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  stream.write(bytes.subarray(0, 1));
  stream.end(bytes.subarray(1));
  await new Promise((resolve) => stream.once('end', resolve));
  assert.is(out, 'é');
});

test('progress is not held back', async () => {
  assert.equal(await through(['(10.00/100%)\r', '(20.00/100%)\r']), ['(10.00/100%)\r', '(20.00/100%)\r']);
});

test.run();
