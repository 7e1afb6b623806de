import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { giveSocket } from '../../../../src/vm/checkpoint/state-socket.js';
import { Virsh } from '../../../../src/vm/virsh.js';

const test = suite<{ folder: string }>('state socket');

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-socket-'));
});
test.after.each((context) => rmSync(context.folder, { recursive: true, force: true }));

/** A program in virsh's place: shell lines. What it leaves in the background has the descriptor, as QEMU has. */
function fake(folder: string, script: string): Virsh {
  const program = join(folder, 'virsh');
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
  return new Virsh({ program });
}

async function refusal(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AppError) return error;
  throw new Error(`not refused: ${String(error)}`);
}

test('what QEMU writes after virsh has ended is all read, also when the reader comes late', async ({
  folder,
}) => {
  const writer = '(sleep 0.2; head -c 300000 /dev/zero >&3) > /dev/null 2>&1 &';
  const socket = await giveSocket(fake(folder, `${writer}\necho '{"return":{}}'`), 'web', 'state');
  await new Promise((resolve) => setTimeout(resolve, 600));
  let bytes = 0;
  for await (const part of socket) bytes += (part as Buffer).length;
  assert.is(bytes, 300000);
});

test('what virsh and QEMU refuse is told in their words', async ({ folder }) => {
  const gone = fake(folder, 'echo "error: failed to get domain" >&2; exit 1');
  assert.is((await refusal(giveSocket(gone, 'web', 'state'))).code, 'missing');
  const qemu = fake(folder, `echo '{"error":{"desc":"no more of them"}}'`);
  assert.match((await refusal(giveSocket(qemu, 'web', 'state'))).message, /no more of them/);
  const none = new Virsh({ program: join(folder, 'nowhere') });
  assert.is((await refusal(giveSocket(none, 'web', 'state'))).code, 'system');
});

test.run();
