import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hookScript, readHookScript } from '../../../src/vm/hook-script.js';

const test = suite<{ folder: string }>('hook-script');
test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-hook-'));
});
test.after.each((context) => rmSync(context.folder, { recursive: true, force: true }));

const ours = "<domain><disk><source protocol='nbd' name='a'/></disk></domain>\n";

/** Installs the script with a stand-in for dog: shell lines. */
function install(folder: string, program: string): string {
  const main = join(folder, 'it is main');
  writeFileSync(main, program);
  const path = join(folder, 'hook');
  const script = {
    dog: ['/bin/sh', main, '-a', 'host'],
    words: ['--place', 'unix:/a b'],
    madeDirectory: true,
  };
  writeFileSync(path, hookScript(script), { mode: 0o755 });
  return path;
}

function call(path: string, operation: string, input: string) {
  return spawnSync(path, ['web', operation, 'begin', '-'], { input, encoding: 'utf8' });
}

test('domains without NBD and operations of no concern start nothing', ({ folder }) => {
  const path = install(folder, `touch "${folder}/called"`);
  assert.is(call(path, 'prepare', '<domain/>'.repeat(100_000)).status, 0);
  assert.is(call(path, 'start', ours).status, 0);
  assert.not(existsSync(join(folder, 'called')));
});

test('the words and the domain reach the program, and its output libvirt', ({ folder }) => {
  const path = install(folder, `printf '%s|' "$@" > "${folder}/words"; tr a-z A-Z`);
  const { status, stdout } = call(path, 'migrate', ours);
  assert.is(status, 0);
  assert.is(stdout, ours.toUpperCase());
  assert.is(
    readFileSync(join(folder, 'words'), 'utf8'),
    '-a|host|vm|hook|--place|unix:/a b|--|web|migrate|begin|-|',
  );
});

test('a refusal is told on standard error, and a warning is no refusal', ({ folder }) => {
  const refusing = call(install(folder, 'echo "no way" >&2; exit 4'), 'prepare', ours);
  assert.is(refusing.status, 1);
  assert.is(refusing.stderr, 'sheepfold: no way\n');
  const warning = call(install(folder, 'echo careful >&2'), 'prepare', ours);
  assert.is(warning.status, 0);
  assert.is(warning.stderr, '');
});

test('a Sheepfold that was removed is in nobody’s way', ({ folder }) => {
  const path = install(folder, 'exit 1');
  rmSync(join(folder, 'it is main'));
  assert.is(call(path, 'prepare', ours).status, 0);
});

test('the shell finds no fault in it, and it is known again', ({ folder }) => {
  const path = install(folder, '');
  execFileSync('sh', ['-n', path]);
  assert.is(readHookScript(path)?.madeDirectory, true);
  const other = join(folder, 'other');
  writeFileSync(other, '#!/bin/sh\nexit 0\n');
  assert.is(readHookScript(other), undefined);
});

test.run();
