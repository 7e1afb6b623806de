// run: quick
/** A gateway that restarts is a pause for QEMU, never an I/O error (D-13). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import { silentLogger } from '../../src/base/log.js';
import { listenNbd } from '../../src/nbd/listen.js';
import { createNbdServer } from '../../src/nbd/server.js';
import { intercept, MemoryProvider } from '../helpers/memory-device.js';
import { requires } from '../helpers/requires.js';
import { TOOL_TIMEOUT_MS } from './nbd-setup.js';

const withQemuIo = requires(test, 'qemu-io');

withQemuIo('qemu-io lives through restarts in the middle of its writes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-restart-'));
  const path = join(folder, 'nbd.sock');
  let closing = false;
  const provider = new MemoryProvider((device) =>
    intercept(device, async () => {
      await sleep(systemClock, 5);
      // What a daemon on its way down makes its devices say.
      if (closing) throw new AppError('shutdown', 'going down');
    }),
  );
  provider.add('disk', 1024 * 1024);
  const start = async (): Promise<() => Promise<void>> => {
    const server = createNbdServer({ provider, clock: systemClock, log: silentLogger });
    const listener = await listenNbd(server, { path });
    return async () => {
      await listener.close();
      await server.close();
    };
  };
  let stop = await start();
  const commands = Array.from({ length: 120 }, (_, i) => [
    '-c',
    `write -P ${(i % 250) + 1} ${i * 4}k 4k`,
  ]).flat();
  const image = `driver=nbd,server.type=unix,server.path=${path},export=disk,reconnect-delay=20`;
  const child = spawn('qemu-io', [...commands, '--image-opts', image], { timeout: TOOL_TIMEOUT_MS });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk));
  const exited = once(child, 'exit');
  for (let i = 0; i < 3; i++) {
    await sleep(systemClock, 150);
    closing = true;
    await sleep(systemClock, 10);
    await stop();
    closing = false;
    stop = await start();
  }
  const [code] = await exited;
  await stop();
  rmSync(folder, { recursive: true });
  assert.is(code, 0, output);
  assert.not.match(output, 'failed');
  const { blocks } = provider.volumes.get('disk')!;
  for (let i = 0; i < 120; i++) assert.is(blocks.get(i)![0], (i % 250) + 1);
});

test.run();
