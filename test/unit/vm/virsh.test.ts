import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { isAtLeast, Virsh } from '../../../src/vm/virsh.js';

const test = suite<{ folder: string }>('virsh');

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-virsh-'));
});
test.after.each((context) => rmSync(context.folder, { recursive: true, force: true }));

/** A program that takes virsh's place: shell lines. */
function fake(folder: string, script: string): string {
  const path = join(folder, 'virsh');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

async function errorOf(work: Promise<unknown>): Promise<AppError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

test('words and the address reach virsh; its output comes back as it is', async ({ folder }) => {
  const program = fake(folder, 'printf "%s|" "$@"; echo "$LC_ALL"');
  const virsh = new Virsh({ program, uri: 'qemu:///x y' });
  assert.is(await virsh.run(['list', '--all']), '-q|-c|qemu:///x y|list|--all|C\n');
});

test('XML is given in a file that nobody else reads, and that goes', async ({ folder }) => {
  const program = fake(folder, 'shift; stat -c %a "$2"; echo "$1 $2"; cat "$2"');
  const [mode, words, xml] = (await new Virsh({ program }).runWithXml(['define'], '<domain/>')).split('\n');
  assert.is(mode, '600');
  assert.is(xml, '<domain/>');
  assert.not(existsSync(words!.replace('define ', '')));
});

test('libvirt complaints become codes, with its own words', async ({ folder }) => {
  const cases: [string, string, string][] = [
    ["error: failed to get domain 'x'", 'missing', "failed to get domain 'x'"],
    [
      "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/s'",
      'system',
      "failed to connect to the hypervisor; Failed to connect socket to '/s'",
    ],
    [
      'error: Failed to start domain\nerror: Requested operation is not valid: domain is already running',
      'invalid',
      'Failed to start domain; Requested operation is not valid: domain is already running',
    ],
    ["error: operation failed: domain 'd' already exists with uuid 1", 'exists', 'already exists'],
    ['error: Operation not supported: x', 'not-supported', 'Operation not supported: x'],
    ['error: something new', 'unknown', 'something new'],
    ['', 'unknown', 'virsh'],
  ];
  for (const [stderr, code, words] of cases) {
    const program = fake(folder, `cat >&2 <<'END'\n${stderr}\nEND\nexit 1`);
    const error = await errorOf(new Virsh({ program }).run(['x']));
    assert.is(error.code, code, stderr);
    assert.ok(error.message.includes(words), error.message);
  }
});

test('a virsh that is not there, or never ends, is told as such', async ({ folder }) => {
  const absent = await errorOf(new Virsh({ program: join(folder, 'none') }).run(['x']));
  assert.is(absent.code, 'system');
  assert.match(absent.message, 'is not installed');
  const hanging = new Virsh({ program: fake(folder, 'exec sleep 60') });
  const late = await errorOf(hanging.run(['list'], { timeoutMs: 200 }));
  assert.is(late.code, 'system');
  assert.match(late.message, 'did not answer');
});

test('versions are those of the daemon and its emulator', async ({ folder }) => {
  const program = fake(
    folder,
    `cat <<'END'
Compiled against library: libvirt 11.3.0
Using library: libvirt 11.3.0
Using API: QEMU 11.3.0
Running hypervisor: QEMU 7.2.22
Running against daemon: 9.0.0
END`,
  );
  assert.equal(await new Virsh({ program }).versions(), {
    libvirt: { major: 9, minor: 0, patch: 0 },
    qemu: { major: 7, minor: 2, patch: 22 },
  });
});

test('versions are compared as numbers', () => {
  const version = { major: 10, minor: 2, patch: 0 };
  assert.ok(isAtLeast(version, 9, 10));
  assert.ok(isAtLeast(version, 10, 2));
  assert.not(isAtLeast(version, 10, 10));
  assert.not(isAtLeast(version, 11, 0));
});

test('a refusal of QEMU is an error with its words, and a result is what it returned', async ({ folder }) => {
  const refusing = fake(folder, `echo '{"id":"1","error":{"class":"GenericError","desc":"no such node"}}'`);
  const error = await errorOf(new Virsh({ program: refusing }).monitor('d', 'blockdev-del'));
  assert.match(error.message, 'QEMU refuses blockdev-del: no such node');
  const program = fake(folder, `echo '{"return":[1],"id":"libvirt-3"}'`);
  assert.equal(await new Virsh({ program }).monitor('d', 'query-x'), [1]);
});

test.run();
