import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findRealTool } from '../../../src/qemu/real-tool.js';
import { isWrapper, wrapperScript } from '../../../src/qemu/wrapper.js';

let folder: string;
test.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), 'qemu wrapper-'));
});
test.after.each(() => rmSync(folder, { recursive: true }));

function program(directory: string, text: string, mode = 0o755): string {
  mkdirSync(join(folder, directory), { recursive: true });
  const path = join(folder, directory, 'qemu-img');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

/** Says what it got, one word a line. */
const echo = '#!/bin/sh\nprintf "real %s\\n" "$@"\nexit 7\n';
const wrapper = (): string => wrapperScript('qemu-img');
const searchPath = (...directories: string[]): string =>
  [...directories.map((name) => join(folder, name)), '/usr/bin', '/bin'].join(':');

function call(path: string, directories: string[], ...words: string[]) {
  const env = { PATH: searchPath(...directories) };
  const { status, stdout, stderr } = spawnSync(path, words, { encoding: 'utf8', env, timeout: 10_000 });
  return { status, stdout, stderr };
}

test('a call without sheepdog in it goes to the real tool, word by word', () => {
  const path = program('front', wrapper());
  program('real', echo);
  assert.equal(call(path, ['front', 'real'], 'info', 'a  b', '*', ''), {
    status: 7,
    stdout: 'real info\nreal a  b\nreal *\nreal \n',
    stderr: '',
  });
});

test('other wrappers, folders and files that cannot be run are passed by', () => {
  const path = program('front', wrapper());
  program('second', wrapper());
  program('text', echo, 0o644);
  mkdirSync(join(folder, 'folder', 'qemu-img'), { recursive: true });
  program('real', echo);
  assert.is(call(path, ['second', 'text', 'folder', 'front', 'real'], 'x').stdout, 'real x\n');
});

test('without a real tool the wrapper says so', () => {
  const path = program('front', wrapper());
  const env = { PATH: join(folder, 'front') };
  const { status, stderr } = spawnSync(path, ['x'], { encoding: 'utf8', env, timeout: 10_000 });
  assert.is(status, 127);
  assert.match(stderr, /the real qemu-img is not on PATH/);
});

test('the real tool can be named', () => {
  const path = program('front', wrapper());
  const real = program('elsewhere', echo);
  const env = { PATH: searchPath('front'), SHEEPFOLD_QEMU_IMG: real };
  assert.is(spawnSync(path, ['x'], { encoding: 'utf8', env, timeout: 10_000 }).stdout, 'real x\n');
  assert.is(findRealTool('qemu-img', env), real);
});

test('a call with sheepdog in it goes to the helper, which finds the real tool itself', () => {
  const path = program('front', wrapper());
  program('real', echo);
  // Not a name of ours, so the real tool gets it.
  assert.is(call(path, ['front', 'real'], 'foo', 'sheepdog.img').stdout, 'real foo\nreal sheepdog.img\n');
});

test('wrappers are known by their second line', () => {
  assert.ok(isWrapper(program('front', wrapper())));
  assert.not(isWrapper(program('real', echo)));
  assert.not(isWrapper(program('empty', '')));
  assert.not(isWrapper('/bin/sh'));
});

test('the real tool is the first program on PATH that is no wrapper', () => {
  program('front', wrapper());
  const real = program('real', echo);
  program('later', echo);
  assert.is(findRealTool('qemu-img', { PATH: searchPath('nowhere', 'front', 'real', 'later') }), real);
  assert.throws(() => findRealTool('qemu-img', { PATH: join(folder, 'front') }), /is not on PATH/);
});

test('the script is one that every shell reads', () => {
  execFileSync('sh', ['-n', program('front', wrapper())]);
});

test.run();
