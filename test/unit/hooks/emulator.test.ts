/** `hooks/emulator`, standing for a program that prints the words it is given. */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const STORAGE =
  '{"driver":"nbd","server":{"type":"unix","path":"/run/a b/nbd.sock"},"node-name":"libvirt-1-storage"}';

/** What the program of that name is started with. */
function emulate(name: string, words: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-emulator-'));
  const path = join(folder, name);
  copyFileSync('hooks/emulator', path);
  chmodSync(path, 0o755);
  try {
    return spawnSync(path, ['%s\n', ...words], { encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const wordsFor = (...words: string[]) => emulate('printf', words).stdout.split('\n').slice(0, -1);

test('an NBD disk is given a reconnect-delay, and is the same disk otherwise', () => {
  const [option, value, ...rest] = wordsFor('-blockdev', STORAGE);
  assert.is(option, '-blockdev');
  assert.equal(JSON.parse(value!), { ...JSON.parse(STORAGE), 'reconnect-delay': 300 });
  assert.equal(rest, []);
});

test('a disk that has a reconnect-delay keeps it', () => {
  const own = STORAGE.replace('{"driver":"nbd",', '{"driver":"nbd","reconnect-delay":7,');
  assert.equal(wordsFor('-blockdev', own), ['-blockdev', own]);
});

test('all other words arrive as they were, also strange ones', () => {
  const words = [
    '-name',
    'guest=a b',
    '',
    '*',
    "it's",
    '$HOME `id` \\n',
    '-blockdev',
    '{"driver":"raw","file":"x"}',
  ];
  assert.equal(wordsFor(...words), words);
});

test('without the real emulator it says so, as a shell does', () => {
  const { status, stderr } = emulate('qemu-system-nowhere', []);
  assert.is(status, 127);
  assert.match(stderr, /no emulator qemu-system-nowhere/);
});

test.run();
