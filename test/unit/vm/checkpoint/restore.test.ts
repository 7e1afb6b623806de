import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { restoreDomain } from '../../../../src/vm/checkpoint/restore.js';
import { Virsh } from '../../../../src/vm/virsh.js';

const test = suite<{ folder: string }>('restore');
const PART_BYTES = 128 * 1024;

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-restore-'));
});
test.after.each((context) => rmSync(context.folder, { recursive: true, force: true }));

/** A program in virsh's place, called as `-q restore --file PATH`: shell lines. */
function fake(folder: string, script: string): Virsh {
  const program = join(folder, 'virsh');
  writeFileSync(program, `#!/bin/sh\nfolder=${folder}\npath=$4\necho "$path" > $folder/path\n${script}\n`);
  chmodSync(program, 0o755);
  return new Virsh({ program });
}

async function* state(parts: number, failure?: Error): AsyncGenerator<Buffer> {
  for (let part = 0; part < parts; part++) yield Buffer.alloc(PART_BYTES, 65 + part);
  if (failure !== undefined) throw failure;
}

async function errorOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AppError) return error.message;
  throw new Error(`not refused: ${String(error)}`);
}

test('libvirt reads the whole state from a pipe that nobody else can open, and that goes', async ({
  folder,
}) => {
  const virsh = fake(
    folder,
    `stat -c '%a %F' "$path" > $folder/kind; head -c ${3 * PART_BYTES} "$path" > $folder/all`,
  );
  await restoreDomain(virsh, state(3));
  assert.is(readFileSync(join(folder, 'kind'), 'utf8'), '600 fifo\n');
  const all = readFileSync(join(folder, 'all'));
  assert.is(all.length, 3 * PART_BYTES);
  assert.ok(
    [0, 1, 2].every((part) =>
      all.subarray(part * PART_BYTES, (part + 1) * PART_BYTES).every((b) => b === 65 + part),
    ),
  );
  assert.not(existsSync(readFileSync(join(folder, 'path'), 'utf8').trim()));
});

test('what libvirt complains of is told, whether it has read nothing or something', async ({ folder }) => {
  const never = fake(folder, 'echo "error: no" >&2; exit 1');
  assert.is(await errorOf(restoreDomain(never, state(100))), 'no');
  const midway = fake(folder, 'head -c 70000 "$path" > /dev/null; echo "error: enough" >&2; exit 1');
  assert.is(await errorOf(restoreDomain(midway, state(100))), 'enough');
});

test('a state that cannot be read to its end is why, not what libvirt makes of it', async ({ folder }) => {
  const virsh = fake(folder, 'cat "$path" > /dev/null; echo "error: cut off" >&2; exit 1');
  assert.is(
    await errorOf(restoreDomain(virsh, state(3, new AppError('io', 'a sheep is away')))),
    'a sheep is away',
  );
});

test.run();
