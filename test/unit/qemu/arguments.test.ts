import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatArguments, parseArguments } from '../../../src/qemu/arguments.js';
import { imgSyntax, ioSyntax } from '../../../src/qemu/syntax.js';

const convert = (...words: string[]) => parseArguments(imgSyntax.convert!, words);
const pairs = (...words: string[]) => convert(...words)?.options.map(({ name, value }) => [name, value]);

test('options and operands may be mixed, and values stand beside or behind their letter', () => {
  assert.equal(convert('a', '-pO', 'raw', 'b', '-oredundancy=2', '--target-is-zero'), {
    options: [
      { name: 'p', value: undefined },
      { name: 'O', value: 'raw' },
      { name: 'o', value: 'redundancy=2' },
      { name: 'target-is-zero', value: undefined },
    ],
    operands: ['a', 'b'],
  });
});

test('behind two dashes everything is an operand', () => {
  assert.equal(convert('-p', '--', '-a', '--b')?.operands, ['-a', '--b']);
  assert.equal(convert('-')?.operands, ['-']);
});

test('long options may be shortened, carry values either way, and stand for letters', () => {
  assert.equal(pairs('--obj', 'x', '--object=y=z', '--force-share'), [
    ['object', 'x'],
    ['object', 'y=z'],
    ['U', undefined],
  ]);
  assert.equal(
    parseArguments(ioSyntax, ['--cmd', 'read 0 1', '--read-only'])?.options.map(({ name }) => name),
    ['c', 'r'],
  );
});

test('what getopt would refuse is left to the real tool', () => {
  for (const words of [['-Z'], ['--nope'], ['-o'], ['--object'], ['--salvage=1'], ['--s'], ['-:']]) {
    assert.is(convert(...words), undefined, words.join(' '));
  }
});

test('written again, a command line means the same', () => {
  const line = convert('a', '-pO', 'raw', '--object=x', 'b', '--', '-c')!;
  const words = formatArguments(line);
  assert.equal(words, ['-p', '-O', 'raw', '--object', 'x', '--', 'a', 'b', '-c']);
  assert.equal(convert(...words), line);
});

test('letters of the table are those of the options with long names', () => {
  for (const [name, { short, long }] of Object.entries({ ...imgSyntax, io: ioSyntax })) {
    for (const spec of long) {
      const letter = spec.split(':')[1];
      if (letter === undefined) continue;
      const takesValue = short[short.indexOf(letter) + 1] === ':';
      assert.ok(short.includes(letter), `${name}: ${spec}`);
      assert.is(takesValue, spec.includes('='), `${name}: ${spec}`);
    }
  }
});

test.run();
